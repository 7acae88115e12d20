"""Work through threads: items in order to a pool that takes what is ready, and reading ahead of one consumer."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

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


R = TypeVar("R")


class Flag(Protocol):
    """Tells whether to stop: a ``threading.Event``, or anything that can be asked like one."""

    def is_set(self) -> bool:
        """Whether no further item is wanted."""


GRACE_SECONDS = 30.0
_BEFORE_THE_END = 2.0  # s: what breaks off a long piece of work still cleans up before the pool leaves


class Stop(threading.Event):
    """The wish that a run stops; ``hurry`` when it was repeated: then nobody is waited for."""

    hurry = False
    _since: float | None = None

    def set(self) -> None:
        """Ask for the stop; the grace of what is under way begins with the first call."""
        if self._since is None:
            self._since = time.monotonic()
        super().set()

    def grace_is_over(self) -> bool:
        """Whether what was under way at the stop has had its time, so that long work should break off now."""
        if self._since is None:
            return False
        return self.hurry or time.monotonic() - self._since > GRACE_SECONDS - _BEFORE_THE_END


@dataclass(frozen=True, slots=True)
class TryLater:
    """Yielded in the place of an item: there is none now, ask again after a result or after so many seconds."""

    seconds: float


def each(
    work: Callable[[T], R], items: Iterable[T | TryLater], *, workers: int, stop: Flag, grace: float = GRACE_SECONDS
) -> Iterator[R]:
    """Yield ``work(item)`` for every item, in the order of completion.

    ``items`` is consumed in the caller's thread, at most ``workers`` ahead of the work; it may yield ``TryLater``. One
    worker means no threads.
    When ``stop`` is set no further item is taken and those at work are given ``grace`` seconds. What ``work`` raises
    is raised here, after the results of the items that were at work have been yielded.
    """
    if workers <= 1:
        yield from _serially(work, items, stop)
        return
    pool = _Workers(work, workers, stop, grace)
    try:
        yield from pool.run(items)
    finally:
        pool.dismiss()


def _serially(work: Callable[[T], R], items: Iterable[T | TryLater], stop: Flag) -> Iterator[R]:
    if stop.is_set():
        return
    for item in items:
        if isinstance(item, TryLater):
            threading.Event().wait(min(item.seconds, _TICK))
        else:
            yield work(item)
        if stop.is_set():
            return


class _Result(NamedTuple, Generic[R]):
    values: tuple[R, ...] = ()  # empty: the item was handed back untouched
    failure: BaseException | None = None


class _Workers(Generic[T, R]):
    def __init__(self, work: Callable[[T], R], workers: int, stop: Flag, grace: float) -> None:
        self._work = work
        self._stop = stop
        self._grace = grace
        self._tasks: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[_Result[R]] = queue.SimpleQueue()
        self._capacity = workers * 2
        self._open = 0
        self._failure: BaseException | None = None
        self._halt = threading.Event()
        self._limit: float | None = None  # when the grace ends
        # daemons: a request that hangs must not keep the process from ending after its grace
        # each in a copy of the run's context, by which its log knows what was said in its threads
        self._threads = [
            threading.Thread(target=copy_context().run, args=(self._worker,), daemon=True) for _ in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, items: Iterable[T | TryLater]) -> Iterator[R]:
        source = iter(items)
        while not self._stop.is_set() and self._failure is None:
            yield from self._finished(wait=self._open >= self._capacity)
            if self._open >= self._capacity:
                continue
            item = next(source, None)
            if item is None:
                break
            if isinstance(item, TryLater):
                yield from self._pause(item.seconds)
                continue
            self._open += 1
            self._tasks.put(item)
        yield from self._drain()
        if self._failure is not None:
            raise self._failure

    def _drain(self) -> Iterator[R]:
        while self._open:
            if self._limit is None and (self._stop.is_set() or self._failure is not None):
                self._halt.set()
                self._limit = time.monotonic() + self._grace
            if self._limit is not None and (time.monotonic() > self._limit or getattr(self._stop, "hurry", False)):
                return
            yield from self._finished(wait=True)

    def _finished(self, *, wait: bool) -> Iterator[R]:
        while self._open:
            try:
                result = self._results.get(block=wait, timeout=_TICK)
            except queue.Empty:
                return
            wait = False
            yield from self._taken(result)

    def _pause(self, seconds: float) -> Iterator[R]:
        with suppress(queue.Empty):
            yield from self._taken(self._results.get(timeout=min(seconds, _TICK)))

    def _taken(self, result: _Result[R]) -> tuple[R, ...]:
        self._open -= 1
        self._failure = self._failure or result.failure
        return result.values

    def _worker(self) -> None:
        while (item := self._tasks.get()) is not None:
            try:
                late = self._halt.is_set() or self._stop.is_set()
                self._results.put(_Result() if late else _Result((self._work(item),)))
            except BaseException as error:
                self._results.put(_Result(failure=error))  # raised again in the caller's thread

    def dismiss(self) -> None:
        """Send the workers home; those still at work are given the grace, so that what they learn is recorded."""
        self._halt.set()
        for _ in self._threads:
            self._tasks.put(None)
        if getattr(self._stop, "hurry", False):
            return
        limit = time.monotonic() + self._grace if self._limit is None else self._limit
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))
