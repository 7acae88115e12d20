"""Reads files for the writer: small ones ahead, in the worker pool; large ones as they are written, in flat memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import Interrupted
from dataflows.flows.therapists.choosing import Look
from dataflows.flows.therapists.record import Item
from dataflows.flows.therapists.scrape import ScrapeFile, Unreadable, entries
from dataflows.runs import pool
from dataflows.runs.ahead import ahead

__all__ = ["Read", "in_order"]

AHEAD_BYTES = 1 << 20  # a file of 100 therapists has 200 KB
_LOOK_EVERY = 1000
_BATCH = 250  # entries that are handed over at once


class Read(NamedTuple):
    """A file with its entries. ``entries()`` starts from the first one each time it is called.

    It raises Unreadable, also when the file is no longer as it was looked at (``changed``).
    """

    look: Look
    entries: Callable[[], Iterable[Item]]


def in_order(looks: Sequence[Look], workers: int, stop: pool.Stop) -> Iterator[Read]:
    """Yield files in the order given; a few are parsed ahead by the pool, never more than that many in memory."""
    size = max(1, workers) * 2
    for start in range(0, len(looks), size):
        window = looks[start : start + size]
        read = pool.each(_AheadReader(stop).read, window, workers=min(workers, len(window)), stop=stop)
        ready = {one.look.found.path: one for one in read}
        yield from (ready.pop(look.found.path) for look in window if look.found.path in ready)


class _AheadReader:
    def __init__(self, stop: pool.Stop) -> None:
        self._stop = stop

    def read(self, look: Look) -> Read:
        """Parse a small file; what is wrong with it is raised when its entries are asked for."""
        if look.size > AHEAD_BYTES:
            return Read(look, lambda: ahead(self._streamed(look), _BATCH))
        try:
            items = list(self._streamed(look))
        except Unreadable as error:
            return Read(look, _raising(error.code))
        return Read(look, lambda: items)

    def _streamed(self, look: Look) -> Iterator[Item]:
        try:
            with Path(look.found.path).open("rb") as stream:
                source = ScrapeFile(stream)
                for item in entries(source):
                    yield item
                    if item.at % _LOOK_EVERY == _LOOK_EVERY - 1 and self._stop.is_set():
                        raise Interrupted("stopped in the middle of a file; nothing of it was written")
                if source.sha256() != look.sha256:
                    raise Unreadable("changed")
        except OSError:
            raise Unreadable("not_readable") from None


def _raising(code: str) -> Callable[[], Iterable[Item]]:
    def entries() -> Iterable[Item]:
        raise Unreadable(code)

    return entries
