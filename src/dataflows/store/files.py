"""Files: written whole or not at all, and for nobody else to read."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder (and those above it) that only its owner can look into; returns it.

    Raises:
        OSError: it cannot be made.
    """
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _owner_only(path)
    return path


def write_whole(path: Path, data: bytes, *, private: bool = True) -> None:
    """Write a file so that its name never stands for half of it: written beside, flushed, closed, then renamed.

    Raises:
        OSError: it cannot be written; nothing is left behind, and a former file of the name is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(
            beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600 if private else 0o666
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _owner_only(path: Path) -> None:
    """On Windows a mode says nothing: give the folder an access list of its own (older Pythons ignore mkdir's)."""
    if sys.platform != "win32":
        return
    account = f"{os.environ.get('USERDOMAIN', '')}\\{os.environ.get('USERNAME', '')}".strip("\\")
    rights = [f"{who}:(OI)(CI)F" for who in (account, "*S-1-5-18", "*S-1-5-32-544") if who]  # system, administrators
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            ["icacls", str(path), "/inheritance:r", "/grant:r", *rights], check=False, capture_output=True, timeout=30
        )
