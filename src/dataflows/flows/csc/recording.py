"""From answers to the staging table, the report and the events of the run.

The table is written in a thread of its own (``writer_thread``); everything else here runs in the main thread."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Generic, Protocol, TypeVar

from dataflows.errors import DataflowsError
from dataflows.events import Done, Event, Failed, Pending, Skipped, Warned
from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import RESET_NEEDED, Contradicted, InvalidRow, Submission, Superseded, Unchanged
from dataflows.flows.csc.delta import Sending
from dataflows.flows.csc.reading import CONTRADICTED, INVALID, SUPERSEDED, WITHHELD, child_of
from dataflows.flows.csc.receiver import RecordAnswer, RecordVerdict
from dataflows.flows.csc.records import Owed, WriteBack
from dataflows.flows.csc.schema import canonical
from dataflows.flows.csc.sending import SentBatch
from dataflows.flows.csc.staging import RowUpdate, StagedRow, StagingTable
from dataflows.flows.csc.write_back import RowOutcome, Written
from dataflows.runs.journal import Item, Journal

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
    """What became of rows that were handed to the books: how many had been reloaded, which were not written and why."""

    reloaded: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)


class ResultWriter(Protocol):
    """Where outcomes are written besides the journal; beside the requests, so what became of them is told later."""

    def sent(self, carried: Sequence[tuple[Submission, RecordAnswer]]) -> None:
        """Write that children were acknowledged."""

    def unchanged(self, rows: Sequence[Unchanged]) -> None:
        """Write that rows needed nothing."""

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> None:
        """Write why rows were not sent."""

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
        deleted = {s.child for s, _ in carried if s.sending is Sending.DELETE}
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

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> None:
        """Write why rows were not sent; what a row says already is not written again."""
        news = [RowUpdate(row, message) for row, message in rows if not _known(row, message)]
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
        return RowUpdate(guarded, owed.receipt, self._partial(row) if owed.write_back == WriteBack.DELTA else None)

    def _partial(self, row: StagedRow) -> str | None:
        """Work out once more, for people, what was sent: the row still shows what it was before."""
        before, after = child_of(row.previous), child_of(row.payload)
        if before is None or after is None:
            return None
        body = delta.changes(self._acks.skeleton(before), after).body
        return canonical(body).decode() if body is not None else None


class NullWriter:
    """Writes nothing (``--dry-run``, ``--rehearsal``)."""

    def sent(self, carried: Sequence[tuple[Submission, RecordAnswer]]) -> None:
        """Leave the table alone."""

    def unchanged(self, rows: Sequence[Unchanged]) -> None:
        """Leave the table alone."""

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> None:
        """Leave the table alone."""

    def recorded(self, *, wait: bool = False) -> Iterator[WriteResult]:
        """Tell nothing."""
        return iter(())

    def close(self, *, drop: bool = False) -> None:
        """Do nothing."""


class Recorder:
    """Turns decisions and answers into entries of the books, counts of the report, and events."""

    def __init__(self, books: ResultWriter, journal: Journal, run_id: str) -> None:
        self._books = books
        self._journal = journal
        self._run_id = run_id
        self.counts: Counter[str] = Counter()
        self._told: set[str] = set()  # why rows could not be written: each reason is told once

    def carried(self, carried: SentBatch) -> Iterator[Event]:
        """Record a batch that came back."""
        pairs = list(zip(carried.submissions, carried.answers, strict=True))
        accepted = [(s, a) for s, a in pairs if a.verdict is RecordVerdict.ACCEPTED]
        refused = [
            (s.row, a.detail)
            for s, a in pairs
            if a.detail and a.verdict is not RecordVerdict.ACCEPTED and s.row is not None
        ]
        self._books.sent(accepted)
        self._books.errors(refused)
        self.counts["batches"] += 1
        for submission, answer in pairs:
            self._count(submission, answer)
            yield self._event(submission, answer)
        yield from self.recorded()

    def recorded(self, *, wait: bool = False) -> Iterator[Event]:
        """Count what became of rows in the table; with ``wait`` of all rows that were handed over so far."""
        for one in self._books.recorded(wait=wait):
            self.counts["reloaded"] += one.reloaded
            yield from self.unwritten(one.refused)

    def unwritten(self, refused: Mapping[int, str]) -> Iterator[Event]:
        """Record rows that the table does not take: their outcome is in the journal, and tried again every night."""
        self.counts["unwritten"] += len(refused)
        for row_id, why in refused.items():
            if why not in self._told:
                self._told.add(why)
                yield Warned(f"row {row_id} cannot be written, and maybe others: {why}", hint=_REFUSED)
            yield Pending(str(row_id), "unwritten")

    def _count(self, submission: Submission, answer: RecordAnswer) -> None:
        counts = self.counts
        counts[submission.sending.value] += 1
        counts["untrusted"] += submission.untrusted
        counts["sent"] += answer.verdict is RecordVerdict.ACCEPTED
        refused = bool(answer.detail) and answer.verdict is not RecordVerdict.ACCEPTED
        counts["refused"] += refused
        counts["failed"] += refused

    def _event(self, submission: Submission, answer: RecordAnswer) -> Event:
        if answer.verdict is RecordVerdict.ACCEPTED:
            return Done(submission.key, submission.sending.value)
        if answer.detail:
            return self._failed(submission.key, submission.row, answer.code, answer.detail, written=answer.detail)
        return Pending(submission.key, answer.code)

    def unchanged(self, rows: Sequence[Unchanged]) -> Iterator[Event]:
        """Record rows that needed nothing."""
        if not rows:
            return
        self.counts["unchanged"] += len(rows)
        self._books.unchanged(rows)  # no item of the journal: a table staged anew would make it large every night
        for one in rows:
            yield Skipped(str(one.row.id), "unchanged")

    def invalid(self, rows: Sequence[InvalidRow]) -> Iterator[Event]:
        """Record rows that break a rule, or that need a purge which CSC_RESET=never forbids."""
        if not rows:
            return
        withheld = sum(one.code == RESET_NEEDED for one in rows)
        self.counts["withheld"] += withheld
        self.counts["invalid"] += len(rows) - withheld
        self.counts["failed"] += len(rows)
        messages = [(one.row, f"{WITHHELD if one.code == RESET_NEEDED else INVALID}{one.message}") for one in rows]
        self._books.errors(messages)
        items = [Item(str(one.row.id), "failed", 0, one.code, one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one, (row, message) in zip(rows, messages, strict=True):
            yield self._failed(str(row.id), row, one.code, one.message, written=message)

    def contradicted(self, rows: Sequence[Contradicted]) -> Iterator[Event]:
        """Record children of whom the table says two things."""
        if not rows:
            return
        self.counts["contradicted"] += len(rows)
        self._books.errors([(one.row, f"{CONTRADICTED}{one.message}") for one in rows if one.row is not None])
        items = [Item(one.key, "pending", 0, "contradicted", one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one in rows:
            yield Pending(one.key, "contradicted")

    def _failed(self, key: str, row: StagedRow | None, code: str, message: str, *, written: str) -> Failed:
        known = row is not None and _known(row, written)
        self.counts["known_errors" if known else "new_errors"] += 1
        return Failed(key, code, message, known=known)

    def superseded(self, rows: Sequence[Superseded]) -> Iterator[Event]:
        """Record rows that a newer row of the same child speaks for."""
        if not rows:
            return
        self.counts["superseded"] += len(rows)
        self._books.errors([(one.row, f"{SUPERSEDED}{one.by}") for one in rows])
        self._journal.record(self._run_id, [Item(str(one.row.id), "skipped", 0, "superseded") for one in rows])
        for one in rows:
            yield Skipped(str(one.row.id), f"superseded by row {one.by}")

    def withheld(self, keys: Sequence[str], code: str = "mass_delete") -> Iterator[Event]:
        """Record purges that the guard keeps back, or children that no row speaks for."""
        self.counts["held_back" if code == "mass_delete" else code] += len(keys)
        self._journal.record(self._run_id, [Item(key, "pending", 0, code) for key in keys])
        for key in keys:
            yield Pending(key, code)


_REFUSED = "nothing is lost or sent twice; compare the table with what is needed: dataflows test-schema"


def _known(row: StagedRow, message: str) -> bool:
    return row.failed and row.response == message


def _change(submission: Submission, row: StagedRow, answer: RecordAnswer) -> RowUpdate:
    return RowUpdate(row, answer.detail, submission.requests[-1].decode() if submission.delta else None)
