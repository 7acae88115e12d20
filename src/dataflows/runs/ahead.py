"""Reads on while its caller waits for something else, such as a database: one thread, a bounded number of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_TICK = 0.5  # seconds; on Windows a longer wait would keep Ctrl-C from being seen
_BATCHES = 2


class _End(NamedTuple):
    failure: BaseException | None


def ahead(items: Iterable[T], batch: int) -> Iterator[T]:
    """Yield the items in their order; a thread of its own takes them, at most three batches ahead of the caller.

    What taking them raises is raised here, behind the items that came before. Closing the iterator ends the thread.
    """
    ready: queue.Queue[list[T] | _End] = queue.Queue(_BATCHES)
    closed = threading.Event()
    thread = threading.Thread(target=_fill, args=(iter(items), batch, ready, closed), daemon=True)
    thread.start()
    try:
        while not isinstance(found := _next(ready), _End):
            yield from found
        if found.failure is not None:
            raise found.failure
    finally:
        closed.set()
        with suppress(queue.Empty):
            while True:  # else the thread would wait for room
                ready.get_nowait()
        thread.join()


def _next(ready: queue.Queue[list[T] | _End]) -> list[T] | _End:
    while True:
        with suppress(queue.Empty):
            return ready.get(timeout=_TICK)


def _fill(items: Iterator[T], batch: int, ready: queue.Queue[list[T] | _End], closed: threading.Event) -> None:
    failure: BaseException | None = None
    found: list[T] = []
    try:
        for item in items:
            found.append(item)
            if len(found) == batch:
                if not _put(ready, found, closed):
                    break
                found = []
    except BaseException as error:
        failure = error  # raised again in the caller's thread
    _put(ready, found, closed)
    _put(ready, _End(failure), closed)


def _put(ready: queue.Queue[list[T] | _End], found: list[T] | _End, closed: threading.Event) -> bool:
    """Hand over; False when nobody wants it any more."""
    while not closed.is_set():
        with suppress(queue.Full):
            ready.put(found, timeout=_TICK)
            return True
    return False
