"""Which batch may ask next: all of them side by side, creates in the order of the file, paced and recorded.

Runs in the main thread of a run, which alone judges and writes. Creates are committed to the
journal a handful at a time, just before they are handed to the pool.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dataflows.errors import DataflowsError, Interrupted, ServiceDown
from dataflows.events import Event
from dataflows.flows.hospitals import records
from dataflows.flows.hospitals.batch import Ask, Batch, QuestionKind
from dataflows.flows.hospitals.directory import DirectoryApi
from dataflows.flows.hospitals.ledger import BatchStore, CreateWindow
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.progress import ProgressReporter
from dataflows.flows.hospitals.workers import Answered, RequestFailure, RequestWorker
from dataflows.hints import RESUME
from dataflows.runs import pool
from dataflows.runs.flow import Halt
from dataflows.runs.pool import TryLater
from dataflows.runs.trouble import OutageDetector

_LIST_REST_SECONDS, _LIST_REST_PER_RECORD = 0.5, 2e-4
"""So many seconds, or so many for each record of the last list, pass between two lists while rows are still created:
batches share one, which is large, and their activation can wait.
"""


_SINGLES_PER_BATCH = 4


@dataclass(frozen=True)
class Lanes:
    """How many requests are under way at a time: ``creates``, and beside them the single calls of other batches.

    A batch takes up to four single calls (list, activate, look, and one to spare), so that many threads more are needed
    for each batch full of creates to keep all ``creates`` busy; twice as many, since they come in bursts.
    """

    creates: int
    batch_size: int

    @property
    def threads(self) -> int:
        """Threads in all."""
        return self.creates + math.ceil(2 * _SINGLES_PER_BATCH * self.creates / self.batch_size)

    @property
    def batches_ahead(self) -> int:
        """How many batches are looked at before their rows can be sent: enough that creates never wait for a look."""
        return math.ceil(4 * self.threads / self.batch_size) + 2


class Dispatcher:
    """Gives out what is to be asked, and takes in the answers.

    Attributes:
        halted: why no batch may go on; None while they may.
        inventory: the latest list of everything.
    """

    def __init__(
        self, plan: UploadPlan, batches: BatchStore, window: CreateWindow, lanes: Lanes, reporter: ProgressReporter
    ) -> None:
        self._plan = plan
        self._settle = plan.policy.settle
        for seconds in (entry.seconds for batch in plan.batches for entry in batch.entries if entry.seconds):
            self._settle.saw(seconds)
        self._waiting = deque(plan.open)
        self._open: list[Batch] = []
        self._ready: deque[Ask] = deque()
        self._creating: set[Ask] = set()
        self._listing: list[Batch] = []
        self._lists: dict[Ask, list[Batch]] = {}
        self._list_from = 0.0
        self._batches = batches
        self._window = window
        self._lanes = lanes
        self._reporter = reporter
        self._shut_until = 0.0
        self._outage = OutageDetector(self._settle)
        self._changed = 0.0
        self.inventory: records.Inventory | None = None
        self.halted: DataflowsError | None = None

    @property
    def final(self) -> records.Inventory | None:
        """The latest list of everything, where nothing was changed since it left."""
        return self.inventory if self.inventory and self.inventory.started >= self._changed else None

    def run(self, directory: DirectoryApi, stop: pool.Stop) -> Iterator[Event]:
        """Ask and take in answers until every batch is over, or the run is halted or to be stopped."""
        halt = Halt(lambda: self.halted is not None or stop.is_set(), stop)
        worker = RequestWorker(directory, self._lanes.creates, halt)
        try:
            for answered in pool.each(worker.send, self.asks(), workers=self._lanes.threads, stop=halt):
                yield from self.take(answered)
        finally:
            worker.close()
            left = list(self.close())
        yield from left

    # --- giving out -------------------------------------------------------------------------------------------

    def asks(self) -> Iterator[Ask | TryLater]:
        """What is to be asked, until every batch is over or the run is halted; ``TryLater`` while there is nothing."""
        while self.halted is None:
            if not self._ready:
                self._gather()
            if self._ready:
                yield self._ready.popleft()
            elif not self._open and not self._waiting:
                return
            else:
                self._batches.flush()
                yield TryLater(self._pause())

    def _gather(self) -> None:
        ahead = sum(batch.is_ahead for batch in self._open)
        while self._waiting and ahead < self._lanes.batches_ahead:
            self._open.append(self._waiting.popleft())
            ahead += 1
        now = time.monotonic()
        for batch in self._open:
            if ask := batch.single(now):
                self._enqueue(ask)
        self._gather_list(now)
        if now >= max(self._shut_until, self._outage.resumes_at):
            self._gather_creates(now)

    def _enqueue(self, ask: Ask, *, first: bool = False) -> None:
        """Looks at everything are shared; the look after the last activations is one, since it shows how all ended."""
        last = ask.kind is QuestionKind.LOOK and ask.batch.was_active and self._is_near_the_end()
        if ask.kind is QuestionKind.LIST or last:
            self._listing.append(ask.batch)
        elif first:
            self._ready.appendleft(ask)  # not behind creates that are ready already
        else:
            self._ready.append(ask)

    def _is_near_the_end(self) -> bool:
        return not self._waiting and not self._creating and not any(batch.is_ahead for batch in self._open)

    def _gather_list(self, now: float) -> None:
        if self._listing and (now >= self._list_from or self._is_near_the_end()):
            ask = Ask(self._listing[0], QuestionKind.LIST)
            self._lists[ask], self._listing = self._listing, []
            total = self.inventory.total if self.inventory else 0
            self._list_from = now + max(_LIST_REST_SECONDS, _LIST_REST_PER_RECORD * total)
            self._ready.appendleft(ask)

    def _gather_creates(self, now: float) -> None:
        wanted = min(sum(batch.waiting_rows(now) for batch in self._open), 2 * self._lanes.creates)
        if not wanted:
            return
        asks: list[Ask] = []
        with self._batches.transaction():
            granted = self._window.take(wanted)
            for batch in self._open:
                if len(asks) < granted and batch.waiting_rows(now):
                    asks.extend(batch.creates(granted - len(asks)))
                    self._batches.note(batch)
        self._creating.update(asks)
        self._ready.extend(asks)
        if len(asks) < wanted:
            self._shut(now)

    def _shut(self, now: float) -> None:
        self._shut_until = self._window.opens_at()
        self._reporter.waiting(self._shut_until - now, "the Directory accepts only so many creates a minute")

    def _pause(self) -> float:
        """Seconds until something may be due without an answer coming first."""
        now = time.monotonic()
        shut = max(self._shut_until, self._outage.resumes_at)
        moments = [moment for batch in self._open if (moment := batch.wakes_at()) is not None]
        if any(batch.waiting_rows(now) for batch in self._open):
            moments = [max(moment, shut) for moment in moments] or [shut]
        if moments and not self._creating and now >= self._shut_until:
            out = now < self._outage.resumes_at
            why = "the Directory gave no answer" if out else "creates without an answer may still land"
            self._reporter.waiting(min(moments) - now, why)
        if self._listing:
            moments.append(self._list_from)
        return max(min(moments, default=now + 1.0) - now, 0.001)

    # --- taking in --------------------------------------------------------------------------------------------

    def take(self, answered: Answered) -> Iterator[Event]:
        """Take in one answer; returns what there is to report."""
        ask, outcome = answered.ask, answered.outcome
        if ask.kind is not QuestionKind.LOOK and ask.kind is not QuestionKind.LIST:
            self._changed = answered.ended
        batches = self._lists.pop(ask, [ask.batch])
        if isinstance(outcome, RequestFailure):
            self._on_failure(ask, batches, outcome.error, answered)
        elif ask.kind is QuestionKind.CREATE:
            yield from self._on_created(answered)
        elif isinstance(outcome, (list, records.Inventory)):
            self._outage.answered()
            self._on_look(batches, outcome, answered)
        else:
            status = outcome if isinstance(outcome, int) else None
            self._on_answer(status is not None and status < 500, f"{records.SERVICE} gave no answer", answered)
            ask.batch.on_response(ask, status)
        for batch in batches:
            yield from self._after(batch, answered.ended)
        self._gather_list(answered.ended)
        self._batches.flush(now=False)
        yield from self._reporter.progress(self._open)

    def _on_look(
        self, batches: Sequence[Batch], outcome: list[records.DirectoryRecord] | records.Inventory, answered: Answered
    ) -> None:
        if isinstance(outcome, list):
            batches[0].on_look(outcome, answered.started, answered.ended)
            return
        self.inventory = outcome
        for batch in batches:  # one after the other: a row that leaves one of them need not leave the next
            seen, wider = outcome.batch(batch.batch_id), self._plan.wider_look(batch, outcome)
            batch.on_look(seen, answered.started, answered.ended, wider)

    def _after(self, batch: Batch, now: float) -> Iterator[Event]:
        self._batches.note(batch)
        if batch.over:
            self._open.remove(batch)
            yield from self._reporter.ended(batch)
        elif following := batch.single(now):
            self._enqueue(following, first=True)

    def _on_failure(self, ask: Ask, batches: Sequence[Batch], error: DataflowsError, answered: Answered) -> None:
        """A request that ended in an error: fatal ones halt the run, a look without an answer ends its batches."""
        down = records.is_outage(error)
        if ask.kind is QuestionKind.CREATE:
            self._creating.discard(ask)
            ask.batch.on_created(ask, records.NotSent(error.code), answered.ended)
        elif down:
            for batch in batches:
                batch.on_look_failed(error)
        if down:
            self._on_answer(False, error.message, answered)
        elif not isinstance(error, Interrupted):
            self.halted = self.halted or error

    def _on_created(self, answered: Answered) -> Iterator[Event]:
        ask, outcome = answered.ask, answered.outcome
        assert isinstance(outcome, (records.Created, records.HospitalRefused, records.NotSent, records.Unknown))
        self._creating.discard(ask)
        ask.batch.on_created(ask, outcome, answered.ended)
        match outcome:
            case records.Created(_, seconds):
                self._settle.saw(seconds)
                self._outage.answered()
            case records.HospitalRefused():
                self._outage.answered()
                yield self._reporter.refused(ask)
            case records.NotSent(limited=True):
                self._outage.answered()
                self._window.refused()
                self._shut(time.monotonic())
            case records.NotSent(error=error) | records.Unknown(error=error) if error is not None:
                self._on_answer(False, error.message, answered)
            case _:
                pass

    def _on_answer(self, answer: bool, why: str, answered: Answered) -> None:
        if answer:
            self._outage.answered()
            return
        self._outage.failed(answered.started, answered.ended)
        if self._outage.is_out and self.halted is None:
            self.halted = ServiceDown(
                f"{why} ({self._outage.count} requests in a row had no answer)",
                reason="hospitals-no-answer",
                hint=f"what became of the requests is known or will be checked: {RESUME}",
            )

    # --- the end ----------------------------------------------------------------------------------------------

    def close(self) -> Iterator[Event]:
        """Settle what is open when the pool has ended: creates that never left are not sent, others unknown.

        No create may leave any more when this is called.
        """
        now = time.monotonic()
        for ask in self._creating:
            ask.batch.on_created(ask, records.Unknown("no_answer") if ask.left else records.NotSent("stopped"), now)
            self._batches.note(ask.batch)
        self._creating.clear()
        code = self.halted.code if self.halted else "interrupted"
        for batch in [*self._open, *self._waiting]:
            yield from self._reporter.ended(batch, code)
        self._batches.flush()
