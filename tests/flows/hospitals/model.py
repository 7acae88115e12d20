"""A Directory and a clock that are only thought of: the judgement of a batch is tried against them in no time at all.

Every create, activation and look meets a fate of the test's choosing; time jumps to whatever happens next.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dataflows.errors import ServiceDown
from dataflows.flows.hospitals.batch import Ask, Batch, Kind, Manner
from dataflows.flows.hospitals.directory import Created, NotSent, Record, Unknown
from dataflows.flows.hospitals.entries import NEVER, Entry, State
from dataflows.flows.hospitals.rows import Hospital, Row

SETTLE = 30.0
LATENCY = 5.0
PATIENCE = 8.0  # the read timeout
CAP = 20
MANNER = Manner(lambda: SETTLE, 2.0)

FATES = ("ok", "lost", "dropped", "late", "later", "not_sent", "crash", "crash_forgetting", "restart")
"""What may become of a request; ``crash`` ends the program's process, ``restart`` the Directory's."""


@dataclass
class World:
    """The Directory, one batch of ``rows``, and a program that may die and be started again."""

    rows: Sequence[Hospital]
    fates: Iterator[str]
    now: float = 100.0
    lives: int = 1

    def __post_init__(self) -> None:
        self.records: list[Record] = []
        self._number = 0
        self._landings: list[tuple[float, int, Hospital, int]] = []  # when, order, what, and in which Directory's life
        self._order = 0
        self._age = 0
        self.activations = 0
        self._forgotten_at = NEVER
        self.batch = self._fresh()

    # --- the Directory ----------------------------------------------------------------------------------------

    def _land(self) -> None:
        while self._landings and self._landings[0][0] <= self.now:
            _, _, hospital, age = heapq.heappop(self._landings)
            if age == self._age:
                self._add(hospital)

    def _add(self, hospital: Hospital) -> int:
        self._number += 1
        self.records.append(Record(self._number, hospital, False))
        return self._number

    def _lands(self, hospital: Hospital, when: float) -> None:
        self._order += 1
        heapq.heappush(self._landings, (when, self._order, hospital, self._age))

    def restart(self) -> None:
        """Lose everything, and what was on its way."""
        self.records, self._number, self._age = [], 0, self._age + 1

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self._land()

    # --- the program ------------------------------------------------------------------------------------------

    def _fresh(self) -> Batch:
        return Batch("batch", [Entry(Row(number, one)) for number, one in enumerate(self.rows, 1)], MANNER)

    def start_again(self, *, forgetting: bool = False) -> None:
        """A new process: it knows what was committed, or (the journal is lost) that there was something."""
        self.lives += 1
        known = self.batch.entries
        self.batch = self._fresh()
        if forgetting:
            self._forgotten_at = self.now
        self.batch.suspect = self._forgotten_at
        if forgetting:
            return
        entries = [replace(entry, told=False) for entry in known]
        for entry in entries:
            if entry.state is State.SENDING:
                entry.state, entry.given_up = State.UNKNOWN, self.now
        self.batch.recall(entries)

    def run(self) -> None:
        """Run the program until the batch is over, through all its lives."""
        for _ in range(2_000):
            if self.batch.over:
                return
            self._step()
        raise AssertionError("no end")

    def _step(self) -> None:
        batch = self.batch
        if batch.waiting_rows(self.now):
            self._send(list(batch.creates(CAP)))
        elif ask := batch.single(self.now):
            self._ask(ask)
        else:
            wakes_at = batch.wakes_at()
            assert wakes_at is not None, "nothing is asked, and nothing is waited for"
            self.advance(max(wakes_at - self.now, 0.01))

    def _send(self, asks: Sequence[Ask]) -> None:
        """Creates side by side: all have arrived before the first is answered."""
        fates = [next(self.fates, "ok") for _ in asks]
        full = len(self.records) >= CAP
        for ask, fate in zip(asks, fates, strict=True):
            self._arrive(self._text(ask), "not_sent" if full else fate)
        crash = next((fate for fate in fates if fate.startswith("crash")), None)
        if crash:
            self.start_again(forgetting=crash == "crash_forgetting")
            return
        ended = self.now + PATIENCE
        for ask, fate in zip(asks, fates, strict=True):
            if full:
                self.batch.answered(ask, Unknown("batch_full", lasting=False), ended)
            elif fate in ("ok", "restart"):
                self.batch.answered(ask, Created(self._add(self._text(ask)), LATENCY), ended)
            elif fate == "not_sent":
                self.batch.answered(ask, NotSent("not_reached"), ended)
            else:
                self.batch.answered(ask, Unknown("no_answer"), ended)
        self.advance(PATIENCE)
        if "restart" in fates:
            self.restart()

    def _arrive(self, hospital: Hospital, fate: str) -> None:
        delays = {"lost": LATENCY, "late": PATIENCE + 2, "later": PATIENCE + SETTLE - 1}
        delays |= {"crash": LATENCY, "crash_forgetting": LATENCY}
        if fate in delays:
            self._lands(hospital, self.now + delays[fate])

    def _text(self, ask: Ask) -> Hospital:
        return self.rows[ask.place]

    def _ask(self, ask: Ask) -> None:
        fate = next(self.fates, "ok")
        started = self.now
        self.advance(0.05)
        if fate == "restart" and ask.kind is Kind.LOOK:  # after the last look nobody could know of it
            self.restart()
        if fate.startswith("crash"):
            if ask.kind is not Kind.LOOK:
                self._obey(ask)
            self.start_again(forgetting=fate == "crash_forgetting")
            return
        if ask.kind is Kind.LOOK:
            if fate in ("dropped", "not_sent"):
                self.batch.unseen(ServiceDown("no answer", hint=""))
            else:
                self.batch.seen(list(self.records), started, self.now)
        else:
            done = fate not in ("dropped", "not_sent") and self._obey(ask)
            self.batch.told(ask, (200 if done else 400) if fate == "ok" else None)
        if fate == "restart" and ask.kind is not Kind.LOOK:
            self.restart()

    def _obey(self, ask: Ask) -> bool:
        if ask.kind is Kind.DELETE:
            self._delete(ask.record_id)
            return True
        if any(record.active for record in self.records) or not self.records:
            return False
        held = Counter(record.hospital for record in self.records)
        assert held == Counter(self.rows), "a batch is activated that is not the file"
        self.records = [record._replace(active=True) for record in self.records]
        self.activations += 1
        return True

    def _delete(self, record_id: int) -> None:
        gone = next((record for record in self.records if record.id == record_id), None)
        if gone is None:
            return
        twins = [one for one in self.records if one.hospital == gone.hospital and one.id != record_id]
        assert not gone.active or any(twin.active for twin in twins), "a live hospital is deleted"
        self.records.remove(gone)

    def is_right(self) -> bool:
        """Every row once, and active."""
        return Counter(record.hospital for record in self.records if record.active) == Counter(self.rows) and len(
            self.records
        ) == len(self.rows)
