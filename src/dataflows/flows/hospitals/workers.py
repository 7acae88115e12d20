"""What workers do for batches: one request each, and no more creates at a time than the Directory bears."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from dataflows.errors import DataflowsError
from dataflows.flows.hospitals.batch import Ask, QuestionKind
from dataflows.flows.hospitals.directory import DirectoryApi
from dataflows.flows.hospitals.records import CreateOutcome, DirectoryRecord, Inventory, NotSent
from dataflows.runs import pool


class RequestFailure(NamedTuple):
    """The request could not be made, or got no answer although it was repeated."""

    error: DataflowsError


Outcome = CreateOutcome | list[DirectoryRecord] | Inventory | int | RequestFailure | None


class Answered(NamedTuple):
    """What came of a request: of a create its outcome, of a look what it saw, else a status (None: no answer).

    ``started`` and ``ended`` are seconds of the monotonic clock.
    """

    ask: Ask
    outcome: Outcome
    started: float
    ended: float


class RequestWorker:
    """Makes requests, from any thread: so many ``creates`` at a time, others beside them; no create after ``halt``."""

    def __init__(self, directory: DirectoryApi, creates: int, halt: pool.Flag) -> None:
        self.directory = directory
        self._creating = threading.Semaphore(creates)
        self._halt = halt
        self._door = threading.Lock()
        self._closed = False

    def send(self, ask: Ask) -> Answered:
        """Make one request."""
        if ask.kind is not QuestionKind.CREATE:
            return self._answered(ask)
        with self._creating:
            with self._door:
                ask.left = not self._closed and not self._halt.is_set()
            if ask.left:
                return self._answered(ask)
            now = time.monotonic()
            return Answered(ask, NotSent("stopped"), now, now)

    def close(self) -> None:
        """Let no create out any more: whatever has not left by now never will."""
        with self._door:
            self._closed = True

    def _answered(self, ask: Ask) -> Answered:
        started = time.monotonic()
        try:
            outcome = self._outcome(ask)
        except DataflowsError as error:
            outcome = RequestFailure(error)
        return Answered(ask, outcome, started, time.monotonic())

    def _outcome(self, ask: Ask) -> Outcome:
        batch_id = ask.batch.batch_id
        match ask.kind:
            case QuestionKind.CREATE:
                return self.directory.create(batch_id, ask.batch.entries[ask.place].row.hospital)
            case QuestionKind.LOOK:
                return self.directory.look(batch_id)
            case QuestionKind.LIST:
                return self.directory.list_all()
            case QuestionKind.ACTIVATE:
                return self.directory.activate(batch_id)
            case QuestionKind.DELETE_BATCH:
                return self.directory.delete_batch(batch_id)
            case _:
                return self.directory.delete(ask.record_id)
