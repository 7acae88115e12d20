"""From rows to requests: who speaks for a child, what the receiver is trusted to hold, and so what has to be sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import PURGED, Ack, Acknowledgements, Doubt, Reset, digest
from dataflows.flows.csc.delta import Payload, Plan, Sending
from dataflows.flows.csc.payload import canonical, parse, payload_hash, problems
from dataflows.flows.csc.seen import Seen
from dataflows.flows.csc.staging import StagedRow, Staging

_CHILD_ID = re.compile(r"[A-Za-z0-9]{1,20}")
_MIS_ID = re.compile(r"[A-Za-z0-9_-]{0,36}")
_SHOWN_PROBLEMS = 5


class ResetRule(StrEnum):
    """``CSC_RESET``: what may be purged so that a vanished field is conveyed."""

    OBJECT = "object"
    CHILD = "child"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rules:
    """How requests are built: ``full`` sends whole children instead of deltas."""

    full: bool = False
    reset: ResetRule = ResetRule.OBJECT


@dataclass(slots=True)
class Submission:
    """One child to be sent: its requests in order, and what is known once they are acknowledged."""

    row: StagedRow
    child: bytes
    goal: bytes  # hash of the payload the receiver shall hold, or PURGED
    sending: Sending
    requests: tuple[bytes, ...]
    former: Doubt  # what was in doubt before, to be restored when nothing changed
    reset: Reset | None = None
    replaced: tuple[Ack, ...] = ()  # identifiers this row was known by, each purged by a request of its own before
    untrusted: bool = False
    delta: bool = False  # the last request holds only what changed


@dataclass(frozen=True, slots=True)
class Invalid:
    """A row that cannot be sent; ``message`` names paths and rules, never a value."""

    row: StagedRow
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A row that another row of the same child, with a higher id, speaks for."""

    row: StagedRow
    by: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A row that says what the receiver holds already; ``response`` is what its api_response shall be.

    ``adopt``: the payload was acknowledged, but a crash or the loader keeps the table from saying so as its baseline;
    it is written like one just sent.
    """

    row: StagedRow
    child: bytes
    response: str | None
    adopt: bool = False
    purged: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """A row that needs a purge of a whole child: decided at the end of the run, when the number of them is known."""

    row: StagedRow


Decision: TypeAlias = Submission | Invalid | Superseded | Unchanged | Later


@dataclass(slots=True)
class _Reading:
    """A row with what its payload says; ``problem`` when it cannot be read."""

    row: StagedRow
    child: bytes | None = None
    payload: Payload | None = None
    problem: str = ""


class Planner:
    """Decides page by page. It reads the table and the acknowledgements and changes neither."""

    def __init__(self, staging: Staging, acks: Acknowledgements, seen: Seen, rules: Rules) -> None:
        self._staging = staging
        self._acks = acks
        self._seen = seen
        self._rules = rules
        self._resets_children = rules.reset is ResetRule.CHILD

    # --- first pass -------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Learn which persons have several rows, so that an old row is not taken for the newest."""
        for page in self._staging.newest_of_several():
            self._seen.enter_newest((self._acks.key(person), newest) for person, newest in page)

    def decide(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Decide what becomes of the rows of one page (newest first, as they are read)."""
        readings = [self._read(row) for row in page]
        acks = self._acks.of([reading.child for reading in readings if reading.child])
        speakers = self._speakers(readings, acks)
        renamed = self._renamed(readings)
        return [
            self._decide(reading, speakers, acks.get(reading.child or b""), reading.row.id in renamed)
            for reading in readings
        ]

    def _decide(self, reading: _Reading, speakers: dict[bytes, int], ack: Ack | None, renamed: bool) -> Decision:
        row = reading.row
        if reading.child is None:
            return Invalid(row, "invalid", reading.problem)
        if speakers[reading.child] != row.id:
            return Superseded(row, speakers[reading.child])
        if reading.payload is None:
            return Invalid(row, "invalid", reading.problem)
        if _goes(row, reading.payload):
            purged = ack is not None and ack.held == PURGED and not _doubtful(ack) and _evident(row, ack)
            if ack is not None and purged and not renamed:
                return Unchanged(row, reading.child, ack.receipt, purged=True)
            return Later(row)
        return Later(row) if renamed else self._plan(row, reading.child, reading.payload, ack)

    def _read(self, row: StagedRow) -> _Reading:
        try:
            payload = parse(row.payload or "")
        except ValueError as error:
            return self._read_deletion(row, None, f"json_payload {error}")
        identifier = payload.get("la_child_id")
        if _goes(row, payload):
            return self._read_deletion(row, payload, "la_child_id is missing or malformed")
        if not isinstance(identifier, str) or not _CHILD_ID.fullmatch(identifier):
            return _Reading(row, problem=_told(payload))
        return _Reading(row, self._acks.key(identifier), payload)

    def _read_deletion(self, row: StagedRow, payload: Payload | None, problem: str) -> _Reading:
        if not row.deleted:
            ids = _identifiers(payload) if payload else None
        else:
            ids = _identifiers(payload) or _identifiers(_parsed(row.previous))
        if ids is None:
            return _Reading(row, problem=problem)
        return _Reading(row, self._acks.key(str(ids["la_child_id"])), ids)

    def _speakers(self, readings: Sequence[_Reading], acks: dict[bytes, Ack]) -> dict[bytes, int]:
        """Find, for every child of a page, the row with the highest id in the whole table."""
        speakers = self._seen.first([(reading.child, reading.row.id) for reading in readings if reading.child])
        for rival in self._staging.rows(sorted(self._rivals(readings, acks))):
            child = self._read(rival).child
            if child is not None and speakers.get(child, rival.id) < rival.id:
                speakers[child] = rival.id
        return speakers

    def _rivals(self, readings: Sequence[_Reading], acks: dict[bytes, Ack]) -> set[int]:
        """Find rows with higher ids that may speak for the same children, though there is nothing to do about them."""
        people = {r.row.id: self._acks.key(r.row.person_id) for r in readings if r.child and r.row.person_id}
        newest = self._seen.newest_of(list(people.values()))
        rivals = {newest[key] for row_id, key in people.items() if newest.get(key, row_id) > row_id}
        for reading in readings:
            ack = acks.get(reading.child or b"")
            if ack is not None and (ack.row_id or 0) > reading.row.id:
                rivals.add(ack.row_id or 0)
        return rivals

    def _renamed(self, readings: Sequence[_Reading]) -> dict[int, list[Ack]]:
        """Find rows that were acknowledged, or sent without an answer, under another la_child_id."""
        rows = {reading.row.id: reading for reading in readings if reading.child}
        renamed: dict[int, list[Ack]] = {}
        for ack in self._acks.of_rows(list(rows)):
            there = _holds(ack) or ack.in_doubt is not None
            if ack.row_id is not None and there and self._other_child(rows[ack.row_id], ack):
                renamed.setdefault(ack.row_id, []).append(ack)
        return renamed

    def _other_child(self, reading: _Reading, ack: Ack) -> bool:
        return reading.child != ack.child and self._same_row(reading.row, ack)

    def _same_row(self, row: StagedRow, ack: Ack) -> bool:
        # after the loader emptied and refilled the table, an id may belong to somebody else
        known = ack.receipt is not None and row.response == ack.receipt
        return known or (bool(row.person_id) and ack.person == self._acks.person(row.person_id))

    # --- last pass --------------------------------------------------------------------------------------------

    def decide_deferred(self, page: Sequence[StagedRow]) -> list[Decision]:
        """Decide the rows that were kept for the end: deletions, and children that got another identifier."""
        readings = [self._read(row) for row in page]
        acks = self._acks.of([reading.child for reading in readings if reading.child])
        renamed = self._renamed(readings)
        claimed = self._seen.rows_of([ack.child for acks_of_row in renamed.values() for ack in acks_of_row])
        decisions: list[Decision] = []
        for reading in readings:
            if reading.child is None or reading.payload is None:
                decisions.append(Invalid(reading.row, "invalid", reading.problem))
                continue
            replaced = [ack for ack in renamed.get(reading.row.id, ()) if ack.child not in claimed]
            decisions.append(self._decide_deferred(reading, acks.get(reading.child), replaced))
        return decisions

    def _decide_deferred(self, reading: _Reading, ack: Ack | None, replaced: Sequence[Ack]) -> Decision:
        row, child, payload = reading.row, reading.child or b"", reading.payload or {}
        if _goes(row, payload):
            body = canonical(delta.deletion(payload))
            decision: Decision = Submission(
                row, child, PURGED, Sending.DELETE, (body,), _former(child, ack), _reset(ack)
            )
        else:
            decision = self._plan(row, child, payload, ack)
        former_ids = {old: name for old in replaced if (name := self._acks.child(old.child)) is not None}
        if isinstance(decision, Submission):
            decision.replaced = tuple(former_ids)
            purges = [canonical(delta.deletion({"la_child_id": name})) for name in former_ids.values()]
            decision.requests = (*purges, *decision.requests)
        return decision

    # --- one child --------------------------------------------------------------------------------------------

    def _plan(self, row: StagedRow, child: bytes, payload: Payload, ack: Ack | None) -> Decision:
        goal = payload_hash(payload)
        if ack is not None and ack.held == goal and not _doubtful(ack) and _evident(row, ack):
            shown = row.previous == row.payload or _baseline(row, ack) is not None
            return Unchanged(row, child, ack.receipt, adopt=ack.unwritten is not None or not shown)
        if problem := _told(payload):
            return Invalid(row, "invalid", problem)
        baseline = _baseline(row, ack)
        unknown = _sent_unknown(row, ack)
        plan = self._anew(payload) if unknown and self._resets_children else self._ways(payload, goal, ack, baseline)
        if plan.sending is Sending.UNCHANGED:
            return Unchanged(row, child, ack.receipt if ack else None)
        if plan.sending is Sending.WITHHELD or plan.body is None:
            return Invalid(
                row, "reset_needed", "not sent: conveying this change needs a purge, and CSC_RESET=never forbids it"
            )
        requests = tuple(canonical(part) for part in (plan.first, plan.body) if part is not None)
        holds = ack is not None and _holds(ack)
        untrusted = plan.sending is Sending.FULL and baseline is None and (unknown or holds)
        scope = _scope(plan, ack)
        partly = plan.sending is Sending.DELTA or (scope is Reset.OBJECT and not self._rules.full)
        return Submission(
            row, child, goal, plan.sending, requests, _former(child, ack), scope, untrusted=untrusted, delta=partly
        )

    def _ways(self, payload: Payload, goal: bytes, ack: Ack | None, baseline: Payload | None) -> Plan:
        """Choose between the whole child, the delta and a reset (csc.md, the job, steps 2 to 4)."""
        if ack is None:
            return delta.whole(payload)
        if _doubtful(ack) and not (ack.in_doubt == goal and ack.reset != Reset.CHILD):
            return self._anew(payload)
        if ack.held in (None, PURGED):
            return delta.whole(payload) if ack.reset is None else self._anew(payload)
        if baseline is not None:
            plan = delta.between(baseline, payload, full=self._rules.full)
            by_object = self._rules.reset is ResetRule.OBJECT
            return plan if plan.sending is not Sending.RESET or by_object else self._anew(payload)
        # acknowledged, but never seen in the table, or in doubt beside a baseline that is lost: its content is unknown
        if _doubtful(ack) or ack.unwritten is not None or self._resets_children:
            return self._anew(payload)
        return delta.whole(payload)

    def _anew(self, payload: Payload) -> Plan:
        if self._rules.reset is ResetRule.NEVER:
            return Plan(Sending.WITHHELD)
        return delta.purge_and_whole(payload)


def is_about(row: StagedRow, la_child_id: str) -> bool:
    """Tell whether a row speaks of this child now, or did when it was last sent."""
    payloads = (_parsed(row.payload), _parsed(row.previous))
    return any(payload is not None and payload.get("la_child_id") == la_child_id for payload in payloads)


def _goes(row: StagedRow, payload: Payload) -> bool:
    """Tell whether a row asks for the removal of its child: by its state, or by a purge of the whole child."""
    return row.deleted or payload.get("purge") is True


def _doubtful(ack: Ack) -> bool:
    return ack.in_doubt is not None or ack.reset is not None


def _holds(ack: Ack) -> bool:
    return ack.held not in (None, PURGED)


def _evident(row: StagedRow, ack: Ack) -> bool:
    """Tell whether the row still shows our receipt, or what it showed before when the receipt never got there."""
    if ack.receipt is not None and row.response == ack.receipt:
        return True
    return ack.unwritten is not None and ack.row_id == row.id and digest(row.response) == ack.unwritten


def _sent_unknown(row: StagedRow, ack: Ack | None) -> bool:
    """Tell whether the row was sent before, but not as this journal knows (it was lost, or another host did)."""
    if ack is None or ack.held is None:
        return bool(row.previous)
    return ack.held == PURGED and bool(row.previous) and not _evident(row, ack)


def _baseline(row: StagedRow, ack: Ack | None) -> Payload | None:
    """Return what the receiver is trusted to hold: the previous payload, if it is the one that was acknowledged."""
    if ack is None or not _holds(ack) or not row.previous or not _evident(row, ack):
        return None
    previous = _parsed(row.previous)
    return previous if previous is not None and payload_hash(previous) == ack.held else None


def _parsed(text: str | None) -> Payload | None:
    try:
        return parse(text) if text else None
    except ValueError:
        return None


def _identifiers(payload: Payload | None) -> Payload | None:
    """Return the identifiers of a payload, or None when la_child_id is not usable."""
    child, mis = (payload or {}).get("la_child_id"), (payload or {}).get("mis_child_id")
    if not isinstance(child, str) or not _CHILD_ID.fullmatch(child):
        return None
    known = {"la_child_id": child, "purge": True}
    return {**known, "mis_child_id": mis} if isinstance(mis, str) and _MIS_ID.fullmatch(mis) else known


def _told(payload: Payload) -> str:
    found = [str(problem) for problem in problems(payload)]
    more = f" (and {len(found) - _SHOWN_PROBLEMS} more)" if len(found) > _SHOWN_PROBLEMS else ""
    return "; ".join(found[:_SHOWN_PROBLEMS]) + more


def _former(child: bytes, ack: Ack | None) -> Doubt:
    return Doubt(child, ack.in_doubt, ack.reset) if ack else Doubt(child, None, None)


def _reset(ack: Ack | None) -> Reset | None:
    return Reset(ack.reset) if ack and ack.reset else None


def _scope(plan: Plan, ack: Ack | None) -> Reset | None:
    """Return which reset is pending while the requests of a plan are under way."""
    if plan.first is None:
        return _reset(ack)
    return Reset.CHILD if plan.first.get("purge") is True else Reset.OBJECT
