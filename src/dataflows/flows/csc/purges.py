"""Purges of whole children: which are owed, orphaned or deferred, and the guard that holds back too many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import Contradicted
from dataflows.flows.csc.names import NamedRows
from dataflows.flows.csc.scratch import Deferred
from dataflows.flows.csc.speakers import Speakers

__all__ = ["Deferred", "Guard", "Orphans", "OwedPurges"]


@dataclass
class Orphans:
    """Finds them by a walk of the table (csc.md, "Orphans").

    ``counted`` is None until they were counted in this run.
    """

    acks: Acknowledgements
    names: NamedRows
    counted: int | None = None

    def may_be_counted(self) -> bool:
        """Tell whether the walk of this run allows it: every row names somebody, and the table has its usual size."""
        if self.names.walked is None:
            return False
        walked = self.names.walk()
        return self.acks.table.note_walk(walked.rows) and not walked.nameless

    def found(self) -> Iterator[list[bytes]]:
        """Yield them in pages."""
        for page in self.acks.of_table():
            named = {name: child for child in page if (name := self.acks.child(child)) is not None}
            yield [named[name] for name in self.names.unnamed(named)]


FLOOR = 10  # so many purges are always let through


class Guard:
    """Compares the purges of a run with the children that the API holds, by journal and table together.

    Args:
        percent: ``CSC_MAX_DELETE_PERCENT``.
    """

    def __init__(self, acks: Acknowledgements, names: NamedRows, percent: float) -> None:
        self._acks = acks
        self._names = names
        self._percent = percent
        self._held: int | None = None

    def stops(self, purges: int) -> bool:
        """Tell whether so many purges are too many."""
        if purges <= FLOOR or not self._exceeds(purges, self._acks.holds()):
            return False
        return self._exceeds(purges, self.held())

    def held(self) -> int:
        """Return how many children the API holds: those the journal knows of, and those that only the table shows."""
        if self._held is None:  # the table is only asked where the journal alone would keep the purges back
            self._held = self._acks.holds_with(self._keys())
        return self._held

    def _exceeds(self, purges: int, held: int) -> bool:
        return purges * 100 > held * self._percent

    def _keys(self) -> Iterator[list[bytes]]:
        for page in self._names.shown_as_sent():
            yield [self._acks.key(name) for name in page]


_PAGE = 500


class OwedPurges:
    """Children that rows named before, or that no row names any more. ``keeps``: False in a dry run."""

    def __init__(self, acks: Acknowledgements, speakers: Speakers, deferred: Deferred, *, keeps: bool) -> None:
        self._acks = acks
        self._speakers = speakers
        self.deferred = self._deferred = deferred
        self._keeps = keeps

    def owe(self, children: Iterable[bytes]) -> None:
        """Commit that children are owed a purge, before anything else leaves because of their rows."""
        owed = list(children)
        if owed and self._keeps:
            self._acks.owe(owed)
        if owed:
            self._deferred.keep_former(owed)

    def recall(self) -> None:
        """Take up what earlier runs owed."""
        for page in self._acks.owed_purges():
            self._deferred.keep_former(page)

    def look_through(self) -> Iterator[list[Contradicted]]:
        """Keep those that nobody speaks for; forget those that a row speaks for again; yield the contradicted ones."""
        for page in self._deferred.former(_PAGE):
            named = {child: name for child in page if (name := self._acks.child(child)) is not None}
            standings = self._speakers.of((), named.values())
            spoken = [child for child, name in named.items() if standings[name].reading is not None]
            if spoken and self._keeps:
                self._acks.owe_no_more(spoken)
            others = {child: standings[name].variant for child, name in named.items() if child not in spoken}
            self._deferred.keep_purges(child for child, variant in others.items() if variant is None)
            yield [_contradicted(child, variant) for child, variant in others.items() if variant is not None]

    def keys(self, children: Sequence[bytes]) -> list[str]:
        """Return the keyed hashes under which an operator is told of these children."""
        return [child[:8].hex() for child in children]


def _contradicted(child: bytes, variant: int) -> Contradicted:
    return Contradicted(
        None,
        child[:8].hex(),
        f"row {variant} names this child in different upper or lower case, and no row names it as the API has it:"
        " nothing is sent for it until somebody decides",
    )
