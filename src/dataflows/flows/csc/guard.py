"""The guard against a loader that failed: it keeps the purges back when too many children would be removed at once."""

from __future__ import annotations

from collections.abc import Iterator

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.names import NamedRows

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
