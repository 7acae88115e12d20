"""The wording of outcomes, figures and durations, and lines that a terminal takes as they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from dataflows.errors import DataflowsError
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from dataflows.runs.runner import Outcome


_NO_READER = (errno.EPIPE, errno.EINVAL)  # Windows says that the argument is invalid


def write_line(text: str, stream: TextIO) -> None:
    """Print a line at once. When its reader has gone, it goes nowhere: the work and the exit code still count."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno not in _NO_READER:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_ALWAYS = ("rows", "sent", "failed")  # figures that say something when they are zero, too
_WORDS = {"skipped": "unchanged"}


def named(key: str) -> str:
    """An item as the operator knows it: a bare number is the row of that id."""
    return f"row {key}" if key.isdecimal() else key


def took(seconds: float) -> str:
    """A length of time; short ones with a decimal, since ``0 s`` tells nothing."""
    return f"{seconds:.1f} s" if seconds < 10 else span(seconds)


def failure_document(error: DataflowsError) -> dict[str, object]:
    """The JSON document of a command that could not run."""
    return {
        "run_id": None,
        "status": "failed",
        "exit_code": int(error.exit_code),
        "error": error_entry(error.entry),
    }


def error_entry(entry: dict[str, str] | None) -> dict[str, str] | None:
    """The ``error`` of a JSON document, with a hint that can be pasted."""
    return entry and {**entry, "hint": pasteable(entry["hint"])}


def outcome_document(outcome: Outcome) -> dict[str, object]:
    """The JSON document of a run: its figures, the fields of its report, its error."""
    head = {
        "run_id": outcome.run_id,
        "command": outcome.command,
        "status": outcome.state,
        "exit_code": int(outcome.exit_code),
        "counts": outcome.counts,
        "seconds": round(outcome.seconds, 3),
    }
    error = outcome.error.entry if outcome.error else None
    return {**head, **outcome.report, "error": error_entry(error)}


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Counts for the last line; done and failed always, others when there are any."""
    shown = {name: count for name, count in counts.items() if count or name in ("done", "failed")}
    return ", ".join(f"{count} {_WORDS.get(name, name)}" for name, count in shown.items())


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


def columns_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def span(seconds: float | None) -> str:
    """A length of time as people say it: ``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds or 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
