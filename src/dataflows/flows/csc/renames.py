"""Rows that name another child than they did when they were sent: the former one is owed a purge.

Evidence is the row's previous payload, or an acknowledgement that provably came from this very row: its id together
with its person, or a receipt that was given to one child alone and still stands in the row. So it also works after the
table was copied, renumbered or moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflows.flows.csc.acknowledgements import Ack, Acknowledgements
from dataflows.flows.csc.reading import Reading, name_in, says_nothing, seems_to_name, shows_it_was_sent
from dataflows.flows.csc.schema import ChildSchema


class Renames:
    """Finds which children rows named before."""

    def __init__(self, acks: Acknowledgements) -> None:
        self._acks = acks
        self._schema = acks.schema

    def of(self, readings: Sequence[Reading], acks: Mapping[bytes, Ack]) -> list[bytes]:
        """Return the children that these rows named before and that the API holds, or may hold.

        Whether a row speaks for them now is not asked here.

        Args:
            readings: rows that name somebody now.
            acks: what is known of those children.
        """
        keys = {reading.row.id: self._acks.key(reading.name or "") for reading in readings}
        # a row that shows its own child's receipt needs no look-up
        strange = [r for r in readings if (ack := acks.get(keys[r.row.id])) is None or ack.receipt != r.row.response]
        found = [*self._by_previous(readings), *self._by_row(readings, keys), *self._by_receipt(strange)]
        return sorted({child for row_id, child in found if child != keys[row_id]})

    def _by_previous(self, readings: Sequence[Reading]) -> list[tuple[int, bytes]]:
        named = [(reading, former_name(reading, self._schema)) for reading in readings]
        former = [(reading, self._acks.key(name)) for reading, name in named if name is not None]
        acks = self._acks.of([child for _, child in former])
        return [(reading.row.id, child) for reading, child in former if _is_there(reading, acks.get(child))]

    def _by_row(self, readings: Sequence[Reading], keys: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
        persons = {reading.row.id: reading.row.person_id for reading in readings if reading.row.person_id}
        # after the loader emptied and filled the table, an id may belong to somebody else
        return [
            (row_id, child)
            for row_id, child, person in self._acks.held_from_rows(list(persons))
            if child != keys[row_id] and person == self._acks.person(persons[row_id])
        ]

    def _by_receipt(self, readings: Sequence[Reading]) -> list[tuple[int, bytes]]:
        shown = {r.row.id: r for r in readings if r.row.response and not says_nothing(r.row.response)}
        acks = self._acks.of_receipts({str(reading.row.response) for reading in shown.values()})
        found: list[tuple[int, bytes]] = []
        for row_id, reading in shown.items():
            ack = acks.get(str(reading.row.response))
            if ack is not None and _may_hold(ack):
                found.append((row_id, ack.child))
        return found


def former_name(reading: Reading, schema: ChildSchema) -> str | None:
    """Return the la_child_id of the previous payload when it is another child's."""
    previous = reading.row.previous
    if not previous or previous == reading.row.payload or seems_to_name(previous, reading.name or ""):
        return None
    former = name_in(previous, schema)
    return former if former != reading.name else None


def _may_hold(ack: Ack) -> bool:
    return ack.holds or ack.in_doubt is not None


def _is_there(reading: Reading, ack: Ack | None) -> bool:
    """Tell whether the API may hold a child that a previous payload names (it may only ever have been staged)."""
    if ack is None or ack.knows_nothing:
        return shows_it_was_sent(reading.row)
    return _may_hold(ack)
