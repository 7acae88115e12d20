"""Carrying out what a batch asks for, in the threads of the pool: one request each, nothing decided here."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from dataflows.errors import DataflowsError
from dataflows.flows.hospitals.batch import Ask, QuestionKind
from dataflows.flows.hospitals.directory import CreateOutcome, DirectoryApi, DirectoryRecord, NotSent
from dataflows.flows.hospitals.inventory import Inventory
from dataflows.runs.pool import Flag


class RequestFailure(NamedTuple):
    """The request could not be made, or got no answer although it was repeated."""

    error: DataflowsError


class Answered(NamedTuple):
    """What came of a request: of a create its outcome, of a look what it saw, else a status (None: no answer).

    ``started`` and ``ended`` are seconds of the monotonic clock.
    """

    ask: Ask
    outcome: CreateOutcome | list[DirectoryRecord] | Inventory | int | RequestFailure | None
    started: float
    ended: float


@dataclass
class RequestWorker:
    """``creating`` lets so many creates through at a time; other calls go beside them. ``halt``: no new create."""

    directory: DirectoryApi
    creating: threading.Semaphore
    halt: Flag

    def __post_init__(self) -> None:
        self._door = threading.Lock()
        self._closed = False

    def carry(self, ask: Ask) -> Answered:
        """Make one request."""
        if ask.kind is QuestionKind.CREATE:
            with self.creating:
                return self._create(ask)
        started = time.monotonic()
        outcome: list[DirectoryRecord] | Inventory | int | RequestFailure | None
        try:
            outcome = self._single(ask)
        except DataflowsError as error:
            outcome = RequestFailure(error)
        return Answered(ask, outcome, started, time.monotonic())

    def _create(self, ask: Ask) -> Answered:
        started = time.monotonic()
        if not self._lets_out(ask):
            return Answered(ask, NotSent("stopped"), started, started)
        outcome: CreateOutcome | RequestFailure
        try:
            outcome = self.directory.create(ask.batch.batch_id, ask.batch.entries[ask.place].row.hospital)
        except DataflowsError as error:
            outcome = RequestFailure(error)
        return Answered(ask, outcome, started, time.monotonic())

    def _lets_out(self, ask: Ask) -> bool:
        with self._door:
            ask.left = not self._closed and not self.halt.is_set()
            return ask.left

    def close(self) -> None:
        """Let no create out any more: whatever has not left by now never will."""
        with self._door:
            self._closed = True

    def _single(self, ask: Ask) -> list[DirectoryRecord] | Inventory | int | None:
        match ask.kind:
            case QuestionKind.LOOK:
                return self.directory.look(ask.batch.batch_id)
            case QuestionKind.LIST:
                return inventory_of(self.directory)
            case QuestionKind.ACTIVATE:
                return self.directory.activate(ask.batch.batch_id)
            case QuestionKind.DELETE_BATCH:
                return self.directory.delete_batch(ask.batch.batch_id)
            case _:
                return self.directory.delete(ask.record_id)


def inventory_of(directory: DirectoryApi) -> Inventory:
    """What the Directory holds now. Raises as ``DirectoryApi.look`` does."""
    started = time.monotonic()
    return Inventory(directory.list_all(), started)
