"""Carrying batches: marked in doubt before they leave, settled in the journal right after the answer.

``BatchSender`` runs in the pool's threads; what it returns has been recorded in the journal and not yet in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dataflows.errors import DataflowsError
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import Submission
from dataflows.flows.csc.delta import Sending
from dataflows.flows.csc.receiver import CscApi, RecordAnswer, RecordVerdict, RequestPacer, children_url
from dataflows.flows.csc.records import Doubt, Receipt, WriteBack, digest
from dataflows.remote.oauth import TokenSource
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from dataflows.runs.journal import Item, now
from dataflows.runs.pool import Stop
from dataflows.runs.runner import Run
from dataflows.store.files import private_folder, write_whole

if TYPE_CHECKING:
    from dataflows.settings import Settings

# another row speaks, or says something else
CHANGED_MEANWHILE = RecordAnswer(RecordVerdict.NOT_SENT, code="speaker_changed")
_STATES = {
    RecordVerdict.ACCEPTED: "done",
    RecordVerdict.REFUSED: "failed",
    RecordVerdict.UNANSWERED: "unknown",
    RecordVerdict.NOT_SENT: "pending",
}


@dataclass(slots=True)
class SentBatch:
    """A batch with its answers. ``stop`` forbids to go on; ``answered`` is False when the service said nothing."""

    submissions: Sequence[Submission]
    answers: list[RecordAnswer]
    stop: DataflowsError | None = None

    @property
    def answered(self) -> bool:
        return any(answer.code != "no_answer" for answer in self.answers)


class BatchHandler(Protocol):
    """Brings batches to their goal."""

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Send a batch and record the answers."""


def open_api(settings: Settings, stop: Stop, policy: RetryPolicy, closing: ExitStack, *, workers: int) -> CscApi:
    """Return the CSC API, with a first token: access that is refused is known before anything is touched.

    Args:
        closing: closes its connections.

    Raises:
        SettingUnusable: a setting of the API is missing.
        AccessRefused: the token endpoint does not accept our credentials.
        ServiceDown: it does not answer.
    """
    settings.require("SUPPLIER_KEY", "TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE")
    session, for_tokens = (make_session(settings, count, stop.grace_is_over) for count in (workers, 1))
    closing.callback(session.close)
    closing.callback(for_tokens.close)
    tokens = TokenSource(settings, for_tokens, policy)
    tokens.token()
    return CscApi(
        url=children_url(settings),
        supplier_key=settings.supplier_key.reveal() if settings.supplier_key else "",
        session=session,
        tokens=tokens,
        policy=policy,
        timeout=(settings.http_connect_timeout_seconds, settings.http_timeout_seconds),
        pace=RequestPacer(settings.csc_min_interval_ms / 1000, stop),
    )


@dataclass
class BatchSender:
    """Sends batches to the receiver. ``table`` is False in rehearsals: no row waits for an update then.

    ``still_right`` is asked before anything leaves whether the purges of a batch are still what the table wants.
    """

    receiver: CscApi
    acks: Acknowledgements
    run: Run
    still_right: Callable[[Sequence[Submission]], list[bool]]
    table: bool = True

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Send a batch, request by request where a child needs several, and record what was answered."""
        began = now()
        leaves = (
            self.still_right(batch) if any(submission.purges_first for submission in batch) else [True] * len(batch)
        )
        self.acks.mark(_doubt(one, self.acks) for one, right in zip(batch, leaves, strict=True) if right)
        carried = SentBatch(
            batch, [RecordAnswer(RecordVerdict.ACCEPTED) if right else CHANGED_MEANWHILE for right in leaves]
        )
        reached = [0 if right else -1 for right in leaves]
        for turn in range(max(len(submission.requests) for submission in batch)):
            self._send_turn(turn, carried, reached)
        self._settle(carried, reached, began)
        return carried

    def _send_turn(self, turn: int, carried: SentBatch, reached: list[int]) -> None:
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
            reached[index] += answer.verdict is RecordVerdict.ACCEPTED

    def _settle(self, carried: SentBatch, reached: list[int], began: str) -> None:
        receipts: list[Receipt] = []
        restored: list[Doubt] = []
        for submission, answer, turns in zip(carried.submissions, carried.answers, reached, strict=True):
            if turns == len(submission.requests):
                receipts.append(self._receipt(submission, answer))
            elif turns > 0 and answer.verdict is not RecordVerdict.UNANSWERED:
                # the purge is done, the rest is not: the next run has to finish it
                restored.append(Doubt(submission.child, None, submission.reset))
            elif turns == 0 and answer.verdict is not RecordVerdict.UNANSWERED:
                restored.append(submission.former)
        items = [
            Item(s.key, _STATES[a.verdict], len(s.requests) if turns >= 0 else 0, a.code or None, _told(a), began)
            for s, a, turns in zip(carried.submissions, carried.answers, reached, strict=True)
        ]
        self.acks.settle(receipts, restored, self.run, items)

    def _receipt(self, submission: Submission, answer: RecordAnswer) -> Receipt:
        row, child = submission.row, submission.child
        if row is None:
            return Receipt(child, submission.goal, answer.detail)
        kind = WriteBack.DELTA if submission.delta else WriteBack.FULL
        return Receipt(
            child,
            submission.goal,
            answer.detail,
            row.id,
            self.acks.person(row.person_id),
            digest(row.response),
            (WriteBack.DELETE if submission.sending is Sending.DELETE else kind) if self.table else None,
            row.fingerprint,
            row.status,
            row.row_state,
            self._skeleton(submission),
            submission.overruled,
        )

    def _skeleton(self, submission: Submission) -> bytes | None:
        if submission.payload is None:
            return None
        skeleton = submission.skeleton or self.acks.skeleton(submission.payload)
        return self.acks.close_skeleton(submission.child, skeleton)


def _doubt(submission: Submission, acks: Acknowledgements) -> Doubt:
    row = submission.row
    if row is None:
        return Doubt(submission.child, submission.goal, submission.reset)
    return Doubt(submission.child, submission.goal, submission.reset, row.id, acks.person(row.person_id))


def _told(answer: RecordAnswer) -> str | None:
    """Return our words for a record that was not accepted; a receipt is in the table."""
    return answer.detail if answer.detail and answer.verdict is not RecordVerdict.ACCEPTED else None


@dataclass
class BatchFileWriter:
    """Writes what would be sent as ``batch-NNNNN.json`` (``--dry-run``); without a folder it only counts."""

    folder: Path | None
    written: int = 0

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Write one file per request that the batch would make."""
        for turn in range(max(len(submission.requests) for submission in batch)):
            bodies = [s.requests[turn] for s in batch if len(s.requests) > turn]
            self.written += 1
            if self.folder is not None:
                private_folder(self.folder)
                write_whole(self.folder / f"batch-{self.written:05}.json", b"[" + b",\n".join(bodies) + b"]\n")
        return SentBatch(batch, [RecordAnswer(RecordVerdict.ACCEPTED)] * len(batch))
