"""The scraper's files: found by their names, in dated folders or not; and what one says of itself, and its entries.

Files of other names are left alone. A file is streamed, in both of its layouts, and nothing of its content goes into an
error: ijson's own messages quote it.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from ijson.backends import yajl2_c as ijson  # the C one by name: the pure one needs twenty times as long
from ijson.common import IncompleteJSONError, JSONError

from dataflows.errors import SettingUnusable, WrongUsage
from dataflows.flows.practice.therapists.record import STATUSES, Broken, Item, item_of
from dataflows.flows.practice.values import AHEAD, moment_of
from dataflows.store.encodings import encoding_of
from dataflows.store.json_bounds import BoundedText, mark_in

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
    return WrongUsage(f"there is no such file or folder: {path}", reason="path-missing", hint="check the path")


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, and names follow the folder given


def _needed(home: Path | None) -> Path:
    if home is None:
        raise SettingUnusable(
            "THERAPIST_IMPORT_DIR is not set",
            reason="setting-missing",
            hint="set it, or name files or folders: dataflows therapist-import PATH",
        )
    if not home.is_dir():
        raise SettingUnusable(
            f"THERAPIST_IMPORT_DIR is not a folder or cannot be read: {home}",
            reason="folder-unusable",
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


# --- one file ---------------------------------------------------------------------------------------------------------


_LONGEST_AREA = 50
_COUNTS = {"total": "total_therapists", **{status: f"{status}_therapists" for status in STATUSES}}


class Unreadable(Exception):
    """A file that is no scrape: broken off, no JSON, or without a list of therapists. ``code`` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Scrape(NamedTuple):
    """What a file says of itself: when it was scraped, its postcode area, its own counts (``total``, by status)."""

    date: datetime | None
    area: str | None
    counts: Mapping[str, int]
    odd_date: bool = False
    """It says when it was scraped, in a form that cannot be read."""


NOTHING_SAID = Scrape(None, None, {})


class ScrapeFile:
    """A file being read: its SHA-256 is worked out on the way; a byte order mark and what is beyond bounds left out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._begin()

    def _begin(self) -> None:
        self._sha256 = hashlib.sha256()
        self._fresh = True
        self._bounded = BoundedText(self._block)

    @property
    def has_marks(self) -> bool:
        """Whether some entry that was read holds a mark (``bounded.mark_in``)."""
        return self._bounded.has_marks

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        return self._bounded.read(size)

    def _block(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._sha256.update(block)
        if self._fresh and block:
            self._fresh = False
            return block.removeprefix(codecs.BOM_UTF8) or self._block(size)
        return block

    def rewind(self) -> ScrapeFile:
        """Start again from the beginning."""
        self._stream.seek(0)
        self._begin()
        return self

    def sha256(self) -> str:
        """The hash of the whole file, in hex; what was not read yet is read now."""
        while self._block(1 << 20):
            pass
        return self._sha256.hexdigest()

    def encoding(self) -> str | None:
        """Which other encoding than UTF-8 the file has (``encodings.NAMES``), None where there is nothing to tell."""
        self._stream.seek(0)
        return encoding_of(iter(partial(self._stream.read, 1 << 20), b""))


def scrape_of(source: ScrapeFile) -> Scrape:
    """Read what a file says of itself; that usually stands at its beginning, and no more is read then.

    Raises:
        Unreadable: the file breaks off before, or is no JSON.
    """
    metadata = _first(source, "metadata")
    counts = metadata.get("statistics")
    if counts is None and not any(name in metadata for name in _COUNTS.values()):
        counts = _first(source, "statistics")
    said = {**metadata, **counts} if isinstance(counts, dict) else metadata
    area = metadata.get("postcode_area")
    when = metadata.get("scrape_date") or metadata.get("timestamp")
    date = moment_of(str(when))  # the source writes its times without a zone
    return Scrape(
        date,
        _area(area) if isinstance(area, str) else None,
        {what: number for what in _COUNTS if isinstance(number := _count(said, what), int)},
        bool(when) and date is None,
    )


def entries(source: ScrapeFile) -> Iterator[Item]:
    """Yield the entries of a file one by one, whatever its size; only a file that is whole gets to its end.

    Raises:
        Unreadable: the file breaks off, is no JSON, or has no list of therapists.
    """
    try:
        yield from _entries(source)
    except Unreadable as error:
        code = error.code
    else:
        return
    raise Unreadable((source.encoding() if code == "not_json" else None) or code)


def _entries(source: ScrapeFile) -> Iterator[Item]:
    at = -1
    for at, raw in enumerate(_items(source.rewind(), "therapists.item")):
        code = mark_in(raw) if source.has_marks else None
        yield item_of(at, raw) if code is None else Broken(at, code)
    if at < 0 and not _has_list(source.rewind()):
        raise Unreadable("no_therapists")


def _first(source: ScrapeFile, prefix: str) -> dict[str, Any]:
    found = next(_items(source.rewind(), prefix), None)
    said = found if isinstance(found, dict) else {}
    return {name: value for name, value in said.items() if mark_in(value) is None} if source.has_marks else said


def _items(source: ScrapeFile, prefix: str) -> Iterator[Any]:
    try:
        yield from ijson.items(source, prefix)
    except IncompleteJSONError as error:
        raise Unreadable("broken_off" if "premature EOF" in str(error) else "not_json") from None
    except (JSONError, UnicodeDecodeError):
        raise Unreadable("not_json") from None


def _has_list(source: ScrapeFile) -> bool:
    return any(prefix == "therapists" and event == "start_array" for prefix, event, _ in ijson.parse(source))


def _area(text: str) -> str | None:
    """The area, unless it is of a kind that no database holds or finds."""
    area = text.strip().upper()
    return area if area.isprintable() and 0 < len(area) <= _LONGEST_AREA else None


def _count(said: Mapping[str, Any], what: str) -> Any:
    """Statistics name them ``new_therapists`` or just ``new``."""
    found = said.get(_COUNTS[what], said.get(what))
    return None if isinstance(found, bool) else found
