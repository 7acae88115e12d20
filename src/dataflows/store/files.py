"""Files: written whole or not at all, and for nobody else to read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

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


def _owner_only(path: Path) -> None:
    """On Windows give a folder an access list of its own, as mkdir's mode does from Python 3.11.10 and 3.12.4 on."""
    if sys.platform != "win32":
        return
    icacls = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "icacls.exe")
    command = [str(icacls), str(path), "/inheritance:r", "/grant:r", *OWNER_ONLY]
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(command, check=False, capture_output=True, timeout=30)  # noqa: S603
