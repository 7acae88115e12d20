"""The output folder: how files are named, how they get their final name, and which of them are removed.

Nothing here touches a file whose name is not of our own pattern.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dataflows.errors import DataflowsError, ExitCode, Interrupted, SettingUnusable
from dataflows.hints import RESUME
from dataflows.runs.pool import Stop
from dataflows.store.files import foreign, private_folder, settle

Clock = Callable[[], datetime]

_STAMP = "%Y%m%d_%H%M%SZ"
_FINAL = re.compile(r"(?:cqc_(?P<source>[a-z0-9_]+)|changes_(?P<of>[a-z0-9_]+)|merged)_(?P<stamp>\d{8}_\d{6}Z)\.csv")
_TEMPORARY = re.compile(r"\.cqc_[a-z0-9_]+\.(?P<owner>[0-9a-f]{12})\.[0-9a-f]{8}\.part")
_LEFT_BEHIND = timedelta(days=1)
_LONGEST_NAME = 255
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


class NotWritten(DataflowsError):
    """A file could not be written, such as for want of space."""

    exit_code = ExitCode.SOME_FAILED
    code = "not_written"


@dataclass(frozen=True, slots=True)
class Named:
    """A file of our pattern: ``source`` is None for derived files."""

    path: Path
    source: str | None
    stamp: datetime


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)


class Folder:
    """One output folder. ``data_dir`` tells our own temporary files from those of others who write there."""

    def __init__(self, path: Path, data_dir: Path, clock: Clock = utc_now, stop: Stop | None = None) -> None:
        self.path = path
        self._clock = clock
        self._stop = stop or Stop()
        self._owner = hashlib.sha256(f"{socket.gethostname()}|{data_dir}".encode()).hexdigest()[:12]

    def prepare(self) -> None:
        """Make the folder where it is missing, and see whether it can be written.

        Raises:
            SettingUnusable: it cannot be made or written.
        """
        try:
            private_folder(self.path)
            probe = self.path / self._temporary("probe")
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise foreign(self.path, error, "the output folder") or SettingUnusable(
                f"the output folder cannot be written: {self.path} ({_why(error)})",
                reason="folder-unusable",
                hint="choose another one with --output, or give this account the right to write there",
            ) from None

    @contextmanager
    def temporary(self, name: str) -> Iterator[Path]:
        """A path for a temporary file in the folder; whatever is still there at the end of the block is removed."""
        path = self.path / self._temporary(name)
        try:
            yield path
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def publish(self, temporary: Path, kind: str, stamp: datetime | None = None) -> Path:
        """Give a finished file its final name, ``<kind>_YYYYMMDD_HHMMSSZ.csv``, never that of another file.

        A name that is taken waits for the next second. Raises Interrupted when the grace of a stop is over, OSError
        when the folder does not take the name.
        """
        moment = stamp or self._clock()
        while True:
            final = self.path / f"{kind}_{moment.strftime(_STAMP)}.csv"
            if _renamed(temporary, final):
                settle(self.path)
                return final
            moment = self._next_second()

    def _next_second(self) -> datetime:
        left = 1 - self._clock().microsecond / 1_000_000
        threading.Event().wait(left)
        if self._stop.grace_is_over():
            raise Interrupted("stopped before it finished", reason="interrupted", hint=f"continue with: {RESUME}")
        return self._clock()

    def newest(self) -> datetime | None:
        """The newest time in the names of our files; None when there are none."""
        stamps = (_stamp(found["stamp"]) for path in _entries(self.path) if (found := _FINAL.fullmatch(path.name)))
        return max((stamp for stamp in stamps if stamp is not None), default=None)

    def sweep(self, *, own_only: bool = False) -> int:
        """Remove temporary files that nobody writes any more: our own of earlier runs, others' after a day."""
        limit = 0.0 if own_only else (self._clock() - _LEFT_BEHIND).timestamp()
        return sum(self._swept(path, limit) for path in _entries(self.path))

    def _swept(self, path: Path, limit: float) -> bool:
        found = _TEMPORARY.fullmatch(path.name)
        if found is None:
            return False
        with suppress(OSError):
            if found["owner"] == self._owner or path.stat().st_mtime < limit:
                path.unlink()
                return True
        return False

    def outdated(
        self, keep_days: int, sources: Iterable[str], keep: Iterable[str], *, renewed: Collection[str] = ()
    ) -> list[Path]:
        """The files whose retention has ended by the time in their names, oldest first; none with ``keep_days`` 0.

        Only downloads of ``sources`` and files derived by us count; those named in ``keep`` (the newest good ones)
        and the newest of each source by name are not among them. Of a source in ``renewed`` a new file is yet to come,
        so its newest one counts like all others.
        """
        if not keep_days:
            return []
        ours = sorted(self._named(set(sources)), key=lambda named: (named.stamp, named.path.name))
        newest = {named.source: named.path.name for named in ours if named.source and named.source not in renewed}
        limit = self._clock() - timedelta(days=keep_days)
        spared = {*keep, *newest.values()}
        return [named.path for named in ours if named.stamp < limit and named.path.name not in spared]

    def prune(self, paths: Iterable[Path]) -> list[str]:
        """Remove files; returns the names of those that are gone."""
        gone = []
        for path in paths:
            with suppress(OSError):  # open in a spreadsheet on Windows, perhaps: the next run tries again
                path.unlink()
                gone.append(path.name)
        return gone

    def _named(self, sources: set[str]) -> Iterator[Named]:
        for path in _entries(self.path):
            found = _FINAL.fullmatch(path.name)
            if found is None or path.is_symlink() or not path.is_file():
                continue
            source = found["source"] or found["of"]
            stamp = _stamp(found["stamp"])
            if stamp is not None and (source is None or source in sources):
                yield Named(path, found["source"], stamp)

    def _temporary(self, name: str) -> str:
        return f".cqc_{name}.{self._owner}.{secrets.token_hex(4)}.part"


def target(path: Path) -> str:
    """The folder as the lock of a run knows it: one name however it is written."""
    return os.path.normcase(os.path.realpath(path))


def file_of(folder: Path, name: str) -> Path | None:
    """The file of that name, if it is one that we name so and lies in the folder itself; None for anything else."""
    path = folder / name
    return None if not is_name(name) or path.is_symlink() or not path.is_file() else path


def is_name(name: str) -> bool:
    """Whether a file may be one of ours by its name, which no file system finds too long."""
    return len(name) <= _LONGEST_NAME and _FINAL.fullmatch(name) is not None


def stamp_of(path: Path) -> datetime:
    """The time in the name of a file that ``publish`` named."""
    found = _FINAL.fullmatch(path.name)
    if found is None:
        raise ValueError("no name of ours")
    return datetime.strptime(found["stamp"], _STAMP).replace(tzinfo=UTC)


def _stamp(text: str) -> datetime | None:
    with suppress(ValueError):  # digits that are no time
        return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)
    return None


def not_written(error: OSError, what: str) -> NotWritten:
    """The error for a file that could not be written, in one line."""
    return NotWritten(
        f"{what} cannot be written: {_why(error)}",
        reason="cqc-not-written",
        hint="free some space, or choose another folder with --output",
    )


def _why(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if error.errno == getattr(errno, "EDQUOT", None):
        return "the quota is used up"
    return (error.strerror or type(error).__name__).lower()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _renamed(temporary: Path, final: Path) -> bool:
    """Rename without ever replacing; False when the name is taken."""
    try:
        if sys.platform == "win32":
            temporary.rename(final)  # refuses a name that is taken
            return True
        os.link(temporary, final)  # so does this, and rename() on POSIX does not
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _renamed_without_links(temporary, final)
    with suppress(OSError):  # the file has its final name; the other one is swept later
        temporary.unlink()
    return True


def _renamed_without_links(temporary: Path, final: Path) -> bool:
    """For file systems without links, such as FAT. The lock on the folder keeps other runs away meanwhile."""
    if os.path.lexists(final):
        return False
    temporary.rename(final)
    return True
