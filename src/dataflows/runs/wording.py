"""The wording of what runs come to, for the terminal and for pages: figures, lengths of time, failed items as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflows.runs.nights import JobStatus
    from dataflows.runs.records import Item

_ALWAYS = ("rows", "sent", "failed")  # figures that say something when they are zero, too
WORDS = {"skipped": "unchanged"}


def took(seconds: float) -> str:
    """A length of time; short ones with a decimal, since ``0 s`` tells nothing."""
    return f"{seconds:.1f} s" if seconds < 10 else span(seconds)


def span(seconds: float | None) -> str:
    """A length of time as people say it: ``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds or 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Counts for the last line; done and failed always, others when there are any."""
    shown = {name: count for name, count in counts.items() if count or name in ("done", "failed")}
    return ", ".join(f"{count} {WORDS.get(name, name)}" for name, count in shown.items())


def facts_of(report: Mapping[str, object], prefix: str = "", *, dry_run: bool = False) -> list[list[str]]:
    """A report as lines of name and value; lists are for the JSON document only."""
    facts: list[list[str]] = []
    for name, value in report.items():
        if name == "dry_run":
            continue
        label = "would send" if dry_run and name == "sent" else f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            facts += facts_of(value, f"{label} ", dry_run=dry_run)
        elif value == 0 and name not in _ALWAYS:
            continue
        elif value is not None and not isinstance(value, (list, tuple)):
            facts.append([label, f"{value:.1f}" if isinstance(value, float) else str(value)])
    return facts


def summary(jobs: Sequence[JobStatus]) -> str:
    """Say it all in one line."""
    if not jobs:
        return "no job ran, and none is installed"
    need = sum(job.verdict.needs_a_person for job in jobs)
    whole = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
    if need == 0:
        return "all is well with the one job" if len(jobs) == 1 else f"all is well with all {whole}"
    return f"{need} of {whole} need{'s' * (need == 1)} you"


def failed_csv(failures: Iterable[Item]) -> Iterator[bytes]:
    """Yield failed items for a spreadsheet, line by line: UTF-8 with its mark, no cell that is taken for a formula."""
    encoding = "utf-8-sig"
    rows = ((i.key, i.code or "", i.message or "") for i in failures)
    for row in chain([("item", "code", "message")], rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow([_inert(cell) for cell in row])
        yield text.getvalue().encode(encoding)
        encoding = "utf-8"


def _inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
