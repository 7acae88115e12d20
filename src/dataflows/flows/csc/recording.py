"""From decisions and answers to the staging table, the journal, the report and the events of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dataflows.events import Done, Event, Failed, Pending, Skipped, Warned
from dataflows.flows.csc.decisions import RESET_NEEDED, Contradicted, InvalidRow, Submission, Superseded, Unchanged
from dataflows.flows.csc.reading import CONTRADICTED, INVALID, SUPERSEDED, WITHHELD
from dataflows.flows.csc.receiver import RecordAnswer, RecordVerdict
from dataflows.flows.csc.sending import SentBatch
from dataflows.flows.csc.table import StagedRow
from dataflows.flows.csc.writers import ResultWriter, is_known
from dataflows.runs.journal import Item, Journal

_REFUSED = "nothing is lost or sent twice; compare the table with what is needed: dataflows test-schema"


class Recorder:
    """Turns decisions and answers into updates of the table, counts of the report, and events."""

    def __init__(self, writer: ResultWriter, journal: Journal, run_id: str) -> None:
        self._writer = writer
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
        self._writer.sent(accepted)
        self._writer.errors(refused)
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
        messages = [(one.row, f"{WITHHELD if one.code == RESET_NEEDED else INVALID}{one.message}") for one in rows]
        self._writer.errors(messages)
        items = [Item(str(one.row.id), "failed", 0, one.code, one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one, (row, message) in zip(rows, messages, strict=True):
            yield self._failed(str(row.id), row, one.code, one.message, written=message)

    def contradicted(self, rows: Sequence[Contradicted]) -> Iterator[Event]:
        """Record children of whom the table says two things."""
        if not rows:
            return
        self.counts["contradicted"] += len(rows)
        self._writer.errors([(one.row, f"{CONTRADICTED}{one.message}") for one in rows if one.row is not None])
        items = [Item(one.key, "pending", 0, "contradicted", one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one in rows:
            yield Pending(one.key, "contradicted")

    def _failed(self, key: str, row: StagedRow | None, code: str, message: str, *, written: str) -> Failed:
        known = row is not None and is_known(row, written)
        self.counts["known_errors" if known else "new_errors"] += 1
        return Failed(key, code, message, known=known)

    def superseded(self, rows: Sequence[Superseded]) -> Iterator[Event]:
        """Record rows that a newer row of the same child speaks for."""
        if not rows:
            return
        self.counts["superseded"] += len(rows)
        self._writer.errors([(one.row, f"{SUPERSEDED}{one.by}") for one in rows])
        self._journal.record(self._run_id, [Item(str(one.row.id), "skipped", 0, "superseded") for one in rows])
        for one in rows:
            yield Skipped(str(one.row.id), f"superseded by row {one.by}")

    def withheld(self, keys: Sequence[str], code: str = "mass_delete") -> Iterator[Event]:
        """Record purges that the guard keeps back, or children that no row speaks for."""
        self.counts["held_back" if code == "mass_delete" else code] += len(keys)
        self._journal.record(self._run_id, [Item(key, "pending", 0, code) for key in keys])
        for key in keys:
            yield Pending(key, code)
