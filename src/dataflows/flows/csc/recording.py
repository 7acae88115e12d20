"""From decisions and answers to the staging table, the journal, the report and the events of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from dataflows.events import Done, Event, Failed, Pending, Skipped, Warned
from dataflows.flows.csc.answers import RecordAnswer, RecordVerdict, SentBatch
from dataflows.flows.csc.decisions import RESET_NEEDED, Contradicted, InvalidRow, Submission, Superseded, Unchanged
from dataflows.flows.csc.reading import CONTRADICTED, INVALID, SUPERSEDED, WITHHELD
from dataflows.flows.csc.table import RowUpdate
from dataflows.flows.csc.writers import NullWriter, ResultWriter, StagingWriter
from dataflows.runs.journal import Item, Journal

if TYPE_CHECKING:
    from dataflows.flows.csc.workspace import Workspace
    from dataflows.runs.runner import Run

T = TypeVar("T")

_REFUSED = "nothing is lost or sent twice; compare the table with what is needed: dataflows test-schema"


class Recorder:
    """Turns decisions and answers into updates of the table, counts of the report, and events."""

    def __init__(self, writer: ResultWriter, journal: Journal, run_id: str) -> None:
        self._writer = writer
        self._journal = journal
        self._run_id = run_id
        self.prove, self.close = writer.prove, writer.close
        self.counts: Counter[str] = Counter()
        self._reasons: set[str] = set()  # why rows could not be written: each reason is told once

    @classmethod
    def of(cls, workspace: Workspace, run: Run) -> Recorder:
        """Return the one of a run."""
        staging, acks = workspace.staging, workspace.acks
        return cls(StagingWriter(staging, acks) if workspace.options.writes else NullWriter(), run.journal, run.id)

    def read(self, pages: Iterable[list[T]]) -> Iterator[list[T]]:
        """Count the rows of pages on their way."""
        for page in pages:
            self.counts["rows"] += len(page)
            yield page

    def carried(self, sent: SentBatch) -> Iterator[Event]:
        """Record a batch that came back."""
        pairs = list(zip(sent.submissions, sent.answers, strict=True))
        self._writer.sent([(s, a) for s, a in pairs if a.verdict is RecordVerdict.ACCEPTED])
        self._writer.errors([RowUpdate(s.row, a.words) for s, a in pairs if a.words and s.row is not None])
        self.counts["batches"] += 1
        for submission, answer in pairs:
            self._count(submission, answer)
            yield self._event(submission, answer)
        yield from self.recorded()

    def recorded(self, *, wait: bool = False) -> Iterator[Event]:
        """Count what became of rows in the table; with ``wait`` of all rows that were handed over so far."""
        for one in self._writer.recorded(wait=wait):
            self.counts["reloaded"] += one.reloaded
            yield from self.unwritten(one.refused)

    def replayed(self) -> Iterator[Event]:
        """Make the updates of the table that an earlier run could not make."""
        for one in self._writer.replay():
            self.counts["replayed"] += one.reloaded
            yield from self.unwritten(one.refused)

    def unwritten(self, refused: Mapping[int, str]) -> Iterator[Event]:
        """Record rows that the table does not take: their outcome is in the journal, and tried again every night."""
        self.counts["unwritten"] += len(refused)
        for row_id, why in refused.items():
            if why not in self._reasons:
                self._reasons.add(why)
                yield Warned(
                    f"row {row_id} cannot be written, and maybe others: {why}", reason="row-not-writable", hint=_REFUSED
                )
            yield Pending(str(row_id), "unwritten")

    def _count(self, submission: Submission, answer: RecordAnswer) -> None:
        counts = self.counts
        counts[submission.sending.value] += 1
        counts["untrusted"] += submission.untrusted
        counts["sent"] += answer.verdict is RecordVerdict.ACCEPTED
        counts["refused"] += answer.words is not None
        counts["failed"] += answer.words is not None

    def _event(self, submission: Submission, answer: RecordAnswer) -> Event:
        if answer.verdict is RecordVerdict.ACCEPTED:
            return Done(submission.key, submission.sending.value)
        if answer.words:
            known = submission.row is not None and submission.row.says(answer.words)
            return self._failed(submission.key, answer.code, answer.words, known=known)
        return Pending(submission.key, answer.code)

    def unchanged(self, rows: Sequence[Unchanged]) -> Iterator[Event]:
        """Record rows that needed nothing."""
        if not rows:
            return
        self.counts["unchanged"] += len(rows)
        self._writer.unchanged(rows)  # no item of the journal: a table staged anew would make it large every night
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
        updates = [
            RowUpdate(one.row, f"{WITHHELD if one.code == RESET_NEEDED else INVALID}{one.message}") for one in rows
        ]
        self._writer.errors(updates)
        items = [Item(str(one.row.id), "failed", 0, one.code, one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one, update in zip(rows, updates, strict=True):
            yield self._failed(str(one.row.id), one.code, one.message, known=one.row.says(update.response))

    def contradicted(self, rows: Sequence[Contradicted]) -> Iterator[Event]:
        """Record children of whom the table says two things."""
        if not rows:
            return
        self.counts["contradicted"] += len(rows)
        self._writer.errors([RowUpdate(one.row, f"{CONTRADICTED}{one.message}") for one in rows if one.row is not None])
        items = [Item(one.key, "pending", 0, "contradicted", one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one in rows:
            yield Pending(one.key, "contradicted")

    def _failed(self, key: str, code: str, message: str, *, known: bool) -> Failed:
        self.counts["known_errors" if known else "new_errors"] += 1
        return Failed(key, code, message, known=known)

    def superseded(self, rows: Sequence[Superseded]) -> Iterator[Event]:
        """Record rows that a newer row of the same child speaks for."""
        if not rows:
            return
        self.counts["superseded"] += len(rows)
        self._writer.errors([RowUpdate(one.row, f"{SUPERSEDED}{one.by}") for one in rows])
        self._journal.record(self._run_id, [Item(str(one.row.id), "skipped", 0, "superseded") for one in rows])
        for one in rows:
            yield Skipped(str(one.row.id), f"superseded by row {one.by}")

    def withheld(self, keys: Sequence[str], code: str = "mass_delete") -> Iterator[Event]:
        """Record purges that the guard keeps back, or children that no row speaks for."""
        self.counts["held_back" if code == "mass_delete" else code] += len(keys)
        self._journal.record(self._run_id, [Item(key, "pending", 0, code) for key in keys])
        for key in keys:
            yield Pending(key, code)
