"""From rows to requests: what the receiver is trusted to hold, and so what has to be sent.

Who speaks for a child is answered by ``speakers``, which identifiers a row had before by ``renames``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import (
    RESET_NEEDED,
    Contradicted,
    Decision,
    DeferredRow,
    Former,
    InvalidRow,
    ResetRule,
    Rules,
    Submission,
    Superseded,
    Unchanged,
)
from dataflows.flows.csc.delta import ChildPlan, Payload, Sending
from dataflows.flows.csc.names import NamedRows
from dataflows.flows.csc.reading import (
    Reading,
    broken_rules,
    child_of,
    read_row,
    says_nothing,
    shows_it_was_sent,
    shows_its_purge,
    superseded_by,
)
from dataflows.flows.csc.records import PURGED, Ack, Doubt, Reset, digest
from dataflows.flows.csc.schema import canonical, payload_hash
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.flows.csc.speakers import Renames, Speakers, SpeakingRows, former_name
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import StagedRow


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known of the child of one row: acknowledgement, whether nobody else sent it, skeleton of what is held."""

    reading: Reading
    ack: Ack | None
    trusted: bool
    baseline: Skeleton | None


class Planner:
    """Decides page by page. It reads the table and the acknowledgements and changes neither."""

    def __init__(self, staging: StagingTable, acks: Acknowledgements, names: NamedRows, rules: Rules) -> None:
        self._staging = staging
        self._acks = acks
        self.speakers = Speakers(names)
        self._renames = Renames(acks)
        self._rules = rules
        self._schema = acks.schema
        self._is_new = acks.table.is_new()
        self._resets_children = rules.reset is ResetRule.CHILD

    # --- the pages of a run -----------------------------------------------------------------------------------

    def decide(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Decide what becomes of the rows of one page; first of all comes what is owed because of them."""
        readings = [read_row(row, self._schema) for row in page]
        acks, ours = self._known(readings)
        done = {reading.row.id for reading in readings if self._is_purged(reading, acks, ours)}
        replaced = self._still_superseded([reading for reading in readings if reading.row.id not in done])
        asked = [one.name for one in readings if one.name and one.row.id not in done and one.row.id not in replaced]
        standings = self.speakers.of(readings, asked)
        named = [reading for reading in readings if reading.name]
        decisions: list[Decision] = [Former(child) for child in self._renames.of(named, acks)]
        for reading in readings:
            row, ack = reading.row, acks.get(self._key(reading))
            if reading.name is None:
                decisions.append(InvalidRow(row, "invalid", reading.problem))
            elif row.id in done:
                decisions.append(Unchanged(row, self._key(reading), ack.receipt if ack else row.response, purged=True))
            elif row.id in replaced:
                decisions.append(Superseded(row, replaced[row.id]))
            else:
                decisions.append(self._decide(reading, standings[reading.name], ack, ours))
        return decisions

    def _decide(self, reading: Reading, standing: SpeakingRows, ack: Ack | None, ours: Collection[str]) -> Decision:
        row, speaker = reading.row, standing.reading or reading
        overruled = standing.living is not None and ack is not None and ack.overruled == speaker.row.id
        if overruled and row.id != standing.living:
            return Superseded(row, standing.living or 0)
        if not overruled and speaker.row.id != row.id and (standing.living is None or not reading.living):
            return Superseded(row, speaker.row.id)
        if standing.contradicted and not (overruled and standing.variant is None):
            return Contradicted(row, str(row.id), _contradiction(reading, standing))
        if not reading.goes:
            return self._plan(reading, ack, ours)
        return DeferredRow(row) if self._may_be_held(row, ack) else self._purge(reading, ack)

    def _may_be_held(self, row: StagedRow, ack: Ack | None) -> bool:
        """Tell whether the API may hold the child, so that its purge counts for the guard."""
        return self._is_new or shows_it_was_sent(row) or (ack is not None and not ack.knows_nothing)

    def decide_deferred(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Plan the purges that were kept for the end; who speaks is asked again just before each leaves."""
        readings = [read_row(row, self._schema) for row in page]
        acks, ours = self._known(readings)
        return [
            self._purge(reading, acks.get(self._key(reading)))
            if reading.goes
            else self._plan(reading, acks.get(self._key(reading)), ours, deferred=True)
            for reading in readings
            if reading.name
        ]

    def purges_of(self, children: Sequence[bytes], *, by_hand: bool = False) -> list[Decision]:
        """Plan the purges of children that no row speaks for; by hand also where other letter case is against it."""
        acks = self._acks.of(children)
        named = [(child, name) for child in children if (name := self._acks.child(child)) is not None]
        purges = [self._purge_of(name, child, None, {"la_child_id": name}, acks.get(child)) for child, name in named]
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

    def _known(self, readings: Sequence[Reading]) -> tuple[dict[bytes, Ack], set[str]]:
        """Return what is known of the children of rows, and which of the receipts there this journal wrote."""
        acks = self._acks.of([self._key(reading) for reading in readings if reading.name])
        strange = {
            str(reading.row.response)
            for reading in readings
            if not says_nothing(reading.row.response)
            and ((ack := acks.get(self._key(reading))) is None or ack.receipt != reading.row.response)
        }
        return acks, self._acks.written_by_us(strange)

    def _key(self, reading: Reading) -> bytes:
        return self._acks.key(reading.name) if reading.name else b""

    def _still_superseded(self, readings: Sequence[Reading]) -> dict[int, int]:
        """Find rows whose own word that another one speaks in their place still holds: nobody has to be asked."""
        claimed = {
            r.row.id: by for r in readings if r.name and (by := superseded_by(r.row)) is not None and by > r.row.id
        }
        names = {reading.row.id: reading.name for reading in readings}
        by_id = {row.id: read_row(row, self._schema) for row in self._staging.rows(sorted(set(claimed.values())))}
        return {row_id: by for row_id, by in claimed.items() if by in by_id and by_id[by].name == names[row_id]}

    # --- one child --------------------------------------------------------------------------------------------

    def _is_purged(self, reading: Reading, acks: Mapping[bytes, Ack], ours: Collection[str]) -> bool:
        """Tell whether the removal that a row asks for is done (csc.md, "The guard")."""
        if not reading.goes:
            return False
        ack = acks.get(self._key(reading))
        if ack is None or ack.knows_nothing:
            return shows_its_purge(reading.row)
        return ack.purged and _is_ours(reading.row, ack, ours)

    def _purge(self, reading: Reading, ack: Ack | None) -> Submission:
        return self._purge_of(reading.name or "", self._key(reading), reading.row, reading.payload or {}, ack)

    def _purge_of(self, name: str, child: bytes, row: StagedRow | None, ids: Payload, ack: Ack | None) -> Submission:
        body = canonical(delta.deletion(ids))
        return Submission(
            row, name, child, PURGED, Sending.DELETE, (body,), _former(child, ack), reset=_reset(ack), guarded=True
        )

    def basis(self, row: StagedRow) -> Basis:
        """Return what is known of the child of a row, for people."""
        reading = read_row(row, self._schema)
        acks, ours = self._known([reading])
        ack = acks.get(self._key(reading))
        trusted = _is_ours(row, ack, ours)
        return Basis(reading, ack, trusted, self._baseline(row, ack) if trusted else None)

    def by_hand(self, reading: Reading, *, overruled: int | None = None) -> list[Decision]:
        """Plan that a child is sent whole after a purge, of a deleted one its purge; what is owed comes first."""
        acks, _ = self._known([reading])
        return [*map(Former, self._renames.of([reading], acks)), self._by_hand(reading, acks, overruled)]

    def _by_hand(self, reading: Reading, acks: Mapping[bytes, Ack], overruled: int | None) -> Decision:
        ack = acks.get(self._key(reading))
        if reading.goes:
            submission = self._purge(reading, ack)
        elif problem := broken_rules(reading.payload or {}, self._schema):
            return InvalidRow(reading.row, "invalid", problem)
        else:
            submission = self._submission(reading, ack, delta.purge_and_whole(reading.payload or {}, self._schema.kind))
        submission.by_hand, submission.overruled = True, overruled
        return submission

    def _plan(self, reading: Reading, ack: Ack | None, ours: Collection[str], *, deferred: bool = False) -> Decision:
        row, payload = reading.row, reading.payload or {}
        goal = reading.hash
        trusted = _is_ours(row, ack, ours)
        if ack is not None and ack.held == goal and not ack.doubtful and trusted:
            return Unchanged(row, ack.child, ack.receipt, adopt=ack.unwritten is not None or not _shows(row, goal))
        if problem := broken_rules(payload, self._schema):
            return InvalidRow(row, "invalid", problem)
        baseline = self._baseline(row, ack) if trusted else None
        unknown = self._was_sent_unknown(reading, ack, trusted=trusted)
        if baseline is None and self._is_mixed(reading, ack, trusted=trusted):
            return self._separated(reading, ack, deferred=deferred)
        skeleton = self._acks.skeleton(payload) if baseline is not None else None
        anew = unknown and self._resets_children
        plan = self._anew(payload) if anew else self._ways(payload, goal, ack, baseline, skeleton)
        if plan.sending is Sending.UNCHANGED:
            return Unchanged(row, self._key(reading), ack.receipt if ack else None)
        if plan.sending is Sending.WITHHELD or plan.body is None:
            return InvalidRow(row, RESET_NEEDED, _withheld(ack, goal, baseline))
        submission = self._submission(reading, ack, plan, goal)
        submission.skeleton = skeleton
        holds = ack is not None and ack.holds
        submission.untrusted = plan.sending is Sending.FULL and baseline is None and (unknown or holds)
        return submission

    def _submission(self, reading: Reading, ack: Ack | None, plan: ChildPlan, goal: bytes | None = None) -> Submission:
        child, payload, scope = self._key(reading), reading.payload or {}, _scope(plan, ack)
        return Submission(
            reading.row,
            reading.name or "",
            child,
            goal or reading.hash,
            plan.sending,
            tuple(_text(part, reading) for part in (plan.first, plan.body) if part is not None),
            _former(child, ack),
            payload=payload,
            reset=scope,
            delta=plan.sending is Sending.DELTA or (scope is Reset.OBJECT and not self._rules.full),
        )

    def _baseline(self, row: StagedRow, ack: Ack | None) -> Skeleton | None:
        """Return the skeleton of what the receiver holds; made anew where the journal has none that can be read."""
        if ack is None or not ack.holds:
            return None
        skeleton = self._acks.open_skeleton(ack)
        if skeleton is not None:
            return skeleton
        previous = child_of(row.previous)
        known = previous is not None and payload_hash(previous) == ack.held
        return self._acks.skeleton(previous) if previous is not None and known else None

    def _was_sent_unknown(self, reading: Reading, ack: Ack | None, *, trusted: bool) -> bool:
        """Tell whether this child was sent before, but not as this journal knows (it was lost, or another host did)."""
        row = reading.row
        if ack is not None and (ack.holds or ack.in_doubt is not None):
            return False
        if ack is not None and ack.held == PURGED and trusted:
            return False
        if not trusted:
            return former_name(reading, self._schema) is None
        # our own words may stand where a receipt stood when the journal was lost
        return self._is_new and bool(row.response and row.previous) and former_name(reading, self._schema) is None

    def _is_mixed(self, reading: Reading, ack: Ack | None, *, trusted: bool) -> bool:
        """Tell whether the API may hold another child's data under this name: only a purge by itself leads on.

        The row's previous payload names another child, and nothing sure is known of this one (csc.md: swaps).
        """
        former = former_name(reading, self._schema)
        if former is None:
            return False
        if ack is not None and not ack.knows_nothing:
            return ack.holds
        # under our own receipt the journal would know this child, had it ever been sent, unless others sent before
        return shows_it_was_sent(reading.row) and (not trusted or self._acks.table.took_over())

    def _separated(self, reading: Reading, ack: Ack | None, *, deferred: bool) -> Decision:
        if self._rules.reset is ResetRule.NEVER:
            return InvalidRow(
                reading.row,
                RESET_NEEDED,
                "the row named another child before and it is not known what the API holds of this one,"
                " so it would have to be purged first, and CSC_RESET=never forbids it",
            )
        if not deferred:
            return DeferredRow(reading.row)
        submission = self._submission(reading, ack, delta.purge_and_whole(reading.payload or {}, self._schema.kind))
        submission.guarded = True
        return submission

    def _ways(
        self,
        payload: Payload,
        goal: bytes,
        ack: Ack | None,
        baseline: Skeleton | None,
        skeleton: Skeleton | None,
    ) -> ChildPlan:
        """Choose between the whole child, the delta and a reset (csc.md, the job, steps 2 to 4)."""
        if ack is None:
            return delta.whole(payload)
        if ack.doubtful and not (ack.in_doubt == goal and ack.reset != Reset.CHILD):
            return self._anew(payload)
        if ack.held in (None, PURGED):
            return delta.whole(payload) if ack.reset is None else self._anew(payload)
        if baseline is not None:
            plan = delta.changes(baseline, payload, full=self._rules.full, skeleton=skeleton)
            by_object = self._rules.reset is ResetRule.OBJECT
            return plan if plan.sending is not Sending.RESET or by_object else self._anew(payload)
        # acknowledged, but never seen in the table, or in doubt beside a baseline that is lost: its content is unknown
        if ack.doubtful or ack.unwritten is not None or self._resets_children:
            return self._anew(payload)
        return delta.whole(payload)

    def _anew(self, payload: Payload) -> ChildPlan:
        if self._rules.reset is ResetRule.NEVER:
            return ChildPlan(Sending.WITHHELD)
        return delta.purge_and_whole(payload, self._schema.kind)


def _is_ours(row: StagedRow, ack: Ack | None, ours: Collection[str]) -> bool:
    """Tell whether nobody but this journal sent the child: the row shows a receipt of ours, our words, or nothing."""
    if says_nothing(row.response) or row.response in ours:
        return True
    if ack is None:
        return False
    return row.response == ack.receipt or (ack.unwritten is not None and digest(row.response) == ack.unwritten)


def _shows(row: StagedRow, goal: bytes) -> bool:
    """Tell whether a row shows what the receiver holds as its previous payload."""
    if row.previous == row.payload:
        return True
    previous = child_of(row.previous)
    return previous is not None and payload_hash(previous) == goal


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


def _contradiction(reading: Reading, standing: SpeakingRows) -> str:
    if standing.variant is not None:
        why = f"this row is deleted, and row {standing.variant} names the child in other upper or lower case"
    elif standing.speaker == reading.row.id:
        why = f"this row is deleted, and row {standing.living} of the same child is not"
    else:
        why = f"row {standing.speaker} of the same child is deleted, and this row is not"
    return f"{why}: nothing is sent for it until somebody decides"


def _withheld(ack: Ack | None, goal: bytes, baseline: Skeleton | None) -> str:
    if ack is not None and ack.in_doubt is not None and ack.in_doubt != goal:
        why = "an earlier request was never answered and the record changed since"
    elif ack is not None and ack.reset is not None:
        why = "a purge was begun, and what has to follow it was never acknowledged"
    elif baseline is not None:
        why = "a field vanished"
    else:
        why = "it is not known what the API holds"
    return f"{why}, so something would have to be purged first, and CSC_RESET=never forbids it"


def _text(part: Payload, reading: Reading) -> bytes:
    """Return the text of a request: a child that is sent as it stands in its row was written when it was read."""
    return reading.text if part is reading.payload else canonical(part)


def _former(child: bytes, ack: Ack | None) -> Doubt:
    return Doubt(child, ack.in_doubt, ack.reset) if ack else Doubt(child, None, None)


def _reset(ack: Ack | None) -> Reset | None:
    return Reset(ack.reset) if ack and ack.reset else None


def _scope(plan: ChildPlan, ack: Ack | None) -> Reset | None:
    """Return which reset is pending while the requests of a plan are under way."""
    if plan.first is None:
        return _reset(ack)
    return Reset.CHILD if plan.first.get("purge") is True else Reset.OBJECT
