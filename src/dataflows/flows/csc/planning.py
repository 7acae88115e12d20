"""From rows to requests: what becomes of each row, and how a child is sent.

Who speaks for a child is answered by ``speakers``, what is known of it by ``baseline``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.baseline import Baselines, Basis
from dataflows.flows.csc.decisions import (
    RESET_NEEDED,
    Contradicted,
    Decision,
    DeferredRow,
    Former,
    InvalidRow,
    ResetRule,
    Submission,
    Superseded,
    Unchanged,
)
from dataflows.flows.csc.delta import ChildPlan, Payload, Sending
from dataflows.flows.csc.reading import Reading, broken_rules, read_row, superseded_by
from dataflows.flows.csc.speakers import Speakers, SpeakingRows
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import StagedRow

_SEPARATED = (
    "the row named another child before and it is not known what the API holds of this one,"
    " so it would have to be purged first, and CSC_RESET=never forbids it"
)


class Planner:
    """Decides page by page. It reads the table and the acknowledgements and changes neither.

    Args:
        full: whole children are sent instead of deltas.
        reset: what may be purged so that a vanished field is conveyed (``CSC_RESET``).
    """

    def __init__(
        self, staging: StagingTable, acks: Acknowledgements, *, full: bool = False, reset: str = ResetRule.OBJECT
    ) -> None:
        self._staging = staging
        self._acks = acks
        self._full, self._reset = full, ResetRule(reset)
        self._schema = acks.schema
        self.speakers = Speakers.of_table(staging, acks)
        self.baselines = Baselines(acks)

    # --- the pages of a run -----------------------------------------------------------------------------------

    def decide(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Decide what becomes of the rows of one page; first of all comes what is owed because of them."""
        readings = [read_row(row, self._schema) for row in page]
        known = self.baselines.of(readings)
        done = {one.row.id for one in known if one.is_purged}
        replaced = self._still_superseded([reading for reading in readings if reading.row.id not in done])
        asked = [one.name for one in readings if one.name and one.row.id not in done and one.row.id not in replaced]
        standings = self.speakers.of(readings, asked)
        decisions: list[Decision] = []
        for one in known:
            row, name = one.row, one.reading.name
            if name is None:
                decisions.append(InvalidRow(row, "invalid", one.reading.problem))
            elif row.id in done:
                receipt = one.ack.receipt if one.ack else row.response
                decisions.append(Unchanged(row, one.child, receipt, purged=True))
            elif row.id in replaced:
                decisions.append(Superseded(row, replaced[row.id]))
            else:
                decisions.append(self._decide(one, standings[name]))
        return [*map(Former, self.baselines.former([one for one in known if one.child])), *decisions]

    def _still_superseded(self, readings: Sequence[Reading]) -> dict[int, int]:
        """Find rows whose own word that another one speaks in their place still holds: nobody has to be asked."""
        names = {reading.row.id: reading.name for reading in readings if reading.name}
        said = {r.row.id: by for r in readings if r.name and (by := superseded_by(r.row)) is not None and by > r.row.id}
        there = {row.id: read_row(row, self._schema).name for row in self._staging.rows(sorted(set(said.values())))}
        return {row_id: by for row_id, by in said.items() if there.get(by) == names[row_id]}

    def _decide(self, basis: Basis, standing: SpeakingRows) -> Decision:
        row, ack, speaker = basis.row, basis.ack, standing.reading or basis.reading
        overruled = standing.living is not None and ack is not None and ack.overruled == speaker.row.id
        if overruled and row.id != standing.living:
            return Superseded(row, standing.living or 0)
        if not overruled and speaker.row.id != row.id and (standing.living is None or not basis.reading.living):
            return Superseded(row, speaker.row.id)
        if standing.contradicted and not (overruled and standing.variant is None):
            return Contradicted(row, str(row.id), _contradiction(row.id, standing))
        if not basis.reading.goes:
            return self._plan(basis)
        return DeferredRow(row) if self.baselines.may_be_held(basis) else _purge(basis)

    def decide_deferred(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Plan the purges that were kept for the end; who speaks is asked again just before each leaves."""
        known = self.baselines.of([read_row(row, self._schema) for row in page])
        named = [one for one in known if one.child]
        return [_purge(one) if one.reading.goes else self._plan(one, deferred=True) for one in named]

    def purges_of(self, children: Sequence[bytes], *, by_hand: bool = False) -> list[Decision]:
        """Plan the purges of children that no row speaks for; by hand also where other letter case is against it."""
        acks = self._acks.of(children)
        named = [(child, name) for child in children if (name := self._acks.child(child)) is not None]
        purges = [Submission.purge(None, {"la_child_id": name}, child, acks.get(child)) for child, name in named]
        for purge in purges:
            purge.by_hand = by_hand
        return list(purges)

    def still_right(self, batch: Sequence[Submission]) -> list[bool]:
        """Ask again who speaks for children before they are purged (csc.md: immediately before a purge leaves).

        Of a reset, which brings the child back at once, only the row itself is looked at again.
        """
        asked = {one.name for one in batch if one.guarded and not (one.by_hand and one.row is not None)}
        standings = self.speakers.now(asked)
        resets = [one.row.id for one in batch if one.row is not None and one.purges_first and one.name not in asked]
        rows = {row.id: row for row in self._staging.rows(resets)}
        return [
            _same_answer(one, standings[one.name])
            if one.name in asked
            else one.row is None or not one.purges_first or _is_as_read(one.row, rows.get(one.row.id))
            for one in batch
        ]

    # --- one child --------------------------------------------------------------------------------------------

    def basis(self, row: StagedRow) -> Basis:
        """Return what is known of the child of a row, for people."""
        return self.baselines.complete(self.baselines.of([read_row(row, self._schema)])[0])

    def by_hand(self, reading: Reading, *, overruled: int | None = None) -> list[Decision]:
        """Plan that a child is sent whole after a purge, of a deleted one its purge; what is owed comes first."""
        (basis,) = self.baselines.of([reading])
        return [*map(Former, self.baselines.former([basis])), self._by_hand(basis, overruled)]

    def _by_hand(self, basis: Basis, overruled: int | None) -> Decision:
        reading = basis.reading
        if reading.goes:
            submission = _purge(basis)
        elif problem := broken_rules(reading.payload or {}, self._schema):
            return InvalidRow(reading.row, "invalid", problem)
        else:
            submission = self._purged_and_whole(basis)
        submission.by_hand, submission.overruled = True, overruled
        return submission

    def _plan(self, basis: Basis, *, deferred: bool = False) -> Decision:
        row, ack, payload, goal = basis.row, basis.ack, basis.reading.payload or {}, basis.reading.hash
        if ack is not None and basis.is_held(goal):
            return Unchanged(row, ack.child, ack.receipt, adopt=ack.unwritten is not None or not basis.shows(goal))
        if problem := broken_rules(payload, self._schema):
            return InvalidRow(row, "invalid", problem)
        if self.baselines.complete(basis).baseline is not None:
            basis.current = self._acks.skeleton(payload)
        elif self.baselines.is_mixed(basis):
            return self._separated(basis, deferred=deferred)
        unknown = self.baselines.was_sent_unknown(basis)
        anew = unknown and self._reset is ResetRule.CHILD
        plan = self._anew(payload) if anew else self._way(basis, goal)
        if plan.sending is Sending.UNCHANGED:
            return Unchanged(row, basis.child, ack.receipt if ack else None)
        if plan.sending is Sending.WITHHELD or plan.body is None:
            return InvalidRow(row, RESET_NEEDED, _withheld(basis, goal))
        submission = Submission.of(basis, plan, goal, full=self._full)
        holds = ack is not None and ack.holds
        submission.untrusted = plan.sending is Sending.FULL and basis.baseline is None and (unknown or holds)
        return submission

    def _separated(self, basis: Basis, *, deferred: bool) -> Decision:
        if self._reset is ResetRule.NEVER:
            return InvalidRow(basis.row, RESET_NEEDED, _SEPARATED)
        if not deferred:
            return DeferredRow(basis.row)
        submission = self._purged_and_whole(basis)
        submission.guarded = True
        return submission

    def _purged_and_whole(self, basis: Basis) -> Submission:
        plan = delta.purge_and_whole(basis.reading.payload or {}, self._schema.kind)
        return Submission.of(basis, plan, basis.reading.hash, full=self._full)

    def _way(self, basis: Basis, goal: bytes) -> ChildPlan:
        """Choose between the whole child, the delta and a reset (csc.md, the job, steps 2 to 4)."""
        ack, payload = basis.ack, basis.reading.payload or {}
        if ack is None:
            return delta.whole(payload)
        if ack.doubtful and not ack.is_repeated_by(goal):
            return self._anew(payload)
        if not ack.holds:
            return delta.whole(payload) if ack.reset is None else self._anew(payload)
        if basis.baseline is not None:
            plan = delta.changes(basis.baseline, payload, full=self._full, skeleton=basis.current)
            by_object = self._reset is ResetRule.OBJECT
            return plan if plan.sending is not Sending.RESET or by_object else self._anew(payload)
        # acknowledged, but never seen in the table, or in doubt beside a baseline that is lost: its content is unknown
        if ack.doubtful or ack.unwritten is not None or self._reset is ResetRule.CHILD:
            return self._anew(payload)
        return delta.whole(payload)

    def _anew(self, payload: Payload) -> ChildPlan:
        if self._reset is ResetRule.NEVER:
            return ChildPlan(Sending.WITHHELD)
        return delta.purge_and_whole(payload, self._schema.kind)


def _purge(basis: Basis) -> Submission:
    return Submission.purge(basis.row, basis.reading.payload or {}, basis.child, basis.ack)


def _same_answer(submission: Submission, standing: SpeakingRows) -> bool:
    row = submission.row
    if row is None:
        return standing.reading is None and (submission.by_hand or standing.variant is None)
    if standing.reading is None or standing.contradicted:
        return False
    return _is_as_read(row, standing.reading.row)


def _is_as_read(row: StagedRow, there: StagedRow | None) -> bool:
    if there is None:
        return False
    return (there.id, there.fingerprint, there.row_state) == (row.id, row.fingerprint, row.row_state)


def _contradiction(row_id: int, standing: SpeakingRows) -> str:
    if standing.variant is not None:
        why = f"this row is deleted, and row {standing.variant} names the child in different upper or lower case"
    elif standing.speaker == row_id:
        why = f"this row is deleted, and row {standing.living} of the same child is not"
    else:
        why = f"row {standing.speaker} of the same child is deleted, and this row is not"
    return f"{why}: nothing is sent for it until somebody decides"


def _withheld(basis: Basis, goal: bytes) -> str:
    ack = basis.ack
    if ack is not None and ack.in_doubt is not None and ack.in_doubt != goal:
        why = "an earlier request was never answered and the record changed since"
    elif ack is not None and ack.reset is not None:
        why = "a purge was begun, and what has to follow it was never acknowledged"
    elif basis.baseline is not None:
        why = "a field vanished"
    else:
        why = "it is not known what the API holds"
    return f"{why}, so something would have to be purged first, and CSC_RESET=never forbids it"
