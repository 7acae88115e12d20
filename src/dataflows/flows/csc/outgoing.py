"""Sends what was decided: batches of children through the pool, and what needs no request past it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dataflows.errors import DataflowsError, ServiceDown
from dataflows.events import Event
from dataflows.flows.csc.answers import BatchHandler, SentBatch
from dataflows.flows.csc.decisions import (
    Contradicted,
    Decision,
    DeferredRow,
    Former,
    InvalidRow,
    Submission,
    Superseded,
    Unchanged,
)
from dataflows.flows.csc.purges import OwedPurges
from dataflows.flows.csc.recording import Recorder
from dataflows.runs import pool
from dataflows.runs.flow import UNANSWERED_IN_A_ROW, Halt


@dataclass
class Outgoing:
    """What leaves in one run. ``left``: so many children may still be sent (``--limit``), None for all.

    Once the run is over (``is_over``), for whatever reason, nothing more leaves.
    """

    handler: BatchHandler
    recorder: Recorder
    owed: OwedPurges
    stop: pool.Stop
    size: int
    workers: int
    left: int | None = None
    stopped: DataflowsError | None = None
    unanswered: int = 0
    _aside: list[Event] = field(default_factory=list)

    def send(self, pages: Iterable[list[Decision]]) -> Iterator[Event]:
        """Send what pages of decisions ask for; what needs no request is recorded on the way."""
        halt = Halt(self.is_over, self.stop)
        for sent in pool.each(self.handler.carry, self._batches(pages), workers=self.workers, stop=halt):
            yield from self._set_aside()
            yield from self.recorder.carried(sent)
            self._note(sent)
        yield from self._set_aside()

    def is_over(self) -> bool:
        """Tell whether the run is to end: it was asked to, the receiver forbids to go on, or it does not answer."""
        return self.stopped is not None or self.unanswered >= UNANSWERED_IN_A_ROW or self.stop.is_set()

    def raise_errors(self) -> None:
        """Raise what ended the run early.

        Raises:
            DataflowsError: what the receiver answered with.
            ServiceDown: it did not answer the last batches.
        """
        if self.stopped is not None:
            raise self.stopped
        if self.unanswered:
            raise ServiceDown(
                f"the CSC API does not answer ({self.unanswered} batches in a row): {self.handler.last_failure}",
                reason="csc-no-answer",
                hint="nothing is lost: run the same command again once it is back, see: dataflows test-endpoint",
            )

    def _note(self, sent: SentBatch) -> None:
        self.unanswered = 0 if sent.answered else self.unanswered + 1
        self.stopped = self.stopped or sent.stop

    def _batches(self, pages: Iterable[list[Decision]]) -> Iterator[list[Submission]]:
        """Gather submissions into batches; children that need several requests go together."""
        single: list[Submission] = []
        several: list[Submission] = []
        for page in pages:
            for submission in self._sorted_out(page):
                gathered = single if len(submission.requests) == 1 else several
                gathered.append(submission)
                if len(gathered) == self.size:
                    yield gathered[:]
                    gathered.clear()
            if self.left == 0 or self.is_over():
                break
        yield from (gathered for gathered in (single, several) if gathered)

    def _sorted_out(self, page: list[Decision]) -> list[Submission]:
        recorder, aside = self.recorder, self._aside
        self.owed.owe(one.child for one in page if isinstance(one, Former))  # first: it must not be lost
        aside.extend(recorder.unchanged([one for one in page if isinstance(one, Unchanged)]))
        aside.extend(recorder.invalid([one for one in page if isinstance(one, InvalidRow)]))
        aside.extend(recorder.superseded([one for one in page if isinstance(one, Superseded)]))
        aside.extend(recorder.contradicted([one for one in page if isinstance(one, Contradicted)]))
        self.owed.deferred.keep_rows(one.row.id for one in page if isinstance(one, DeferredRow))
        wanted = [one for one in page if isinstance(one, Submission)]
        if self.left is not None:
            wanted = wanted[: self.left]
            self.left -= len(wanted)
        return wanted

    def _set_aside(self) -> Iterator[Event]:
        yield from self._aside
        self._aside.clear()
