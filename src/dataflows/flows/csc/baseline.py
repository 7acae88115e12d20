"""What is known of the child of a row: its acknowledgement, whether that is trusted, what the receiver holds of it, and
which child the row named before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.reading import (
    Reading,
    child_of,
    name_in,
    says_nothing,
    seems_to_name,
    shows_it_was_sent,
    shows_its_purge,
)
from dataflows.flows.csc.records import PURGED, Ack, digest
from dataflows.flows.csc.schema import ChildSchema, ObjectKind, canonical, payload_hash
from dataflows.flows.csc.skeleton import ObjectSkeleton, Skeleton, loses_a_field
from dataflows.flows.csc.table import StagedRow


@dataclass(slots=True)
class Basis:
    """What is known of the child of one row.

    Attributes:
        child: its name in the journal; empty where the row names nobody.
        trusted: nobody but this journal sent it: the row shows a receipt of ours, our words, or nothing.
        baseline: the skeleton of what the receiver holds, once it was looked for.
        current: the skeleton of what the row says, once it was made.
    """

    reading: Reading
    child: bytes
    ack: Ack | None
    trusted: bool
    baseline: Skeleton | None = None
    current: Skeleton | None = None

    @property
    def row(self) -> StagedRow:
        """The row as it was read."""
        return self.reading.row

    @property
    def is_purged(self) -> bool:
        """Whether the removal that the row asks for is done (csc.md, "The guard")."""
        if not self.reading.goes:
            return False
        if self.ack is None or self.ack.knows_nothing:
            return shows_its_purge(self.row)
        return self.ack.purged and self.trusted

    def is_held(self, goal: bytes) -> bool:
        """Tell whether the receiver surely holds the payload of this hash."""
        return self.trusted and self.ack is not None and self.ack.held == goal and not self.ack.doubtful

    def shows(self, goal: bytes) -> bool:
        """Tell whether the row shows the payload of this hash as its previous one."""
        if self.row.previous == self.row.payload:
            return True
        previous = child_of(self.row.previous)
        return previous is not None and payload_hash(previous) == goal


class Baselines:
    """Looks up what is known of children; changes nothing."""

    def __init__(self, acks: Acknowledgements) -> None:
        self._acks = acks
        self._schema = acks.schema
        self._is_new = acks.table.is_new()

    def of(self, readings: Sequence[Reading]) -> list[Basis]:
        """Return what is known of the children of rows, in their order."""
        children = [self._acks.key(reading.name) if reading.name else b"" for reading in readings]
        acks = self._acks.of([child for child in children if child])
        pairs = [(reading, child, acks.get(child)) for reading, child in zip(readings, children, strict=True)]
        strange = {str(reading.row.response) for reading, _, ack in pairs if _is_strange(reading.row, ack)}
        ours = self._acks.written_by_us(strange)
        return [Basis(reading, child, ack, _is_ours(reading.row, ack, ours)) for reading, child, ack in pairs]

    def complete(self, basis: Basis) -> Basis:
        """Look for the skeleton of what the receiver holds, where that is trusted; made anew if there is none."""
        ack = basis.ack
        if ack is not None and ack.holds and basis.trusted:
            basis.baseline = self._acks.open_skeleton(ack)
            previous = child_of(basis.row.previous) if basis.baseline is None else None
            if previous is not None and payload_hash(previous) == ack.held:
                basis.baseline = self._acks.skeleton(previous)
        return basis

    def may_be_held(self, basis: Basis) -> bool:
        """Tell whether the API may hold the child, so that its purge counts for the guard."""
        return self._is_new or shows_it_was_sent(basis.row) or (basis.ack is not None and not basis.ack.knows_nothing)

    def was_sent_unknown(self, basis: Basis) -> bool:
        """Tell whether this child was sent before, but not as this journal knows (it was lost, or another host did)."""
        row, ack = basis.row, basis.ack
        if ack is not None and (ack.holds or ack.in_doubt is not None):
            return False
        if ack is not None and ack.held == PURGED and basis.trusted:
            return False
        # our own words may stand where a receipt stood when the journal was lost
        suspect = not basis.trusted or (self._is_new and bool(row.response and row.previous))
        return suspect and former_name(basis.reading, self._schema) is None

    def is_mixed(self, basis: Basis) -> bool:
        """Tell whether the API may hold another child's data under this name: only a purge by itself leads on.

        The row's previous payload names another child, and nothing sure is known of this one (csc.md: swaps).
        """
        if former_name(basis.reading, self._schema) is None:
            return False
        if basis.ack is not None and not basis.ack.knows_nothing:
            return basis.ack.holds
        # under our own receipt the journal would know this child, had it ever been sent, unless others sent before
        return shows_it_was_sent(basis.row) and (not basis.trusted or self._acks.table.took_over())

    # --- which child a row named before -----------------------------------------------------------------------

    def former(self, known: Sequence[Basis]) -> list[bytes]:
        """Return the children that rows, which name somebody now, named before and that the API holds, or may hold.

        Whether a row speaks for them now is not asked here.
        """
        # a row that shows its own child's receipt needs no look-up
        strange = [one for one in known if one.ack is None or one.ack.receipt != one.row.response]
        return sorted({*self._by_previous(known), *self._by_row(known), *self._by_receipt(strange)})

    def _by_previous(self, known: Sequence[Basis]) -> Iterator[bytes]:
        named = [(one, former_name(one.reading, self._schema)) for one in known]
        former = [(one, self._acks.key(name)) for one, name in named if name is not None]
        acks = self._acks.of([child for _, child in former])
        return (child for one, child in former if child != one.child and _is_there(one.row, acks.get(child)))

    def _by_row(self, known: Sequence[Basis]) -> Iterator[bytes]:
        rows = {one.row.id: one for one in known if one.row.person_id}
        # after the loader emptied and filled the table, an id may belong to somebody else
        return (
            child
            for row_id, child, person in self._acks.held_from_rows(list(rows))
            if child != rows[row_id].child and person == self._acks.person(rows[row_id].row.person_id)
        )

    def _by_receipt(self, known: Sequence[Basis]) -> Iterator[bytes]:
        shown = [one for one in known if not says_nothing(one.row.response)]
        acks = self._acks.of_receipts({str(one.row.response) for one in shown})
        found = [(one, acks.get(str(one.row.response))) for one in shown]
        return (ack.child for one, ack in found if ack is not None and _may_hold(ack) and ack.child != one.child)


def former_name(reading: Reading, schema: ChildSchema) -> str | None:
    """Return the la_child_id of the previous payload when it is another child's."""
    previous = reading.row.previous
    if not previous or previous == reading.row.payload or seems_to_name(previous, reading.name or ""):
        return None
    former = name_in(previous, schema)
    return former if former != reading.name else None


def sent_as_delta(acks: Acknowledgements, row: StagedRow) -> str | None:
    """Work out once more, for people, what was sent: the row still shows what it was before."""
    before, after = child_of(row.previous), child_of(row.payload)
    if before is None or after is None:
        return None
    body = delta.changes(acks.skeleton(before), after).body
    return canonical(body).decode() if body is not None else None


def _is_strange(row: StagedRow, ack: Ack | None) -> bool:
    return not says_nothing(row.response) and (ack is None or ack.receipt != row.response)


def _is_ours(row: StagedRow, ack: Ack | None, ours: Collection[str]) -> bool:
    if not _is_strange(row, ack) or row.response in ours:
        return True
    return ack is not None and ack.unwritten is not None and digest(row.response) == ack.unwritten


def _may_hold(ack: Ack) -> bool:
    return ack.holds or ack.in_doubt is not None


def _is_there(row: StagedRow, ack: Ack | None) -> bool:
    """Tell whether the API may hold a child that a previous payload names (it may only ever have been staged)."""
    if ack is None or ack.knows_nothing:
        return shows_it_was_sent(row)
    return _may_hold(ack)


# --- in words -------------------------------------------------------------------------------------------------


def reasons(basis: Basis) -> Iterator[str]:
    """Yield lines that say what is known, and what differs from that; ids of objects are in them, no other value."""
    yield from _known(basis)
    baseline = basis.baseline
    if baseline is None or basis.reading.goes or basis.reading.payload is None:
        return
    now = baseline.now(delta.settled(basis.reading.payload, baseline.kind))
    yield from _differences(baseline.kind, baseline.child, now.child, "") or ["nothing changed"]


def _known(basis: Basis) -> Iterator[str]:
    ack = basis.ack
    if ack is None or ack.knows_nothing:
        yield "the journal knows nothing of this child"
        if shows_it_was_sent(basis.row) and not basis.trusted:
            yield "the row shows that it was sent before, by another machine or tool, or before the journal was lost"
        return
    if ack.in_doubt is not None:
        yield "an earlier request for this child was never answered, so it is not sure that it arrived"
    if ack.reset is not None:
        yield "a purge was begun for this child, and what has to follow it was not acknowledged yet"
    if ack.purged:
        yield "the API acknowledged that this child was purged"
    elif not basis.trusted:
        yield "the row shows a receipt that this journal did not write: another machine sent it, nothing is known of it"
    elif ack.holds and basis.baseline is None:
        yield "what the API holds is not known in detail: an earlier version sent it, and the table does not show it"


def _differences(kind: ObjectKind, before: ObjectSkeleton, now: ObjectSkeleton, path: str) -> list[str]:
    found: list[str] = []
    where = path or "the child itself"
    if loses_a_field(before, now, kind):
        found.append(f"{where}: a field vanished, which only a purge of it can convey")
    elif before.digest != now.digest:
        found.append(f"{where}: changed")
    for name, below in kind.single.items():
        found += _pair(below, before.single.get(name), now.single.get(name), f"{path}.{name}".lstrip("."))
    for name, below in kind.listed.items():
        old, new = before.listed.get(name, {}), now.listed.get(name, {})
        for one in (*new, *(gone for gone in old if gone not in new)):
            found += _pair(below, old.get(one), new.get(one), f"{path}.{name}[{one}]".lstrip("."))
    return found


def _pair(kind: ObjectKind, before: ObjectSkeleton | None, now: ObjectSkeleton | None, path: str) -> list[str]:
    if before is None:
        return [f"{path}: is new"] if now is not None else []
    return _differences(kind, before, now, path) if now is not None else [f"{path}: vanished"]
