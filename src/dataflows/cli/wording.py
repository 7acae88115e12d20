"""The documents of outcomes, and lines that a terminal takes as they are."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
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


def named(key: str) -> str:
    """An item as the operator knows it: a bare number is the row of that id."""
    return f"row {key}" if key.isdecimal() else key


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


def columns_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
