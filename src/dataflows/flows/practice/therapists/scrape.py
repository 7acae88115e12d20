"""One file of the scraper: what it says of itself and its entries, streamed one by one, in both of its layouts.

Nothing of a file's content goes into an error: ijson's own messages quote it.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import IO, Any, NamedTuple

from ijson.backends import yajl2_c as ijson  # the C one by name: the pure one needs twenty times as long
from ijson.common import IncompleteJSONError, JSONError

from dataflows.flows.practice.therapists.bounded import BoundedText, mark_in
from dataflows.flows.practice.therapists.record import STATUSES, Broken, Item, item_of
from dataflows.flows.practice.values import moment_of
from dataflows.store.encodings import encoding_of

__all__ = ["NOTHING_SAID", "Scrape", "ScrapeFile", "Unreadable", "entries", "scrape_of"]

_LONGEST_AREA = 50
_COUNTS = {"total": "total_therapists", **{status: f"{status}_therapists" for status in STATUSES}}


class Unreadable(Exception):
    """A file that is no scrape: broken off, no JSON, or without a list of therapists. ``code`` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Scrape(NamedTuple):
    """What a file says of itself: when it was scraped, its postcode area, its own counts (``total``, by status)."""

    date: datetime | None
    area: str | None
    counts: Mapping[str, int]
    odd_date: bool = False
    """It says when it was scraped, in a form that cannot be read."""


NOTHING_SAID = Scrape(None, None, {})


class ScrapeFile:
    """A file being read: its SHA-256 is worked out on the way; a byte order mark and what is beyond bounds left out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._begin()

    def _begin(self) -> None:
        self._sha256 = hashlib.sha256()
        self._fresh = True
        self._bounded = BoundedText(self._block)

    @property
    def has_marks(self) -> bool:
        """Whether some entry that was read holds a mark (``bounded.mark_in``)."""
        return self._bounded.has_marks

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        return self._bounded.read(size)

    def _block(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._sha256.update(block)
        if self._fresh and block:
            self._fresh = False
            return block.removeprefix(codecs.BOM_UTF8) or self._block(size)
        return block

    def rewind(self) -> ScrapeFile:
        """Start again from the beginning."""
        self._stream.seek(0)
        self._begin()
        return self

    def sha256(self) -> str:
        """The hash of the whole file, in hex; what was not read yet is read now."""
        while self._block(1 << 20):
            pass
        return self._sha256.hexdigest()

    def encoding(self) -> str | None:
        """Which other encoding than UTF-8 the file has (``encodings.NAMES``), None where there is nothing to tell."""
        self._stream.seek(0)
        return encoding_of(iter(partial(self._stream.read, 1 << 20), b""))


def scrape_of(source: ScrapeFile) -> Scrape:
    """Read what a file says of itself; that usually stands at its beginning, and no more is read then.

    Raises:
        Unreadable: the file breaks off before, or is no JSON.
    """
    metadata = _first(source, "metadata")
    counts = metadata.get("statistics")
    if counts is None and not any(name in metadata for name in _COUNTS.values()):
        counts = _first(source, "statistics")
    said = {**metadata, **counts} if isinstance(counts, dict) else metadata
    area = metadata.get("postcode_area")
    when = metadata.get("scrape_date") or metadata.get("timestamp")
    date = moment_of(str(when))  # the source writes its times without a zone
    return Scrape(
        date,
        _area(area) if isinstance(area, str) else None,
        {what: number for what in _COUNTS if isinstance(number := _count(said, what), int)},
        bool(when) and date is None,
    )


def entries(source: ScrapeFile) -> Iterator[Item]:
    """Yield the entries of a file one by one, whatever its size; only a file that is whole gets to its end.

    Raises:
        Unreadable: the file breaks off, is no JSON, or has no list of therapists.
    """
    try:
        yield from _entries(source)
    except Unreadable as error:
        code = error.code
    else:
        return
    raise Unreadable((source.encoding() if code == "not_json" else None) or code)


def _entries(source: ScrapeFile) -> Iterator[Item]:
    at = -1
    for at, raw in enumerate(_items(source.rewind(), "therapists.item")):
        code = mark_in(raw) if source.has_marks else None
        yield item_of(at, raw) if code is None else Broken(at, code)
    if at < 0 and not _has_list(source.rewind()):
        raise Unreadable("no_therapists")


def _first(source: ScrapeFile, prefix: str) -> dict[str, Any]:
    found = next(_items(source.rewind(), prefix), None)
    said = found if isinstance(found, dict) else {}
    return {name: value for name, value in said.items() if mark_in(value) is None} if source.has_marks else said


def _items(source: ScrapeFile, prefix: str) -> Iterator[Any]:
    try:
        yield from ijson.items(source, prefix)
    except IncompleteJSONError as error:
        raise Unreadable("broken_off" if "premature EOF" in str(error) else "not_json") from None
    except (JSONError, UnicodeDecodeError):
        raise Unreadable("not_json") from None


def _has_list(source: ScrapeFile) -> bool:
    return any(prefix == "therapists" and event == "start_array" for prefix, event, _ in ijson.parse(source))


def _area(text: str) -> str | None:
    """The area, unless it is of a kind that no database holds or finds."""
    area = text.strip().upper()
    return area if area.isprintable() and 0 < len(area) <= _LONGEST_AREA else None


def _count(said: Mapping[str, Any], what: str) -> Any:
    """Statistics name them ``new_therapists`` or just ``new``."""
    found = said.get(_COUNTS[what], said.get(what))
    return None if isinstance(found, bool) else found
