"""Python's search for cycles, which a flow of records without cycles pays for and never needs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUAL = gc.get_threshold()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let the garbage collector look for cycles seldom: records have none, and looking costs a fifth of a run.

    Not too seldom: what a database driver answered hangs in cycles, and 20 MB of it come together in no time. The
    libraries are set aside once in a process: what a run leaves behind would be set aside with them by the next one,
    and never looked at.
    """
    if not gc.get_freeze_count():
        gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*_USUAL)
