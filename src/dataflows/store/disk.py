"""What the disk refuses, in an operator's words: it is full, or what is there belongs to another account."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from pathlib import Path

from dataflows.errors import DataflowsError, ServiceDown, SettingUnusable

_FULL = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name))
_DENIED = (errno.EACCES, errno.EPERM)


def unusable(path: Path, error: OSError, what: str, hint: str) -> DataflowsError:
    """What an operator is told of a file or folder that cannot be used (to be raised ``from None``).

    Args:
        path: the file or folder.
        error: what the system said.
        what: what it is, such as ``the log``.
        hint: what to do when it is neither a full disk nor another account's file.

    Returns:
        ServiceDown (13) when the disk is full; SettingUnusable (10) else, with both accounts where one may not use
        what belongs to the other.
    """
    if error.errno in _FULL:
        return full(path, what)
    return foreign(path, error, what) or SettingUnusable(f"{what} cannot be used: {path} ({error.strerror})", hint=hint)


def foreign(path: Path, error: OSError, what: str) -> SettingUnusable | None:
    """The error for a file or folder of another account, where that is why it cannot be used."""
    found = kept_from(path) if error.errno in _DENIED else None
    return None if found is None else of_another_account(found, what)


def full(path: Path, what: str) -> ServiceDown:
    """The error for a disk that is full, or a quota that is used up."""
    return ServiceDown(f"the disk is full, {what} cannot be written: {path}", hint="make room, then run again")


def of_another_account(path: Path, what: str) -> SettingUnusable:
    """The error for a file or folder that belongs to another account, as after an administrator's run."""
    me = account()
    return SettingUnusable(
        f"{what} cannot be used: {path} belongs to {_owner(path)}, and this is {me}",
        hint=f"give DATA_DIR with all in it to {me} (as administrator), and run the jobs as that account only",
    )


def kept_from(path: Path) -> Path | None:
    """The file itself, or a folder on the way to it, that is another account's and keeps this one out.

    None on Windows, where who owns a file does not tell who may use it.
    """
    if sys.platform == "win32":
        return None
    entered = [(folder, os.X_OK) for folder in reversed(path.parents)]
    for place, wanted in (*entered, (path, os.R_OK | os.W_OK), (path.parent, os.R_OK | os.W_OK)):
        try:
            owner = place.lstat().st_uid
        except OSError:
            continue
        if owner != os.geteuid() and not os.access(place, wanted):
            return place
    return None


def sqlite_unusable(error: sqlite3.Error, path: Path, what: str) -> DataflowsError | None:
    """What SQLite's error means where it is the disk, or the account that the file belongs to; None else."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _is_full(path.parent)):
        return full(path, what)
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        foreign = next(filter(None, map(kept_from, files_of_sqlite(path))), None)
        return of_another_account(foreign, what) if foreign else None
    return None


def files_of_sqlite(path: Path) -> list[Path]:
    """A SQLite database and what SQLite may keep beside it: its write-ahead log, its shared memory and its journal."""
    return [path.with_name(path.name + end) for end in ("", "-wal", "-shm", "-journal")]


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 1024 * 1024
    except OSError:
        return False


def _owner(path: Path) -> str:
    if sys.platform == "win32":
        return "another account"
    try:
        return f"the account {path.owner()}"
    except KeyError:
        return f"the account with number {path.lstat().st_uid}"


def account() -> str:
    """The name of the account that this process runs as."""
    if sys.platform == "win32":
        return f"{os.environ.get('USERDOMAIN', '')}\\{os.environ.get('USERNAME', '')}".strip("\\") or "this account"
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"the account with number {os.geteuid()}"
