"""What an operator sees of a run while it goes: its events, and at the end what failed.

Progress has three faces on stderr: a live bar on a terminal, a line now and then elsewhere, or nothing. A helper of
``output``, loaded by the commands that run a job.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from dataflows.cli.wording import named, write_line
from dataflows.errors import marked
from dataflows.events import Done, Event, Failed, Pending, Planned, Reached, Retrying, Skipped, Step, Tally, Waiting
from dataflows.runs.wording import span

LINE_EVERY_SECONDS = 5.0
FAILURES_SHOWN = 20
_REFRESH_PER_SECOND = 4

Clock = Callable[[], float]


class Progress(Protocol):
    """What shows how far a run has come."""

    def show(self, event: Event, tally: Tally) -> None:
        """Take one event in; ``tally`` already counts it."""

    def say(self, text: str, style: str = "") -> None:
        """Print a line on stderr without disturbing what is shown. ``style`` counts on a terminal only."""

    def close(self) -> None:
        """Take the progress off the screen."""


class ProgressState:
    """How far a run has come, in figures."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._wait_ends = 0.0
        self._wait = ""
        self._reached = Reached(0, "")
        self.total: int | None = None
        self.what = "items"
        self.step = ""
        self.tally = Tally()

    def take(self, event: Event, tally: Tally) -> None:
        """Remember what the event says beyond the counts."""
        self.tally = tally
        match event:
            case Planned(total=total, what=what):
                self.total, self.what = total, what
            case Step(text=text):
                self.step = text
            case Retrying():
                self._wait = f"for {event.service} (attempt {event.attempt}: {event.why})"
                self._wait_ends = self._clock() + event.wait
            case Waiting(seconds=seconds, why=why):
                self._wait = f"({why})"
                self._wait_ends = self._clock() + seconds
            case Reached():
                self._reached = event
            case _:
                pass

    @property
    def ended(self) -> int:
        """Items that were brought to an end, whichever."""
        return self.tally.done + self.tally.failed + self.tally.skipped + self.tally.pending

    @property
    def advanced(self) -> int:
        """Items that were brought to an end, and those that wait for nothing but a last step taken together."""
        return self.ended + self._reached.count

    @property
    def rate(self) -> float:
        """Items per second since the start."""
        return self.advanced / max(self._clock() - self._began, 0.001)

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate, None while nobody can know."""
        if self.total is None or not self.advanced or self.advanced * 100 < self.total:
            return None  # the first items of a run that had to wait would promise hours
        return max(self.total - self.advanced, 0) / self.rate

    def share(self) -> str:
        """How many of how many."""
        return f"{self.advanced}/{self.total} {self.what}" if self.total is not None else f"{self.advanced} {self.what}"

    def counts(self) -> str:
        """The counts in words."""
        tally = self.tally
        parts = [f"{tally.done} done", f"{tally.failed} failed"]
        parts += [f"{tally.skipped} unchanged"] if tally.skipped else []
        reached = self._reached
        parts += [f"{reached.count} {reached.what}"] if reached.count else []
        open_items = tally.pending if self.total is None else max(self.total - self.advanced, 0) + tally.pending
        return ", ".join([*parts, f"{open_items} pending"])

    def doing(self) -> str:
        """The current step, or the wait for a service that asked for patience."""
        seconds = self._wait_ends - self._clock()
        return f"waiting {seconds:.0f} s {self._wait}" if seconds > 0.5 else self.step


class Silent:
    """For ``--quiet``: no progress; what has to be said is said."""

    def show(self, event: Event, tally: Tally) -> None:
        """Show nothing."""

    def say(self, text: str, style: str = "") -> None:
        """Print a line on stderr."""
        write_line(text, sys.stderr)

    def close(self) -> None:
        """There is nothing to close."""


class LineProgress(Silent):
    """For pipes and schedulers: a line every few seconds at most, without colour or control characters."""

    def __init__(self, title: str, clock: Clock = time.monotonic) -> None:
        self._title = title
        self._clock = clock
        self._standing = ProgressState(clock)
        self._last = clock()
        self._last_wait = clock() - LINE_EVERY_SECONDS

    def show(self, event: Event, tally: Tally) -> None:
        """Print the state of things when the last line is old enough, so that short runs stay silent.

        A long wait is said at its start, since nothing else happens until its end.
        """
        self._standing.take(event, tally)
        now = self._clock()
        wait = event.wait if isinstance(event, Retrying) else event.seconds if isinstance(event, Waiting) else 0.0
        if wait >= LINE_EVERY_SECONDS:
            due = now - self._last_wait >= LINE_EVERY_SECONDS
            self._last_wait = now
        else:
            due = now - self._last >= LINE_EVERY_SECONDS
        if due:
            self._last = now
            self.say(self._line())

    def _line(self) -> str:
        standing = self._standing
        of = f" of {standing.total}" if standing.total is not None else ""
        left = f", {span(standing.left)} left" if standing.left is not None else ""
        doing = f"; {standing.doing()}" if standing.doing() else ""
        return (
            f"{self._title}: {standing.advanced}{of} {standing.what}, {standing.counts()}, "
            f"{standing.rate:.1f}/s{left}{doing}"
        )


class Bar:
    """For terminals: two live lines, drawn by rich a few times per second however fast the events come."""

    def __init__(self, title: str, *, color: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._title = title
        self._standing = ProgressState()
        console = Console(stderr=True, no_color=not color, highlight=False, markup=False)
        self._live: Any = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def show(self, event: Event, tally: Tally) -> None:
        """Take the event in; the next refresh draws it."""
        self._standing.take(event, tally)

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the bar."""
        self._live.console.print(text, style=style or None, soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._live.stop()

    def _draw(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        standing = self._standing
        total = standing.total
        lines = Table.grid(padding=(0, 1), expand=True)
        for column in range(3):
            lines.add_column(ratio=1 if column == 1 else None, no_wrap=True)
        left = f" {span(standing.left)} left" if standing.left is not None else ""
        bar = ProgressBar(total=total or None, completed=standing.advanced, pulse=not total)
        lines.add_row(self._title, bar, f"{standing.share()} {standing.rate:.1f}/s{left}")
        page = Table.grid(expand=True)
        page.add_row(lines)
        doing = standing.doing()
        page.add_row(Text(f"  {standing.counts()}{'; ' if doing else ''}{doing}", no_wrap=True, overflow="ellipsis"))
        return page


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
        case Failed(key=key, code=code, message=message, known=known, reason=reason):
            return f"failed  {named(key)}  {code}  {marked(message, reason)}{'  (known)' if known else ''}"
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
