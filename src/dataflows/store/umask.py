"""Who may read what this process makes, whatever library makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def close_to_others() -> int:
    """Make everything that this process creates from now on its owner's alone, whatever the mask it was started with.

    Libraries make files too: SQLite its write-ahead log, a lock its file, ``mkdir`` the folders on the way. Windows
    has no mask: there a folder of ours has an access list, which what lies in it inherits. Returns the former mask.
    """
    return os.umask(0o077)


@contextmanager
def closed_to_others() -> Iterator[None]:
    """The same for the length of the block."""
    before = close_to_others()
    try:
        yield
    finally:
        os.umask(before)
