"""Finds the scraper's files: named by ZIP code, in dated folders or not; files of other names are left alone."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import SettingUnusable, WrongUsage
from dataflows.flows.practice.values import AHEAD

__all__ = ["LOST_TIMES", "Found", "Listing", "check", "find"]

LOST_TIMES = 946_684_800.0
"""File times before the year 2000, in seconds: archives and file systems without times give 1970 or 1980."""
_NAME = re.compile(r"(\d{5})\.json", re.IGNORECASE)
_DAY = re.compile(r"\d{8}")


class Found(NamedTuple):
    """A file: its name below ``base`` (with ``/``), its ZIP code, the date of its folder. There may be many of them.

    ``day_ahead``: its folder has a date that is more than a day ahead of the file's own time, so it is not believed.
    """

    base: str
    name: str
    zip_code: str
    day: date | None
    day_ahead: bool = False

    @property
    def path(self) -> str:
        """Where it is."""
        return str(Path(self.base, self.name))


class Listing(NamedTuple):
    """What was found: ``others`` are files of other names, ``closed`` the number of folders that cannot be read."""

    files: list[Found]
    others: list[str]
    closed: int


def find(paths: Sequence[Path], home: Path | None) -> Listing:
    """List the files in ``paths`` (files or folders; none: all of ``home``), named relative to ``home`` if below it.

    Raises:
        SettingUnusable: ``home`` is wanted and not there, or cannot be read.
        WrongUsage: a path is not there.
    """
    files: set[Found] = set()
    others: set[str] = set()
    closed: list[OSError] = []
    for path in [_absolute(one) for one in paths] or [_needed(home)]:
        base = _base(path, _absolute(home) if home else None)
        for file in _walk(path, closed):
            found = _found(file, base)
            if isinstance(found, Found):
                files.add(found)
            else:
                others.add(found)
    return Listing(sorted(files, key=lambda one: one.name), sorted(others), len(closed))


def check(paths: Sequence[Path], home: Path | None) -> None:
    """Make sure that there is something to look at. Raises as ``find``."""
    for path in paths or [_needed(home)]:
        if not path.exists():
            raise _missing(path)


def _missing(path: Path) -> WrongUsage:
    return WrongUsage(f"there is no such file or folder: {path}", hint="check the path")


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, and names follow the folder given


def _needed(home: Path | None) -> Path:
    if home is None:
        raise SettingUnusable(
            "THERAPIST_IMPORT_DIR is not set", hint="set it, or name files or folders: dataflows therapist-import PATH"
        )
    if not home.is_dir():
        raise SettingUnusable(
            f"THERAPIST_IMPORT_DIR is no folder, or cannot be read: {home}",
            hint="check the path, and that the account that runs this may read it",
        )
    return _absolute(home)


def _base(path: Path, home: Path | None) -> Path:
    if home is not None and path.is_relative_to(home):
        return home
    if path.is_dir():
        return path
    return path.parent.parent if _day(path.parent.name) else path.parent


def _walk(path: Path, closed: list[OSError]) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for folder, _, names in os.walk(path, onerror=closed.append):
            yield from (Path(folder, name) for name in names)
    else:
        raise _missing(path)


def _found(path: Path, base: Path) -> Found | str:
    """A file of the scraper, or the name of another one."""
    name = path.relative_to(base).as_posix()
    fits = _NAME.fullmatch(path.name)
    status = _status(path) if fits is not None and _is_text(name) else None
    if fits is None or not _is_text(name) or (status is not None and _is_special(status)):
        return name.encode(errors="replace").decode()
    days = [day for part in name.split("/")[:-1] if (day := _day(part))]
    day = days[-1] if days else None
    ahead = day is not None and status is not None and _is_ahead(day, status)
    return Found(str(base), name, sys.intern(fits[1]), None if ahead else day, ahead)


def _is_text(name: str) -> bool:
    """Whether all of a name can be written down; file systems take bytes that are no text."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # it cannot be read, which is told when it is looked at


def _is_special(status: os.stat_result) -> bool:
    """Whether it is a pipe or a device, which would be read for ever."""
    return stat.S_IFMT(status.st_mode) not in (stat.S_IFREG, stat.S_IFDIR)


def _is_ahead(day: date, status: os.stat_result) -> bool:
    """Whether a folder's date is more than a day ahead of the file's own time; times that are lost tell nothing."""
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return begins > (status.st_mtime if status.st_mtime > LOST_TIMES else time.time()) + AHEAD.total_seconds()


@lru_cache(maxsize=1024)
def _day(text: str) -> date | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return None
