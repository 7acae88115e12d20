"""Which batch may ask next: all of them side by side, creates in the order of the file, paced and recorded.

Runs in the main thread of a run, which alone judges and writes. Creates are committed to the ledger a handful at a
time, just before they are handed to the pool.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dataflows.errors import DataflowsError, Interrupted, ServiceDown
from dataflows.events import Event, Warned
from dataflows.flows.hospitals.batch import Ask, Batch, Kind
from dataflows.flows.hospitals.courier import Answered, Failure
from dataflows.flows.hospitals.directory import SERVICE, Created, NotSent, Refused, Unknown
from dataflows.flows.hospitals.identity import MOST_PER_BATCH
from dataflows.flows.hospitals.ledger import Ledger
from dataflows.flows.hospitals.pacing import Pace
from dataflows.flows.hospitals.telling import Teller
from dataflows.remote.failures import Blocked
from dataflows.runs.pool import Later

UNANSWERED_IN_A_ROW = 5
_SINGLES_PER_BATCH = 4


@dataclass(frozen=True)
class Lanes:
    """How many requests are under way at a time: ``creates``, and beside them the single calls of other batches.

    A batch takes four single calls (look, look, activate, look), so that many threads more are needed for each batch
    full of creates to keep all ``creates`` busy; twice as many, since they come in bursts.
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
        return math.ceil(4 * self.threads / min(self.batch_size, MOST_PER_BATCH)) + 2


class Dispatcher:
    """Gives out what is to be asked, and takes in the answers.

    Attributes:
        halted: why no batch may go on; None while they may.
        slowest: the longest create that was answered (s).
    """

    def __init__(
        self,
        batches: Sequence[Batch],
        ledger: Ledger,
        pace: Pace,
        lanes: Lanes,
        teller: Teller,
        max_wait: float,
    ) -> None:
        self._waiting = deque(batches)
        self._open: list[Batch] = []
        self._ended: list[Batch] = []
        self._ready: deque[Ask] = deque()
        self._creating: set[Ask] = set()
        self._ledger = ledger
        self._pace = pace
        self._lanes = lanes
        self._teller = teller
        self._max_wait = max_wait
        self._shut_until = 0.0
        self._silent = 0
        self._highest = 0
        self.halted: DataflowsError | None = None
        self.slowest = 0.0

    # --- giving out -------------------------------------------------------------------------------------------

    def asks(self) -> Iterator[Ask | Later]:
        """What is to be asked, until every batch is over or the run is halted; ``Later`` while there is nothing."""
        while self.halted is None:
            if not self._ready:
                self._gather()
            if self._ready:
                yield self._ready.popleft()
            elif not self._open and not self._waiting:
                return
            else:
                self._ledger.flush()
                yield Later(self._pause())

    def _gather(self) -> None:
        ahead = sum(batch.is_ahead for batch in self._open)
        while self._waiting and ahead < self._lanes.batches_ahead:
            self._open.append(self._waiting.popleft())
            ahead += 1
        now = time.monotonic()
        self._ready.extend(ask for batch in self._open if (ask := batch.single(now)))
        if now >= self._shut_until:
            self._gather_creates(now)

    def _gather_creates(self, now: float) -> None:
        wanted = min(sum(batch.waiting_rows(now) for batch in self._open), 2 * self._lanes.creates)
        if not wanted:
            return
        asks: list[Ask] = []
        with self._ledger.transaction() as db:
            granted = self._pace.take(db, wanted)
            for batch in self._open:
                if len(asks) < granted and batch.waiting_rows(now):
                    asks.extend(batch.creates(granted - len(asks)))
                    self._ledger.note(batch)
        for ask in asks:
            ask.after = self._highest
        self._creating.update(asks)
        self._ready.extend(asks)
        if len(asks) < wanted:
            self._shut(now)

    def _shut(self, now: float) -> None:
        self._shut_until = self._pace.opens_at()
        self._teller.waiting(self._shut_until - now, "the Directory takes so many creates a minute")

    def _pause(self) -> float:
        """Seconds until something may be due without an answer coming first."""
        now = time.monotonic()
        moments = [moment for batch in self._open if (moment := batch.wakes_at()) is not None]
        if any(batch.waiting_rows(now) for batch in self._open):
            moments = [max(moment, self._shut_until) for moment in moments] or [self._shut_until]
        pause = min(moments, default=now + 1.0) - now
        if moments and not self._creating and now >= self._shut_until:
            self._teller.waiting(pause, "creates without an answer may still land")
        return max(pause, 0.001)

    # --- taking in --------------------------------------------------------------------------------------------

    def take(self, answered: Answered) -> Iterator[Event]:
        """Take in one answer; returns what there is to tell."""
        ask, outcome = answered.ask, answered.outcome
        batch = ask.batch
        if isinstance(outcome, Failure):
            self._failed(ask, outcome.error, answered.ended)
        elif ask.kind is Kind.CREATE:
            yield from self._create_answered(answered)
        elif isinstance(outcome, list):
            self._silent = 0
            self._highest = max([self._highest, *(record.id for record in outcome)])
            batch.seen(outcome, answered.started, answered.ended)
            if batch.lost:
                batch.lost = False
                yield from self._memory_lost()
        else:
            self._heard(outcome is not None, f"{SERVICE} gave no answer")
            batch.told(ask, outcome if isinstance(outcome, int) else None)
        self._ledger.note(batch)
        self._open_repairs(batch)
        if batch.over:
            yield from self._over(batch)
        elif following := batch.single(answered.ended):
            self._ready.appendleft(following)  # not behind creates that are ready already
        self._ledger.flush(now=False)
        yield from self._teller.standing(self._open)

    def _failed(self, ask: Ask, error: DataflowsError, now: float) -> None:
        """A request that ended in an error: fatal ones halt the run, a look without an answer ends its batch."""
        down = isinstance(error, ServiceDown) and not isinstance(error, Blocked)
        if ask.kind is Kind.CREATE:
            self._creating.discard(ask)
            ask.batch.answered(ask, NotSent(error.code), now)
        elif down and ask.kind is Kind.LOOK:
            ask.batch.unseen(error)
        if down:
            self._heard(False, error.message)
        elif not isinstance(error, Interrupted):
            self.halted = self.halted or error

    def _create_answered(self, answered: Answered) -> Iterator[Event]:
        ask, outcome = answered.ask, answered.outcome
        assert isinstance(outcome, (Created, Refused, NotSent, Unknown))
        self._creating.discard(ask)
        ask.batch.answered(ask, outcome, answered.ended)
        match outcome:
            case Created(record_id, seconds):
                self.slowest = max(self.slowest, seconds)
                self._silent = 0
                if record_id <= ask.after:
                    yield from self._memory_lost()
                self._highest = max(self._highest, record_id)
            case Refused():
                self._silent = 0
                yield self._teller.refused(ask)
            case NotSent(limited=True):
                self._silent = 0
                self._pace.refused()
                self._shut(time.monotonic())
            case NotSent(error=error) | Unknown(error=error) if error is not None:
                self._heard(False, error.message)
                if isinstance(outcome, NotSent):
                    ask.batch.wait(answered.ended + min(0.5 * self._silent, self._max_wait))
            case _:
                pass

    def _memory_lost(self) -> Iterator[Event]:
        """What was right when its batch ended need not be there any more: look at it again."""
        self._highest = 0
        for ask in self._creating:
            ask.after = 0
        again = [batch for batch in self._ended if batch.error is None]
        self._ended = [batch for batch in self._ended if batch.error is not None]
        for batch in again:
            batch.reopen()
            self._teller.reopened(batch)
        self._open += again
        if again:
            count = len(again)
            yield Warned(f"{SERVICE} lost its memory: {count} batch{'es' * (count != 1)} looked at again")

    def _heard(self, answer: bool, why: str) -> None:
        self._silent = 0 if answer else self._silent + 1
        if self._silent >= UNANSWERED_IN_A_ROW and self.halted is None:
            self.halted = ServiceDown(
                f"{why} (the last {self._silent} requests in a row had no answer)",
                hint="what was sent is known or found out later: dataflows runs resume",
            )

    def _open_repairs(self, batch: Batch) -> None:
        for place, repair in batch.repairs.items():
            if repair not in self._open and not repair.over:
                self._ledger.adopt(repair, place, self._teller.run_id)
                self._ledger.fill([repair])
                self._open.append(repair)

    def _over(self, batch: Batch) -> Iterator[Event]:
        self._open.remove(batch)
        if batch.active and batch.error is None:
            self._ledger.activated(batch.batch_id)
        if batch.parent is None:
            self._ended.append(batch)
            yield from self._teller.ended(batch)
            return
        batch.parent.mended()
        if batch.parent.over:
            self._ledger.note(batch.parent)
            yield from self._over(batch.parent)

    # --- the end ----------------------------------------------------------------------------------------------

    def close(self) -> Iterator[Event]:
        """Settle what is open when the pool has ended: creates that never left are not sent, others unknown.

        No create may leave any more when this is called.
        """
        now = time.monotonic()
        for ask in self._creating:
            ask.batch.answered(ask, Unknown("no_answer") if ask.left else NotSent("stopped"), now)
            self._ledger.note(ask.batch)
        self._creating.clear()
        code = self.halted.code if self.halted else "interrupted"
        for batch in [*self._open, *self._waiting]:
            if batch.parent is None:
                yield from self._teller.ended(batch, code)
        self._ledger.flush()
