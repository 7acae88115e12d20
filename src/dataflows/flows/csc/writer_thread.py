"""Writing that goes on beside the requests: pieces of work, one after another, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")

_WAITING = 8  # pieces that may wait, so that memory stays flat when the database is slower than the receiver
_TICK = 0.5  # seconds; on Windows a blocking call keeps Ctrl-C from being seen, so no wait is longer


class WriterThread(Generic[T]):
    """Does pieces of work in order; what they return or raise reaches the caller in its own thread.

    After a failure nothing further is done: what waits is dropped.
    """

    def __init__(self) -> None:
        self._pieces: queue.Queue[Callable[[], T] | None] = queue.Queue(_WAITING)
        self._results: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._dropped = threading.Event()
        # a daemon: a database that hangs must not keep the process from ending; in a copy of the run's context, by
        # which its log knows what was said in its threads
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), daemon=True)
        self._thread.start()

    def put(self, piece: Callable[[], T]) -> None:
        """Hand over a piece of work; waits while too many are open."""
        while True:
            self._raise()
            try:
                return self._pieces.put(piece, timeout=_TICK)
            except queue.Full:
                continue

    def results(self) -> Iterator[T]:
        """Yield what finished pieces returned and was not yet handed out."""
        while not self._results.empty():
            yield self._results.get()
        self._raise()

    def finish(self) -> Iterator[T]:
        """Wait for all pieces; yield what they returned."""
        while self._is_busy():
            yield from self.results()
        yield from self.results()

    def _is_busy(self) -> bool:
        """Wait a moment for the end of all pieces; tells whether some are still open."""
        with self._pieces.all_tasks_done:
            if self._pieces.unfinished_tasks and self._thread.is_alive():
                self._pieces.all_tasks_done.wait(_TICK)
            return bool(self._pieces.unfinished_tasks) and self._thread.is_alive()

    def close(self, *, drop: bool = False) -> None:
        """End the thread; with ``drop`` what waits is not done, else it is. Raises nothing."""
        if drop:
            self._dropped.set()
        while self._thread.is_alive():
            try:
                self._pieces.put(None, timeout=_TICK)
                break
            except queue.Full:
                continue
        while self._thread.is_alive() and not drop:
            self._thread.join(_TICK)

    def _raise(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                if not self._dropped.is_set():
                    self._results.put(piece())
            except BaseException as error:
                self._failure = error  # raised again in the caller's thread
                self._dropped.set()
            finally:
                self._pieces.task_done()
