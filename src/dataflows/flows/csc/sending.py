"""Carrying batches: marked in doubt before they leave, settled in the journal right after the answer.

``Courier`` runs in the pool's threads; what it returns has been recorded in the journal and not yet in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dataflows.errors import DataflowsError
from dataflows.flows.csc.acknowledgements import PURGED, Acknowledgements, Doubt, Receipt, WriteBack, digest
from dataflows.flows.csc.answers import Answer, Verdict
from dataflows.flows.csc.delta import Sending
from dataflows.flows.csc.planning import Submission
from dataflows.flows.csc.receiver import Receiver
from dataflows.runs.journal import Item, now
from dataflows.runs.runner import Run
from dataflows.store.files import private_folder, write_whole

_STATES = {
    Verdict.ACCEPTED: "done",
    Verdict.REFUSED: "failed",
    Verdict.UNANSWERED: "unknown",
    Verdict.NOT_SENT: "pending",
}


@dataclass(slots=True)
class Carried:
    """A batch with its answers. ``stop`` forbids to go on; ``answered`` is False when the service said nothing."""

    submissions: Sequence[Submission]
    answers: list[Answer]
    stop: DataflowsError | None = None

    @property
    def answered(self) -> bool:
        return any(answer.code != "no_answer" for answer in self.answers)


class Carrier(Protocol):
    """Brings batches to their goal."""

    def carry(self, batch: Sequence[Submission]) -> Carried:
        """Send a batch and record the answers."""


@dataclass
class Courier:
    """Sends batches to the receiver. ``table`` is False in rehearsals: no row waits for an update then."""

    receiver: Receiver
    acks: Acknowledgements
    run: Run
    table: bool = True

    def carry(self, batch: Sequence[Submission]) -> Carried:
        """Send a batch, request by request where a child needs several, and record what was answered."""
        began = now()
        self.acks.mark(doubt for submission in batch for doubt in self._doubts(submission))
        carried = Carried(batch, [Answer(Verdict.ACCEPTED)] * len(batch))
        reached = [0] * len(batch)
        for turn in range(max(len(submission.requests) for submission in batch)):
            self._send_turn(turn, carried, reached)
        self._settle(carried, reached, began)
        return carried

    def _send_turn(self, turn: int, carried: Carried, reached: list[int]) -> None:
        going = [
            index
            for index, submission in enumerate(carried.submissions)
            if len(submission.requests) > turn and reached[index] == turn
        ]
        if carried.stop is not None or not going:
            return
        delivery = self.receiver.deliver([carried.submissions[index].requests[turn] for index in going])
        carried.stop = delivery.stop
        for index, answer in zip(going, delivery.answers, strict=True):
            carried.answers[index] = answer
            reached[index] += answer.verdict is Verdict.ACCEPTED

    def _settle(self, carried: Carried, reached: list[int], began: str) -> None:
        receipts: list[Receipt] = []
        restored: list[Doubt] = []
        for submission, answer, turns in zip(carried.submissions, carried.answers, reached, strict=True):
            if turns == len(submission.requests):
                receipts.append(self._receipt(submission, answer))
            elif answer.verdict is not Verdict.UNANSWERED or _only_replacing(submission, turns):
                restored.append(_restored(submission, turns))
            restored.extend(_still_there(submission, answer, turns))
            receipts.extend(_replaced(submission, answer, turns))
        items = [
            Item(str(s.row.id), _STATES[a.verdict], len(s.requests), a.code or None, _told(a), began)
            for s, a in zip(carried.submissions, carried.answers, strict=True)
        ]
        self.acks.settle(receipts, restored, self.run, items)

    def _receipt(self, submission: Submission, answer: Answer) -> Receipt:
        row = submission.row
        kind = WriteBack.DELTA if submission.delta else WriteBack.FULL
        return Receipt(
            submission.child,
            submission.goal,
            answer.detail,
            row.id,
            self.acks.person(row.person_id),
            digest(row.response),
            (WriteBack.DELETE if submission.sending is Sending.DELETE else kind) if self.table else None,
            row.fingerprint,
            row.status,
            row.row_state,
        )

    def _doubts(self, submission: Submission) -> Iterator[Doubt]:
        row = submission.row
        yield Doubt(submission.child, submission.goal, submission.reset, row.id, self.acks.person(row.person_id))
        for old in submission.replaced:
            yield Doubt(old.child, PURGED, old.reset)


def _told(answer: Answer) -> str | None:
    """Return our words for a record that was not accepted; a receipt is in the table."""
    return answer.detail if answer.detail and answer.verdict is not Verdict.ACCEPTED else None


def _only_replacing(submission: Submission, turns: int) -> bool:
    """Whether nothing but the purges of former identifiers has left: the child itself is as it was."""
    return turns < len(submission.replaced)


def _restored(submission: Submission, turns: int) -> Doubt:
    """Return what is in doubt after a request that changed nothing, when ``turns`` earlier ones were acknowledged."""
    if turns > len(submission.replaced):  # the purge is done, the rest is not: the next run has to finish it
        return Doubt(submission.child, None, submission.reset)
    return submission.former


def _still_there(submission: Submission, answer: Answer, turns: int) -> Iterator[Doubt]:
    """Return what is in doubt about former identifiers whose purge did not leave, or changed nothing."""
    for old in submission.replaced[turns + (answer.verdict is Verdict.UNANSWERED) :]:
        yield Doubt(old.child, old.in_doubt, old.reset)


def _replaced(submission: Submission, answer: Answer, turns: int) -> Iterator[Receipt]:
    """Record that former identifiers of a row are purged."""
    for old in submission.replaced[:turns]:
        yield Receipt(old.child, PURGED, answer.detail, submission.row.id, b"", b"", None, None, None, None)


@dataclass
class BatchFiles:
    """Writes what would be sent as ``batch-NNNNN.json`` (``--dry-run``); without a folder it only counts."""

    folder: Path | None
    written: int = 0

    def carry(self, batch: Sequence[Submission]) -> Carried:
        """Write one file per request that the batch would make."""
        for turn in range(max(len(submission.requests) for submission in batch)):
            bodies = [s.requests[turn] for s in batch if len(s.requests) > turn]
            self.written += 1
            if self.folder is not None:
                private_folder(self.folder)
                write_whole(self.folder / f"batch-{self.written:05}.json", b"[" + b",\n".join(bodies) + b"]\n")
        return Carried(batch, [Answer(Verdict.ACCEPTED)] * len(batch))
