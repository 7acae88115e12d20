"""Batches of children with their answers, and how they are only written down (``--dry-run``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dataflows.errors import DataflowsError
from dataflows.flows.csc.answers import RecordAnswer, RecordVerdict
from dataflows.flows.csc.decisions import Submission
from dataflows.runs.journal import Item, now
from dataflows.store.files import private_folder, write_whole

_STATES = {
    RecordVerdict.ACCEPTED: "done",
    RecordVerdict.REFUSED: "failed",
    RecordVerdict.UNANSWERED: "unknown",
    RecordVerdict.NOT_SENT: "pending",
}


@dataclass(slots=True)
class SentBatch:
    """A batch with its answers, and how many requests of each child were accepted (-1: nothing was to leave).

    ``stop`` forbids to go on.
    """

    submissions: Sequence[Submission]
    answers: list[RecordAnswer]
    reached: list[int]
    stop: DataflowsError | None = None
    began: str = field(default_factory=now)

    @property
    def answered(self) -> bool:
        """Whether the service said anything."""
        return any(answer.code != "no_answer" for answer in self.answers)

    def items(self) -> list[Item]:
        """Return the outcomes for ``runs show``."""
        return [
            Item(s.key, _STATES[a.verdict], len(s.requests) if turns >= 0 else 0, a.code or None, a.words, self.began)
            for s, a, turns in zip(self.submissions, self.answers, self.reached, strict=True)
        ]


class BatchHandler(Protocol):
    """Brings batches to their goal."""

    @property
    def last_failure(self) -> str:
        """Why the last batch was not answered."""

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Send a batch and record the answers."""


@dataclass
class BatchFileWriter:
    """Writes what would be sent as ``batch-NNNNN.json``; without a folder it only counts."""

    folder: Path | None
    written: int = 0
    last_failure: str = ""

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Write one file per request that the batch would make."""
        for turn in range(max(len(submission.requests) for submission in batch)):
            bodies = [s.requests[turn] for s in batch if len(s.requests) > turn]
            self.written += 1
            if self.folder is not None:
                private_folder(self.folder)
                write_whole(self.folder / f"batch-{self.written:05}.json", b"[" + b",\n".join(bodies) + b"]\n")
        return SentBatch(batch, [RecordAnswer(RecordVerdict.ACCEPTED)] * len(batch), [len(s.requests) for s in batch])
