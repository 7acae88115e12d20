"""Files: written whole or not at all, and for nobody else to read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder (and those above it) that only its owner can look into; returns it.

    A folder that is there already stays as it is: somebody chose its rights.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _owner_only(path)
    return path


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, where there is none. Raises OSError as ``os.open``."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def write_whole(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file so that its name never stands for half of it: written beside, flushed, closed, then renamed.

    A private file is its owner's alone (0600); on Windows a file has the rights of its folder.

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
        if not private:
            beside.chmod(0o644)
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


def _owner_only(path: Path) -> None:
    """On Windows a mode says nothing: give the folder an access list of its own (older Pythons ignore mkdir's)."""
    if sys.platform != "win32":
        return
    account = f"{os.environ.get('USERDOMAIN', '')}\\{os.environ.get('USERNAME', '')}".strip("\\")
    rights = [f"{who}:(OI)(CI)F" for who in (account, "*S-1-5-18", "*S-1-5-32-544") if who]  # system, administrators
    icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "icacls.exe")
    command = [str(icacls), str(path), "/inheritance:r", "/grant:r", *rights]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, check=False, capture_output=True, timeout=30)  # noqa: S603
