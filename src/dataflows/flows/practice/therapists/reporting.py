"""What a run tells of its files: events, journal items, and the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from dataflows.events import Done, Event, Failed, Planned, Skipped, Warned
from dataflows.flows.practice.notices import Message, section, summary
from dataflows.flows.practice.therapists.importing import NOT_READY, FileOutcome, meaning
from dataflows.flows.practice.therapists.tracking import (
    ATTEMPTS,
    FAILED,
    SUCCESS,
    SUSPICIOUS,
    Due,
    FileNews,
    TrackedFile,
)
from dataflows.runs.journal import Item
from dataflows.runs.runner import Run

_FILES = ("seen", "imported", "skipped", "failed", "dead", "superseded", "not_ready", "other")
_THERAPISTS = ("new", "updated", "unchanged", "deleted", "revived", "refused", "older", "locations", "erased")
_MOST_WARNINGS = 20  # shown one by one; all are counted, and told file by file in the report
_MOST_FILES = 1000
_SAVE_EVERY_SECONDS, _SAVE_ITEMS = 0.5, 500  # the journal is flushed to the disk each time
_WAITING: dict[Due, str] = {"done": "", "waiting": "failed within the last hour", "dead": "given up"}


class Reporter:
    """Counts for one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.files = Counter[str]()
        self.therapists = Counter[str]()
        self.fields = Counter[str]()
        self.warnings = Counter[str]()
        self.mismatches = 0
        self.suspicious: list[str] = []
        self._entries: list[dict[str, object]] = []
        self._items: list[Item] = []
        self._saved = time.monotonic()
        self._warned = 0
        self._planned = 0
        self.fill()

    def planned(self, files: int) -> Event:
        """How many files there are; each refused entry is an item of its own beside them."""
        self._planned = files
        return Planned(files, "files")

    def skipped(self, name: str, why: Due, tracked: TrackedFile | None) -> Event:
        """A file that is not tried now; a failure all the same while it, or an entry of it, is not written."""
        self.files["skipped"] += 1
        self.files["dead"] += why == "dead"
        self._record([Item(name, "skipped", 0, why)])
        if why == "done" or tracked is None:
            return Skipped(name, _WAITING[why])
        return Failed(name, tracked.status, f"{meaning(tracked.error or '')}; {_WAITING[why]}", known=True)

    def ended(self, outcome: FileOutcome) -> Iterator[Event]:
        """A file that was tried."""
        name, status = outcome.look.found.name, outcome.verdict.status
        if status == NOT_READY:
            yield self.not_ready(name)
            return
        self._add(outcome)
        self._record(self._items_of(outcome))
        if status == FAILED:
            yield self._failure(outcome)
        else:
            yield Done(name, self._words(outcome))
            yield from self._refused(outcome)
        yield from self._remarks(outcome)

    def not_ready(self, name: str) -> Event:
        """A file that somebody is still writing."""
        self.files["not_ready"] += 1
        return Skipped(name, "not ready: it is still being written")

    def fill(self) -> None:
        """Bring the report and the journal of the run up to date."""
        self._save()
        self._run.report.update(
            files={name: self.files[name] for name in _FILES},
            therapists={name: self.therapists[name] for name in _THERAPISTS},
            mismatches=self.mismatches,
            warnings=sum(self.warnings.values()),
            remarks=dict(sorted(self.warnings.items())),
            fields=dict(sorted(self.fields.items())),
            items=self._entries,
        )

    def _record(self, items: list[Item]) -> None:
        self._items += items
        if len(self._items) >= _SAVE_ITEMS or time.monotonic() - self._saved > _SAVE_EVERY_SECONDS:
            self._save()

    def _save(self) -> None:
        if self._items:
            self._run.journal.record(self._run.id, self._items)
            self._items = []
        self._saved = time.monotonic()

    # --- one file ---------------------------------------------------------------------------------------------

    def _add(self, outcome: FileOutcome) -> None:
        figures, verdict = outcome.figures, outcome.verdict
        self.files["failed" if verdict.status == FAILED else "imported"] += 1
        self.therapists.update({name: getattr(figures, name) for name in _THERAPISTS})
        self.fields.update(figures.fields)
        self.mismatches += figures.status_mismatch
        self.warnings.update({code: remark.count for code, remark in figures.remarks.items()})
        if verdict.status == FAILED and (verdict.error or "").startswith(SUSPICIOUS):
            self.suspicious.append(f"{outcome.look.found.name} ({meaning(verdict.error or '')})")
        if (verdict.status != SUCCESS or figures.remarks) and len(self._entries) < _MOST_FILES:
            self._entries.append(self._entry(outcome))

    def _entry(self, outcome: FileOutcome) -> dict[str, object]:
        figures = outcome.figures
        return {
            "file": outcome.look.found.name,
            "status": outcome.verdict.status,
            "error": outcome.verdict.error,
            "attempts": outcome.attempts,
            "refused": [{"entry": one.at, "code": one.code, "path": one.path} for one in figures.first_refused],
            "remarks": {
                code: {"count": one.count, "entries": one.first} for code, one in sorted(figures.remarks.items())
            },
        }

    def _items_of(self, outcome: FileOutcome) -> list[Item]:
        name, verdict = outcome.look.found.name, outcome.verdict
        state = "failed" if verdict.status == FAILED else "done"
        whole = Item(name, state, outcome.attempts, verdict.error and verdict.status, verdict.error)
        return [
            whole,
            *(Item(f"{name}#{one.at}", "failed", 1, one.code, one.path) for one in outcome.figures.first_refused),
        ]

    def _failure(self, outcome: FileOutcome) -> Failed:
        code = outcome.verdict.error or FAILED
        return Failed(outcome.look.found.name, code, meaning(code), known=outcome.known)

    def _refused(self, outcome: FileOutcome) -> Iterator[Event]:
        name, figures = outcome.look.found.name, outcome.figures
        if figures.first_refused:
            self._planned += len(figures.first_refused)
            yield Planned(self._planned, "files, refused entries")
        for one in figures.first_refused:
            yield Failed(f"{name}#{one.at}", one.code, one.path, known=outcome.known)
        if more := figures.refused - len(figures.first_refused):
            yield Warned(f"{name}: {more} more entries were refused", reason="therapists-remarks")

    def _remarks(self, outcome: FileOutcome) -> Iterator[Event]:
        if not outcome.figures.remarks:
            return
        self._warned += 1
        if self._warned <= _MOST_WARNINGS:
            yield Warned(
                f"{outcome.look.found.name}: {'; '.join(outcome.figures.words())}", reason="therapists-remarks"
            )
        elif self._warned == _MOST_WARNINGS + 1:
            yield Warned("more files have remarks: all of them are counted in the report", reason="therapists-remarks")

    @staticmethod
    def _words(outcome: FileOutcome) -> str:
        figures = outcome.figures
        counts = {
            name: getattr(figures, name) for name in ("new", "updated", "unchanged", "deleted", "refused", "erased")
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no entries"


_SECTIONS = {
    "dead": f"Given up after {ATTEMPTS} attempts; tried again when the file changes, or by --reprocess:",
    "failed": f"Failed, in whole or in part, for the first time; tried again after an hour, {ATTEMPTS} times at most:",
    "recovered": "Imported after all:",
}


def message(news: Sequence[FileNews], run_id: str) -> Message:
    """Word one mail about everything that is new."""
    counted = summary(tuple(_SECTIONS), [one.state for one in news])
    lines = [f"therapist-import, run {run_id[:8]}: {counted}."]
    for state, title in _SECTIONS.items():
        lines += section(title, [_line(one) for one in news if one.state == state])
    if any((one.error or "").startswith(SUSPICIOUS) and one.state != "recovered" for one in news):
        lines += ["", "Files that delete too many at once wait until somebody has checked. If they are right:", ""]
        lines += ["    dataflows therapist-import --allow-mass-delete"]
    lines += ["", "What was wrong with single entries, by their index in the file (the first one is 0):", ""]
    lines += [f"    dataflows runs show {run_id[:8]} --failed", ""]
    return Message(f"therapist-import: {counted}", "\n".join(lines))


def _line(one: FileNews) -> str:
    """The file and the stable name of what is wrong; with the figures where somebody has to decide by them."""
    if not one.error:
        return one.file_name
    return (
        f"{one.file_name}  {f'{SUSPICIOUS}: {meaning(one.error)}' if one.error.startswith(SUSPICIOUS) else one.error}"
    )
