"""Other accounts of the machine, and the masks that processes are started with."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import warm
from tests.processes import Ended, Process, Program

NOBODY = 65_534
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead of modes")
as_root = pytest.mark.skipif(
    not warm.POSSIBLE or os.geteuid() != 0, reason="only root can become another account: NOT TESTED HERE"
)


@contextmanager
def any_mask() -> Iterator[None]:
    """The mask that takes no right away."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(*folders: Path) -> list[str]:
    """What in these folders, and which of them, another account may read, change or look into: path and mode."""
    found = []
    for path in [one for folder in folders for one in (folder, *folder.rglob("*"))]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() and mode != (0o700 if path.is_dir() else 0o600):
            found.append(f"{oct(mode)} {path}")
    return sorted(found)


def run_as(account: int, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Ended:
    """Run the program as the account of a number, in a folder; for root only.

    It is forked from a process that has loaded everything: another account may not even read this Python.
    """
    whole = {**Program(folder, environment).environment}
    with Process(tuple(arguments), warm.Warm("dataflows", arguments, folder, whole, account)) as process:
        return process.ended().keeps_the_contract()
