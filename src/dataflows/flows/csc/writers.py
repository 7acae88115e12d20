"""Where outcomes are written besides the journal: the staging table, in a thread of its own, or nowhere."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Generic, Protocol, TypeVar

from dataflows.errors import DataflowsError
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.answers import RecordAnswer
from dataflows.flows.csc.baseline import sent_as_delta
from dataflows.flows.csc.decisions import Submission, Unchanged
from dataflows.flows.csc.records import Owed, WriteBack
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import RowUpdate, StagedRow
from dataflows.flows.csc.write_back import RowOutcome, Written

T = TypeVar("T")

_WAITING = 8  # pieces that may wait, so that memory stays flat when the database is slower than the receiver
_TICK = 0.5  # seconds; on Windows a blocking call keeps Ctrl-C from being seen, so no wait is longer


class WriterThread(Generic[T]):
    """Does pieces of work in order; what they return or raise reaches the caller in its own thread.

    After a failure nothing further is done: what waits is dropped.
    """

    def __init__(self) -> None:
        self._pieces: queue.Queue[Callable[[], T] | None] = queue.Queue(_WAITING)
        self._results: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._dropped = threading.Event()
        # a daemon: a database that hangs must not keep the process from ending; in a copy of the run's context, by
        # which its log knows what was said in its threads
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), daemon=True)
        self._thread.start()

    def put(self, piece: Callable[[], T]) -> None:
        """Hand over a piece of work; waits while too many are open."""
        while True:
            self._raise()
            try:
                return self._pieces.put(piece, timeout=_TICK)
            except queue.Full:
                continue

    def results(self) -> Iterator[T]:
        """Yield what finished pieces returned and was not yet handed out."""
        while not self._results.empty():
            yield self._results.get()
        self._raise()

    def finish(self) -> Iterator[T]:
        """Wait for all pieces; yield what they returned."""
        while self._is_busy():
            yield from self.results()
        yield from self.results()

    def _is_busy(self) -> bool:
        """Wait a moment for the end of all pieces; tells whether some are still open."""
        with self._pieces.all_tasks_done:
            if self._pieces.unfinished_tasks and self._thread.is_alive():
                self._pieces.all_tasks_done.wait(_TICK)
            return bool(self._pieces.unfinished_tasks) and self._thread.is_alive()

    def close(self, *, drop: bool = False) -> None:
        """End the thread; with ``drop`` what waits is not done, else it is. Raises nothing."""
        if drop:
            self._dropped.set()
        while self._thread.is_alive():
            try:
                self._pieces.put(None, timeout=_TICK)
                break
            except queue.Full:
                continue
        while self._thread.is_alive() and not drop:
            self._thread.join(_TICK)

    def _raise(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _work(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                if not self._dropped.is_set():
                    self._results.put(piece())
            except BaseException as error:
                self._failure = error  # raised again in the caller's thread
                self._dropped.set()
            finally:
                self._pieces.task_done()


@dataclass(frozen=True)
class WriteResult:
    """What became of rows that were handed to a writer: how many had been reloaded, which were not written and why."""

    reloaded: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)


class ResultWriter(Protocol):
    """Where outcomes are written besides the journal; beside the requests, so what became of them is told later."""

    def sent(self, carried: Sequence[tuple[Submission, RecordAnswer]]) -> None:
        """Write that children were acknowledged."""

    def unchanged(self, rows: Sequence[Unchanged]) -> None:
        """Write that rows needed nothing."""

    def errors(self, rows: Sequence[RowUpdate]) -> None:
        """Write why rows were not sent."""

    def replay(self) -> Iterator[WriteResult]:
        """Make the updates that an earlier run could not make, in pages."""

    def prove(self, row_id: int) -> None:
        """Make sure, before anything is sent, that rows can be written. Raises as ``translated``."""

    def recorded(self, *, wait: bool = False) -> Iterator[WriteResult]:
        """Yield what became of rows; with ``wait`` of all that were handed over. Raises what writing raised."""

    def close(self, *, drop: bool = False) -> None:
        """Write what waits, unless it is to be dropped: it is owed then, and the next run writes it."""


class StagingWriter:
    """Writes to the staging table, then marks the acknowledgements as written."""

    def __init__(self, staging: StagingTable, acks: Acknowledgements) -> None:
        self._staging = staging
        self._acks = acks
        self._thread: WriterThread[tuple[dict[bytes, int], Written]] = WriterThread()

    def sent(self, carried: Sequence[tuple[Submission, RecordAnswer]]) -> None:
        """Write that children were acknowledged; a row reloaded meanwhile stays as its loader left it."""
        changes = {s.child: _change(s, s.row, answer) for s, answer in carried if s.row is not None}
        deleted = {s.child for s, _ in carried if s.removes}
        self._write(
            {child: change.row.id for child, change in changes.items()},
            (RowOutcome.DELETED, [changes[child] for child in changes if child in deleted]),
            (RowOutcome.SENT, [changes[child] for child in changes if child not in deleted]),
        )

    def unchanged(self, rows: Sequence[Unchanged]) -> None:
        """Write that rows say what the receiver holds."""
        self._write(
            {one.child: one.row.id for one in rows if one.adopt},
            (RowOutcome.SENT, [RowUpdate(one.row, one.response) for one in rows if one.adopt]),
            # a purge that the row shows itself is left as it is
            (
                RowOutcome.DELETED,
                [RowUpdate(one.row, one.response) for one in rows if one.purged and not one.row.settled],
            ),
            (
                RowOutcome.UNCHANGED,
                [RowUpdate(one.row, one.response) for one in rows if not one.adopt and not one.purged],
            ),
        )

    def errors(self, rows: Sequence[RowUpdate]) -> None:
        """Write why rows were not sent; what a row says already is not written again."""
        news = [update for update in rows if not update.row.says(update.response)]
        if news:
            self._acks.overwritten([(row.id, row.response, message) for row, message, _ in news])
            self._write({}, (RowOutcome.ERROR, news))

    def _write(self, children: dict[bytes, int], *updates: tuple[RowOutcome, list[RowUpdate]]) -> None:
        if any(changes for _, changes in updates):
            self._thread.put(lambda: (children, self._record(updates)))

    def _record(self, updates: Iterable[tuple[RowOutcome, list[RowUpdate]]]) -> Written:
        written = (self._staging.record(outcome, changes) for outcome, changes in updates if changes)
        return reduce(or_, written, Written())

    def recorded(self, *, wait: bool = False) -> Iterator[WriteResult]:
        """Yield what became of rows, and note in the journal which acknowledgements are in the table now."""
        thread = self._thread
        for children, written in thread.finish() if wait else thread.results():
            self._written(children, written)
            yield WriteResult(len(written.reloaded), written.refused)

    def _written(self, children: Mapping[bytes, int], written: Written) -> None:
        late = [child for child, row_id in children.items() if row_id in written.reloaded]
        open_ones = written.reloaded | written.refused.keys()  # those refused stay owed
        done = [child for child, row_id in children.items() if row_id not in open_ones]
        if done or late:
            self._acks.written(done, stale=late)

    def close(self, *, drop: bool = False) -> None:
        """Write what waits, unless it is to be dropped; what that raises was raised already, or is found again."""
        self._thread.close(drop=drop)
        with suppress(DataflowsError):
            for _ in self.recorded():
                pass

    def prove(self, row_id: int) -> None:
        """Make sure, before anything is sent, that rows can be written. Raises as ``translated``."""
        self._staging.prove_writable(row_id)

    def replay(self) -> Iterator[WriteResult]:
        """Make the updates that an earlier run could not make, in pages."""
        for page in self._acks.owed():
            rows = {row.id: row for row in self._staging.rows([owed.row_id for owed in page])}
            written = self._replay(page, rows)
            self._written({owed.child: owed.row_id for owed in page}, written)
            yield WriteResult(len(page) - len(written.refused), written.refused)

    def _replay(self, page: Sequence[Owed], rows: dict[int, StagedRow]) -> Written:
        open_ones = [owed for owed in page if owed.row_id not in rows or rows[owed.row_id].response != owed.receipt]
        waiting = [one for one in open_ones if one.row_id in rows and rows[one.row_id].fingerprint == one.fingerprint]
        reloaded = {owed.row_id for owed in open_ones} - {owed.row_id for owed in waiting}
        deleted = [self._owed_change(one, rows) for one in waiting if one.write_back == WriteBack.DELETE]
        sent = [self._owed_change(one, rows) for one in waiting if one.write_back != WriteBack.DELETE]
        return Written(reloaded) | self._record([(RowOutcome.DELETED, deleted), (RowOutcome.SENT, sent)])

    def _owed_change(self, owed: Owed, rows: dict[int, StagedRow]) -> RowUpdate:
        row = rows[owed.row_id]
        guarded = row._replace(status=owed.status, row_state=owed.row_state)
        partial = sent_as_delta(self._acks, row) if owed.write_back == WriteBack.DELTA else None
        return RowUpdate(guarded, owed.receipt, partial)


class NullWriter:
    """Writes nothing (``--dry-run``, ``--rehearsal``)."""

    def sent(self, carried: Sequence[tuple[Submission, RecordAnswer]]) -> None:
        """Leave the table alone."""

    def unchanged(self, rows: Sequence[Unchanged]) -> None:
        """Leave the table alone."""

    def errors(self, rows: Sequence[RowUpdate]) -> None:
        """Leave the table alone."""

    def replay(self) -> Iterator[WriteResult]:
        """Do nothing."""
        return iter(())

    def prove(self, row_id: int) -> None:
        """Do nothing."""

    def recorded(self, *, wait: bool = False) -> Iterator[WriteResult]:
        """Tell nothing."""
        return iter(())

    def close(self, *, drop: bool = False) -> None:
        """Do nothing."""


def _change(submission: Submission, row: StagedRow, answer: RecordAnswer) -> RowUpdate:
    return RowUpdate(row, answer.detail, submission.requests[-1].decode() if submission.delta else None)
