"""Python's search for cycles, which a flow of records without cycles pays for and never needs."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_EVERY = 8  # runs; looking through what they hold costs 20 ms
_runs = itertools.count()
_lock = threading.Lock()
_inside = 0
_usual = gc.get_threshold()


@contextmanager
def rare_collections(every: int = 20_000, rounds: int = 20) -> Iterator[None]:
    """Let the garbage collector look for cycles seldom: records have none, and looking costs a fifth of a run.

    Not too seldom: what a database driver answered hangs in cycles, and 20 MB of it come together in no time. May be
    nested and used by several threads; the first thresholds hold until the last has left.
    """
    global _inside, _usual  # noqa: PLW0603 - the collector is one for the whole process
    with _lock:
        if not _inside:
            _usual = gc.get_threshold()
            gc.set_threshold(every, rounds, 100)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                gc.set_threshold(*_usual)


def sweep() -> None:
    """Before each run: free now and then what former runs of this process left in cycles, and spare what stays.

    What is there before the first run (the libraries, mostly) is set aside once and for all. To set aside and release
    it with every run hides each run's cycles from the collector, and 120 KB a pass are lost.
    """
    number = next(_runs)
    if number == 0:
        gc.freeze()
    elif number % _EVERY == 0:
        gc.collect()
