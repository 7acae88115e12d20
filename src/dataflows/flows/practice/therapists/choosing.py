"""Which files of the folder are imported, in which order, and reading them ahead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import Interrupted
from dataflows.flows.practice.therapists.files import (
    LOST_TIMES,
    NOTHING_SAID,
    Found,
    Scrape,
    ScrapeFile,
    Unreadable,
    entries,
    scrape_of,
)
from dataflows.flows.practice.therapists.record import Item
from dataflows.flows.practice.values import AHEAD, time_of_file
from dataflows.runs import pool
from dataflows.runs.pool import ahead


class Look(NamedTuple):
    """A file as it was looked at. ``sha256`` is empty when it cannot be read."""

    found: Found
    size: int
    changed_ns: int
    sha256: str
    scrape: Scrape
    in_future: bool = False
    """Its scrape date is more than a day ahead of the file's own time, so it is not believed."""

    @property
    def changed(self) -> datetime:
        """When it was changed last."""
        return time_of_file(self.changed_ns / 1e9)

    @property
    def date(self) -> datetime:
        """When it was scraped: as it says itself, else by its folder, else when it was changed."""
        if self.scrape.date is not None:
            return self.scrape.date
        day = self.found.day
        return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else self.changed

    @property
    def doubts(self) -> Iterator[str]:
        """What is odd about its dates, as names of ``changes.CODES``."""
        if self.in_future:
            yield "date_in_future"
        if self.found.day_ahead:
            yield "folder_in_future"
        if self.scrape.odd_date:
            yield "odd_date_folder_used" if self.found.day else "odd_date_file_used"

    @property
    def area(self) -> str:
        """Its postcode area, such as 52XXX."""
        return self.scrape.area or f"{self.found.zip_code[:2]}XXX"


class Choice(NamedTuple):
    """``newest``: files to be imported; ``older``: by ZIP code, those that a newer one of them takes the place of."""

    newest: list[Look]
    older: dict[str, list[Found]]


# --- looking ------------------------------------------------------------------------------------------------------


def look(found: Found) -> Look:
    """Read a file's hash and what it says of itself. What is wrong with it is found when it is imported."""
    try:
        with Path(found.path).open("rb") as stream:
            status, source = os.fstat(stream.fileno()), ScrapeFile(stream)
            scrape, ahead = _believable(_said(source), status.st_mtime)
            return Look(found, status.st_size, status.st_mtime_ns, source.rewind().sha256(), scrape, ahead)
    except OSError:
        return Look(found, 0, _changed_ns(found), "", NOTHING_SAID)


def look_at(found: Sequence[Found], workers: int, stop: pool.Stop) -> dict[str, Look]:
    """Look at several files at a time; by path."""
    return {one.found.path: one for one in pool.each(look, found, workers=min(workers, len(found)), stop=stop)}


def _changed_ns(found: Found) -> int:
    try:
        return Path(found.path).stat().st_mtime_ns
    except OSError:
        return 0


def _said(source: ScrapeFile) -> Scrape:
    try:
        return scrape_of(source)
    except Unreadable:
        return NOTHING_SAID


def _believable(scrape: Scrape, changed: float) -> tuple[Scrape, bool]:
    """A date in the future would keep every later file from counting."""
    own = datetime.fromtimestamp(changed if changed > LOST_TIMES else time.time(), UTC)
    if scrape.date is not None and scrape.date > own + AHEAD:
        return scrape._replace(date=None), True
    return scrape, False


def is_settled(one: Look, seconds: float, before: Look | None = None) -> bool:
    """Whether nobody has changed the file for so long; ``before`` is how it was so long ago."""
    if before is not None and (before.size, before.changed_ns, before.sha256) == (one.size, one.changed_ns, one.sha256):
        return True
    return 0 <= time.time() - one.changed_ns / 1e9 >= seconds


def choose(files: Iterable[Found], look_at: Callable[[list[Found]], dict[str, Look]]) -> Choice:
    """Choose the newest file of each ZIP code; files are opened only where their folders do not tell.

    Args:
        look_at: looks at files; by path.
    """
    groups: dict[str, list[Found]] = {}
    for one in files:
        groups.setdefault(one.zip_code, []).append(one)
    undated = [one for group in groups.values() if len(group) > 1 for one in group if one.day is None]
    seen = look_at(undated)
    of_the_day: dict[str, list[Found]] = {}
    for zip_code, group in groups.items():
        days = {one.path: one.day or seen[one.path].date.date() for one in group if one.day or one.path in seen}
        newest = max(days.values(), default=None)
        of_the_day[zip_code] = [one for one in group if days.get(one.path) == newest]
    seen |= look_at([one for group in of_the_day.values() for one in group if one.path not in seen])
    looks = ([seen[one.path] for one in group if one.path in seen] for group in of_the_day.values())
    return _with_older([one for group in looks for one in _latest(group)], groups)


def _latest(looks: list[Look]) -> list[Look]:
    """Of several files of one day those that were scraped last."""
    last = max((one.date for one in looks), default=None)
    return [one for one in looks if one.date == last]


def _with_older(chosen: list[Look], groups: dict[str, list[Found]]) -> Choice:
    paths = {one.found.path for one in chosen}
    older = {
        zip_code: [one for one in group if one.path not in paths]
        for zip_code, group in groups.items()
        if len(group) > 1
    }
    return Choice(sorted(chosen, key=lambda one: (one.date, one.found.name)), older)


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
                        raise Interrupted(
                            "stopped in the middle of a file, which was not written at all", reason="interrupted"
                        )
                if source.sha256() != look.sha256:
                    raise Unreadable("changed")
        except OSError:
            raise Unreadable("not_readable") from None


def _raising(code: str) -> Callable[[], Iterable[Item]]:
    def entries() -> Iterable[Item]:
        raise Unreadable(code)

    return entries
