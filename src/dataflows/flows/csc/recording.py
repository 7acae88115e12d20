"""From answers to the staging table, the report and the events of the run. Runs in the main thread only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from dataflows.events import Done, Event, Failed, Pending, Skipped
from dataflows.flows.csc import delta
from dataflows.flows.csc.acknowledgements import Acknowledgements, Owed, WriteBack
from dataflows.flows.csc.answers import Answer, Verdict
from dataflows.flows.csc.decisions import Contradicted, Invalid, Submission, Superseded, Unchanged
from dataflows.flows.csc.delta import Sending
from dataflows.flows.csc.payload import canonical
from dataflows.flows.csc.reading import CONTRADICTED, INVALID, SUPERSEDED, child_of
from dataflows.flows.csc.sending import Carried
from dataflows.flows.csc.staging import Change, StagedRow, Staging
from dataflows.runs.journal import Item, Journal


class Books(Protocol):
    """Where outcomes are written besides the journal. Each method returns the ids of rows reloaded meanwhile."""

    def sent(self, carried: Sequence[tuple[Submission, Answer]]) -> set[int]:
        """Write that children were acknowledged."""

    def unchanged(self, rows: Sequence[Unchanged]) -> set[int]:
        """Write that rows needed nothing."""

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> set[int]:
        """Write why rows were not sent."""


class TableBooks:
    """Writes to the staging table, then marks the acknowledgements as written."""

    def __init__(self, staging: Staging, acks: Acknowledgements) -> None:
        self._staging = staging
        self._acks = acks

    def sent(self, carried: Sequence[tuple[Submission, Answer]]) -> set[int]:
        """Write that children were acknowledged; a row reloaded meanwhile stays as its loader left it."""
        changes = {s.child: _change(s, s.row, answer) for s, answer in carried if s.row is not None}
        deleted = {s.child for s, _ in carried if s.sending is Sending.DELETE}
        stale = self._staging.record_deleted([changes[child] for child in changes if child in deleted])
        stale |= self._staging.record_sent([changes[child] for child in changes if child not in deleted])
        self._written({child: change.row.id for child, change in changes.items()}, stale)
        return stale

    def unchanged(self, rows: Sequence[Unchanged]) -> set[int]:
        """Write that rows say what the receiver holds."""
        adopted = [Change(one.row, one.response) for one in rows if one.adopt]
        # a purge that the row shows itself is left as it is
        purged = [Change(one.row, one.response) for one in rows if one.purged and not one.row.settled]
        same = [Change(one.row, one.response) for one in rows if not one.adopt and not one.purged]
        stale = self._staging.record_sent(adopted) | self._staging.record_deleted(purged)
        stale |= self._staging.record_unchanged(same)
        self._written({one.child: one.row.id for one in rows if one.adopt}, stale)
        return stale

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> set[int]:
        """Write why rows were not sent; what a row says already is not written again."""
        news = [Change(row, message) for row, message in rows if not _known(row, message)]
        self._acks.overwritten([(row.id, row.response, message) for row, message, _ in news])
        return self._staging.record_errors(news)

    def _written(self, rows: dict[bytes, int], stale: set[int]) -> None:
        if rows:
            late = [child for child, row_id in rows.items() if row_id in stale]
            self._acks.written([child for child, row_id in rows.items() if row_id not in stale], stale=late)

    def replay(self) -> Iterator[Owed]:
        """Make the updates that an earlier run could not make; yields each."""
        for page in self._acks.owed():
            rows = {row.id: row for row in self._staging.rows([owed.row_id for owed in page])}
            stale = self._replay(page, rows)
            self._acks.written(
                [owed.child for owed in page if owed.row_id not in stale],
                stale=[owed.child for owed in page if owed.row_id in stale],
            )
            yield from page

    def _replay(self, page: Sequence[Owed], rows: dict[int, StagedRow]) -> set[int]:
        missing = {owed.row_id for owed in page if owed.row_id not in rows}
        waiting = [owed for owed in page if owed.row_id in rows and rows[owed.row_id].response != owed.receipt]
        deleted = [self._owed_change(one, rows) for one in waiting if one.write_back == WriteBack.DELETE]
        sent = [self._owed_change(one, rows) for one in waiting if one.write_back != WriteBack.DELETE]
        return missing | self._staging.record_deleted(deleted) | self._staging.record_sent(sent)

    def _owed_change(self, owed: Owed, rows: dict[int, StagedRow]) -> Change:
        row = rows[owed.row_id]
        guarded = row._replace(fingerprint=owed.fingerprint, status=owed.status, row_state=owed.row_state)
        return Change(guarded, owed.receipt, self._partial(row) if owed.write_back == WriteBack.DELTA else None)

    def _partial(self, row: StagedRow) -> str | None:
        """Work out once more, for people, what was sent: the row still shows what it was before."""
        before, after = child_of(row.previous), child_of(row.payload)
        if before is None or after is None:
            return None
        body = delta.changes(self._acks.skeleton(before), after).body
        return canonical(body).decode() if body is not None else None


class NoBooks:
    """Writes nothing (``--dry-run``, ``--rehearsal``)."""

    def sent(self, carried: Sequence[tuple[Submission, Answer]]) -> set[int]:
        """Leave the table alone."""
        return set()

    def unchanged(self, rows: Sequence[Unchanged]) -> set[int]:
        """Leave the table alone."""
        return set()

    def errors(self, rows: Sequence[tuple[StagedRow, str]]) -> set[int]:
        """Leave the table alone."""
        return set()


class Recorder:
    """Turns decisions and answers into entries of the books, counts of the report, and events."""

    def __init__(self, books: Books, journal: Journal, run_id: str) -> None:
        self._books = books
        self._journal = journal
        self._run_id = run_id
        self.counts: Counter[str] = Counter()

    def carried(self, carried: Carried) -> Iterator[Event]:
        """Record a batch that came back."""
        pairs = list(zip(carried.submissions, carried.answers, strict=True))
        accepted = [(s, a) for s, a in pairs if a.verdict is Verdict.ACCEPTED]
        refused = [
            (s.row, a.detail) for s, a in pairs if a.detail and a.verdict is not Verdict.ACCEPTED and s.row is not None
        ]
        reloaded = self._books.sent(accepted)
        self._books.errors(refused)
        self.counts["batches"] += 1
        self.counts["reloaded"] += len(reloaded)
        for submission, answer in pairs:
            self._count(submission, answer)
            yield self._event(submission, answer)

    def _count(self, submission: Submission, answer: Answer) -> None:
        counts = self.counts
        counts[submission.sending.value] += 1
        counts["untrusted"] += submission.untrusted
        counts["sent"] += answer.verdict is Verdict.ACCEPTED
        refused = bool(answer.detail) and answer.verdict is not Verdict.ACCEPTED
        counts["refused"] += refused
        counts["failed"] += refused

    def _event(self, submission: Submission, answer: Answer) -> Event:
        if answer.verdict is Verdict.ACCEPTED:
            return Done(submission.key, submission.sending.value)
        if answer.detail:
            return self._failed(submission.key, submission.row, answer.code, answer.detail, written=answer.detail)
        return Pending(submission.key, answer.code)

    def unchanged(self, rows: Sequence[Unchanged]) -> Iterator[Event]:
        """Record rows that needed nothing."""
        if not rows:
            return
        self.counts["unchanged"] += len(rows)
        self._books.unchanged(rows)
        self._journal.record(self._run_id, [Item(str(one.row.id), "skipped", 0, "unchanged") for one in rows])
        for one in rows:
            yield Skipped(str(one.row.id), "unchanged")

    def invalid(self, rows: Sequence[Invalid]) -> Iterator[Event]:
        """Record rows that cannot be sent."""
        if not rows:
            return
        self.counts["invalid"] += len(rows)
        self.counts["failed"] += len(rows)
        messages = [(one.row, f"{INVALID}{one.message}") for one in rows]
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
        items = [Item(one.key, "failed", 0, "contradicted", one.message) for one in rows]
        self._journal.record(self._run_id, items)
        for one in rows:
            yield self._failed(one.key, one.row, "contradicted", one.message, written=f"{CONTRADICTED}{one.message}")

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


def _known(row: StagedRow, message: str) -> bool:
    return row.failed and row.response == message


def _change(submission: Submission, row: StagedRow, answer: Answer) -> Change:
    return Change(row, answer.detail, submission.requests[-1].decode() if submission.delta else None)
