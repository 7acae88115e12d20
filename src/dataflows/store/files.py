"""Files and folders that belong to their owner alone, written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

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
    return foreign(path, error, what) or SettingUnusable(
        f"{what} cannot be used: {path} ({error.strerror})", reason="data-folder-unusable", hint=hint
    )


def foreign(path: Path, error: OSError, what: str) -> SettingUnusable | None:
    """The error for a file or folder of another account, where that is why it cannot be used."""
    found = kept_from(path) if error.errno in _DENIED else None
    return None if found is None else of_another_account(found, what)


def full(path: Path, what: str) -> ServiceDown:
    """The error for a disk that is full, or a quota that is used up."""
    return ServiceDown(
        f"the disk is full, {what} cannot be written: {path}",
        reason="disk-full",
        hint="free some space, then run again",
    )


def of_another_account(path: Path, what: str) -> SettingUnusable:
    """The error for a file or folder that belongs to another account, as after an administrator's run."""
    me = account()
    return SettingUnusable(
        f"{what} cannot be used: {path} belongs to {_owner(path)}, but this account is {me}",
        reason="data-folder-owner",
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


OWNER_ONLY = tuple(f"*{sid}:(OI)(CI)F" for sid in ("S-1-3-4", "S-1-5-18", "S-1-5-32-544"))
"""What icacls grants on a folder of ours: all to the owner of each file in it, to the system and to administrators.

By numbers, which need no account's name: that of a service is not the one that Windows knows it by, and a name that
icacls does not find would leave the folder open.
"""


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, that only its owner can look into; returns it.

    A folder that is there already stays as it is: somebody chose its rights.

    Raises:
        OSError: it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if missing:
        _owner_only(missing[-1])  # the others inherit
    return path


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, where there is none. Raises OSError as ``os.open``."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def private_lock(path: Path | str, **options: Any) -> FileLock:
    """A lock whose file is its owner's alone, so that no other account can hold it; ``options`` as of ``FileLock``."""
    return FileLock(path, **options) if sys.platform == "win32" else FileLock(path, mode=0o600, **options)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that its name never stands for half of it: written beside, flushed, closed, then renamed.

    It is its owner's alone (0600); on Windows a file has the rights of its folder.

    Raises:
        OSError: it cannot be written; nothing is left behind, and a former file of the name is as it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)  # 0600 by itself
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    settle(path.parent)


def settle(folder: Path) -> None:
    """Make the new name outlive a power cut too; Windows sees to that by itself."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def refuse_network_share(folder: Path) -> None:
    """Raise SettingUnusable when ``folder`` lies on a network share (SQLite's WAL corrupts there)."""
    if _on_network(folder):
        raise SettingUnusable(
            f"the data folder is on a network share: {folder}",
            reason="data-folder-on-share",
            hint="set DATA_DIR to a folder on a local disk",
        )


def _on_network(folder: Path) -> bool:
    if sys.platform == "win32":
        import ctypes

        anchor = folder.absolute().anchor
        remote_drive = 4  # DRIVE_REMOTE of the Windows API
        return anchor.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(anchor) == remote_drive
    return _file_system(folder) in {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p.nfs", "fuse.sshfs"}


def _file_system(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    place = str(folder.absolute())
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, system
    return kind


def _owner_only(path: Path) -> None:
    """On Windows give a folder an access list of its own, as mkdir's mode does from Python 3.11.10 and 3.12.4 on."""
    if sys.platform != "win32":
        return
    icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "icacls.exe")
    command = [str(icacls), str(path), "/inheritance:r", "/grant:r", *OWNER_ONLY]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, check=False, capture_output=True, timeout=30)  # noqa: S603
