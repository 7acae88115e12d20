"""Objects of the bucket: what its list and their names say of them; and their local copies.

A name is ``{lastname}_{firstname}_{date}_{token}.json`` (patients.md, Source). Copies are the original bytes under a
safe form of the name, written whole, for their owner only: that folder is a lane for personal data, the one place where
names stand in file names (patients.md, decisions).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from dataflows.errors import DataflowsError, ServiceDown, SettingUnusable, WrongUsage
from dataflows.flows.practice.values import time_of_file
from dataflows.store.files import foreign, private_folder, settle, write_whole

COPIES = "file:"
"""What stands in the place of a bucket's name for local copies; no bucket can be called so."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as the list shows it; ``moment`` is when this generation was made.

    What the list does not say, or says in no usable form: a generation of 0, a size of None, no checksum.
    """

    name: str
    generation: int
    size: int | None
    crc32c: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class ObjectListing:
    """The oldest objects of the bucket, oldest first; ``whole`` when these are all."""

    objects: list[ListedObject]
    whole: bool


class Deletion(Enum):
    """What became of a deletion: done now, gone already, or somebody put a new version there."""

    DONE = "done"
    GONE = "gone"
    REPLACED = "replaced"


class Vanished(DataflowsError):
    """This generation is not in the bucket any more: deleted, or replaced by a new version."""

    code = "vanished"


Rule: TypeAlias = Callable[[str], "re.Match[str] | None"]
"""Says whether an object's name is one of a registration; a group ``token`` is its token."""

_NAME = re.compile(
    r"(?P<lastname>[^/\\\x00-\x1f\x7f_][^/\\\x00-\x1f\x7f]*)_(?P<firstname>[^/\\\x00-\x1f\x7f_]+)"
    r"_(?P<date>\d{4}-\d{2}-\d{2}|\d{8})_(?P<token>[0-9a-f]{8,64})\.json",
    re.IGNORECASE | re.ASCII,
)


def usual(name: str) -> re.Match[str] | None:
    """Take a name apart from its end, since double names may hold ``_``; None when it is none of a registration."""
    found = _NAME.fullmatch(name)
    return found if found and _is_date(found["date"]) else None


def rule(pattern: str | None) -> Rule:
    """The rule of ``--pattern``, a regular expression for the whole name, else the usual one.

    Raises:
        WrongUsage: it is no regular expression.
    """
    if pattern is None:
        return usual
    try:
        return re.compile(pattern).fullmatch
    except re.error:
        raise WrongUsage(
            "--pattern is not a valid regular expression",
            reason="pattern-unusable",
            hint=r"such as: --pattern 'form-.*_(?P<token>[0-9a-f]+)\.json'; it has to match the whole name",
        ) from None


def token_of(found: re.Match[str]) -> str | None:
    """The token in a name, None where the rule names none."""
    return found.groupdict().get("token")


def day_of(found: re.Match[str]) -> date | None:
    """The day in a name, None where the rule names none or it is no day that has a next one."""
    try:
        day = date.fromisoformat(found.groupdict().get("date") or "")
    except ValueError:
        return None
    return day if day < date.max else None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


# --- local copies -----------------------------------------------------------------------------------------------------

QUARANTINE = "quarantine"
_NEAR = timedelta(days=2)
_REASON = ".reason.json"
_LONGEST = 150  # bytes of UTF-8; leaves room for a generation, a temporary name and Windows' limit on paths
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(\.|$)", re.IGNORECASE)


class BackupFolder:
    """The folder of local copies (PATIENT_BACKUP_DIR), with the folder ``quarantine`` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.quarantine = folder / QUARANTINE

    def sweep(self) -> None:
        """Remove what a killed run left half written; only for who holds the lock of the job. Raises as ``keep``."""
        with _explained(self.folder):
            for folder in (self.folder, self.quarantine):
                for path in folder.glob(".*.tmp"):
                    path.unlink(missing_ok=True)

    def keep(self, name: str, generation: int, data: bytes, moment: datetime) -> str:
        """Write the bytes of an object, unless they are there already; returns the file's name.

        The file's time is the object's (``moment``), so that it is known after a restore. A copy that lies in
        quarantine comes back from there.

        Raises:
            SettingUnusable: the folder cannot be written.
            ServiceDown: the disk is full or broken.
        """
        with _explained(self.folder):
            private_folder(self.folder)
            file = next(file for file in _candidates(name, generation, data) if self._is_free(file, data))
            path = self.folder / file
            if not path.exists() and (self.quarantine / file).exists():
                (self.quarantine / file).replace(path)
                settle(self.folder)
            elif not path.exists():
                write_whole(path, data)
                os.utime(path, (moment.timestamp(), moment.timestamp()))
            (self.quarantine / f"{file}{_REASON}").unlink(missing_ok=True)
        return file

    def names(self) -> set[str]:
        """The names of the copies. Raises SettingUnusable when the folder cannot be read."""
        return {path.name for path in files_in(self.folder)} if self.folder.is_dir() else set()

    def holds(self, file: str, sha256: str) -> bool:
        """Whether a copy is there with these bytes."""
        try:
            return hashlib.sha256((self.folder / file).read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    def put_aside(self, file: str, reason: dict[str, object]) -> None:
        """Move a copy to quarantine, with a file of reasons beside it (codes only). Does it once, however often called.

        Raises as ``keep``.
        """
        with _explained(self.quarantine):
            private_folder(self.quarantine)
            write_whole(self.quarantine / f"{file}{_REASON}", json.dumps(reason, indent=2).encode())
            if (self.folder / file).exists():
                (self.folder / file).replace(self.quarantine / file)
                settle(self.quarantine)
                settle(self.folder)

    def older_than(self, moment: datetime) -> list[Path]:
        """The copies, in quarantine too, of objects that were made before. Raises SettingUnusable as ``names``."""
        files = [path for folder in (self.folder, self.quarantine) for path in all_files_in(folder)]
        with _explained(self.folder):
            return [path for path in files if time_of_file(path.stat().st_mtime) < moment]

    def remove(self, path: Path) -> bool:
        """Remove a copy, and the reasons beside it; returns whether it is gone."""
        try:
            for one in (path, path.with_name(f"{path.name}{_REASON}")):
                one.unlink(missing_ok=True)
            settle(path.parent)
        except OSError:
            return False
        return True

    def _is_free(self, file: str, data: bytes) -> bool:
        """Whether no other bytes have this name."""
        places = (self.folder / file, self.quarantine / file)
        return all(not path.exists() or path.read_bytes() == data for path in places)


def files_in(folder: Path) -> list[Path]:
    """The copies in a folder, oldest first.

    Raises:
        SettingUnusable: the folder cannot be read.
    """
    with _explained(folder):
        found = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and path.is_file()]
        copies = [path for path in found if not path.name.endswith(_REASON) and not path.name.startswith(".")]
        return sorted(copies, key=lambda path: (path.stat().st_mtime_ns, path.name))


def all_files_in(folder: Path) -> list[Path]:
    """Every file of a folder of copies but the reasons, whatever it is called; of one that is not there none.

    Raises as ``files_in``.
    """
    with _explained(folder):
        found = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        return sorted(path for path in found if not path.name.endswith(_REASON))


def read_copy(file: Path) -> tuple[ListedObject, str | None, bytes]:
    """A copy as an object, the token in its name, and its bytes. Raises as ``files_in``.

    Its time stands in for the generation too (microseconds, as there). Bytes of its name that are no text, as archives
    of other systems leave them, are replaced.
    """
    with _explained(file.parent):
        data, seconds = file.read_bytes(), file.stat().st_mtime
    name = file.name.encode(errors="replace").decode()
    found = usual(name)
    made = _made(seconds, day_of(found) if found else None)
    about = ListedObject(name, int(made.timestamp() * 1_000_000), len(data), "", made)
    return about, token_of(found) if found else None, data


def _made(seconds: float, day: date | None) -> datetime:
    """When the object was made: the time of the copy, or the end of the day in its name where a restore has lost it.

    Copies carry the time of their object. One that is not within two days of the day in the name is by a restore.
    """
    changed = time_of_file(seconds)
    if day is None:
        return changed
    ends = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return changed if abs(changed - ends) <= _NEAR else ends


def safe(name: str) -> str:
    """A form of an object's name that every file system takes: no path parts, nothing that Windows forbids."""
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ").lstrip(". ") or "_"
    if _RESERVED.match(text):
        text = f"_{text}"
    if len(text.encode()) <= _LONGEST:
        return text
    mark = hashlib.sha256(name.encode()).hexdigest()[:16]  # the end of the name, with date and token, tells most
    return f"{mark}-{text.encode()[-(_LONGEST - 17) :].decode(errors='ignore')}"


def _candidates(name: str, generation: int, data: bytes) -> Iterator[str]:
    file = safe(name)
    stem, dot, ending = file.rpartition(".")
    stem, ending = (stem, dot + ending) if dot else (file, "")
    yield file
    yield f"{stem}-{generation}{ending}"
    yield f"{stem}-{generation}-{hashlib.sha256(data).hexdigest()}{ending}"


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """The operating system's errors without its text, which names the file."""
    try:
        yield
    except OSError as error:
        raise _meaning(error, folder) from None


def _meaning(error: OSError, folder: Path) -> DataflowsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return ServiceDown(
            f"no local copy can be written: {os.strerror(error.errno)}",
            reason="copy-not-written",
            hint=f"free some space for {folder}; objects stay in the bucket until their copy is safe",
        )
    if (of_another := foreign(folder, error, "the folder of local copies")) is not None:
        return of_another
    why = os.strerror(error.errno) if error.errno else "no reason is known"
    return SettingUnusable(
        f"the folder of local copies cannot be used: {folder} ({why})",
        reason="folder-unusable",
        hint="let PATIENT_BACKUP_DIR name a folder that this account may read and write",
    )
