"""What an operator sees of a run while it goes: its events, its progress and, at the end, what failed.

A helper of ``output``, loaded by the commands that run a job.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from dataflows.cli.progress import Bar, LineProgress, Progress, Silent
from dataflows.cli.wording import named
from dataflows.events import Done, Event, Failed, Pending, Skipped, Tally

FAILURES_SHOWN = 20


class Watch:
    """Takes the events of one run. ``detail`` is called with the line of an item that only ``--verbose`` shows."""

    def __init__(self, title: str, *, quiet: bool, color: bool, detail: Callable[[str], None] | None = None) -> None:
        self.failures = Failures(FAILURES_SHOWN)
        self.face: Progress = _face(title, quiet=quiet, color=color)
        self._detail = detail
        self._tally = Tally()

    def take(self, event: Event) -> None:
        """Count an event and show it."""
        self._tally.add(event)
        if isinstance(event, Failed):
            self.failures.add(event)
        if self._detail is not None and (text := item_line(event)):
            self._detail(text)
        self.face.show(event, self._tally)


class Failures:
    """The first failures of a run, new ones before those that an earlier run already reported."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: list[Failed] = []
        self._known: list[Failed] = []
        self.count = 0

    def add(self, failure: Failed) -> None:
        """Count a failure, and keep it while there is room."""
        self.count += 1
        kept = self._known if failure.known else self._new
        if len(kept) < self._most:
            kept.append(failure)

    def lines(self) -> list[str]:
        """The failures that were kept, one line each."""
        return [item_line(failure) for failure in [*self._new, *self._known][: self._most]]

    @property
    def more(self) -> int:
        """How many there are beyond those lines."""
        return max(self.count - self._most, 0)


def item_line(event: Event) -> str:
    """The line of an event about a single item, empty for other events."""
    match event:
        case Failed(key=key, code=code, message=message, known=known):
            return f"failed  {named(key)}  {code}  {message}{'  (known)' if known else ''}"
        case Done(key=key, note=note):
            return f"done  {named(key)}  {note}".rstrip()
        case Skipped(key=key, why=why):
            return f"unchanged  {named(key)}  {why}".rstrip()
        case Pending(key=key, code=code):
            return f"pending  {named(key)}  {code}"
        case _:
            return ""


def _face(title: str, *, quiet: bool, color: bool) -> Progress:
    if quiet:
        return Silent()
    live = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return Bar(title, color=color) if live else LineProgress(title)
