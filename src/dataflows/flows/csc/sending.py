"""Carrying batches: marked in doubt before they leave, settled in the journal right after the answer.

``BatchSender`` runs in the pool's threads; what it returns has been recorded in the journal and not yet in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.flows.csc.answers import BatchFileWriter, BatchHandler, RecordAnswer, RecordVerdict, SentBatch
from dataflows.flows.csc.connection import open_api
from dataflows.flows.csc.decisions import Submission
from dataflows.flows.csc.records import Doubt, Receipt, WriteBack, digest

if TYPE_CHECKING:
    from dataflows.flows.csc.receiver import CscApi
    from dataflows.flows.csc.workspace import Workspace
    from dataflows.runs.runner import Run

# another row speaks, or says something else
CHANGED_MEANWHILE = RecordAnswer(RecordVerdict.NOT_SENT, code="speaker_changed")


def open_handler(workspace: Workspace, run: Run) -> BatchHandler:
    """Return what batches are given to: the receiver, or files in a dry run. Raises as ``open_api``."""
    options = workspace.options
    if options.dry_run:
        return BatchFileWriter(options.out)
    api = open_api(
        workspace.settings,
        run,
        workspace.closing,
        workers=options.workers,
        may_send=workspace.table_lock.check,
        figures=workspace.figures,
        schema=workspace.acks.schema,
    )
    return BatchSender(api, workspace, run)


@dataclass
class BatchSender:
    """Sends batches to the receiver."""

    receiver: CscApi
    workspace: Workspace
    run: Run

    def __post_init__(self) -> None:
        self._acks, self._still_right = self.workspace.acks, self.workspace.planner.still_right
        self._rehearsal = self.workspace.options.rehearsal  # no row waits for an update then

    @property
    def last_failure(self) -> str:
        """Why the last batch was not answered."""
        return self.receiver.last_failure

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Send a batch, request by request where a child needs several, and record what was answered."""
        sent = SentBatch(batch, [RecordAnswer(RecordVerdict.ACCEPTED)] * len(batch), [0] * len(batch))
        if any(submission.purges_first for submission in batch):
            for index, right in enumerate(self._still_right(batch)):
                if not right:
                    sent.answers[index], sent.reached[index] = CHANGED_MEANWHILE, -1
        self._acks.mark(self._doubt(one) for one, turns in zip(batch, sent.reached, strict=True) if turns == 0)
        for turn in range(max(len(submission.requests) for submission in batch)):
            self._send_turn(turn, sent)
        self._settle(sent)
        return sent

    def _send_turn(self, turn: int, sent: SentBatch) -> None:
        going = [
            index
            for index, submission in enumerate(sent.submissions)
            if len(submission.requests) > turn and sent.reached[index] == turn
        ]
        if sent.stop is not None or not going:
            return
        delivery = self.receiver.deliver([sent.submissions[index].requests[turn] for index in going])
        sent.stop = delivery.stop
        for index, answer in zip(going, delivery.answers, strict=True):
            sent.answers[index] = answer
            sent.reached[index] += answer.verdict is RecordVerdict.ACCEPTED

    def _settle(self, sent: SentBatch) -> None:
        receipts: list[Receipt] = []
        restored: list[Doubt] = []
        for submission, answer, turns in zip(sent.submissions, sent.answers, sent.reached, strict=True):
            if turns == len(submission.requests):
                receipts.append(self._receipt(submission, answer))
            elif turns > 0 and answer.verdict is not RecordVerdict.UNANSWERED:
                # the purge is done, the rest is not: the next run has to finish it
                restored.append(Doubt(submission.child, None, submission.reset))
            elif turns == 0 and answer.verdict is not RecordVerdict.UNANSWERED:
                restored.append(submission.former)
        self._acks.settle(receipts, restored, self.run, sent.items())

    def _doubt(self, submission: Submission) -> Doubt:
        row = submission.row
        if row is None:
            return Doubt(submission.child, submission.goal, submission.reset)
        return Doubt(submission.child, submission.goal, submission.reset, row.id, self._acks.person(row.person_id))

    def _receipt(self, submission: Submission, answer: RecordAnswer) -> Receipt:
        row, child = submission.row, submission.child
        if row is None:
            return Receipt(child, submission.goal, answer.detail)
        return Receipt(
            child,
            submission.goal,
            answer.detail,
            row.id,
            self._acks.person(row.person_id),
            digest(row.response),
            None if self._rehearsal else _write_back(submission),
            row.fingerprint,
            row.status,
            row.row_state,
            self._skeleton(submission),
            submission.overruled,
        )

    def _skeleton(self, submission: Submission) -> bytes | None:
        if submission.payload is None:
            return None
        skeleton = submission.skeleton or self._acks.skeleton(submission.payload)
        return self._acks.close_skeleton(submission.child, skeleton)


def _write_back(submission: Submission) -> WriteBack:
    if submission.removes:
        return WriteBack.DELETE
    return WriteBack.DELTA if submission.delta else WriteBack.FULL
