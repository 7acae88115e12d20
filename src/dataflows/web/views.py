"""What the console shows, as values: a run in its card, all that is known of one, and the nights as a calendar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dataflows.flows.hospitals.report import progress
from dataflows.flows.hospitals.rows import COMMAND as HOSPITALS
from dataflows.runs.history import Night, RunHistory
from dataflows.runs.journal import RUNNING, Item, RunRecord
from dataflows.runs.logs import log_of
from dataflows.runs.nights import Difference, Verdict, difference, warnings_of
from dataflows.runs.wording import WORDS, facts_of, took
from dataflows.web.context import ServerContext

NIGHTS = 60
_LOG_BYTES = 8000  # of its end; there is a page with all of it

SIGNS = {"done": "✓", "partial": "!", "failed": "✕", "resumable": "↻", "running": "▶", "abandoned": "–"}
"""Beside each colour, for whoever does not see colours."""
VERDICTS = {
    Verdict.NEEDS_YOU: ("✕", "failed"),
    Verdict.MISSING: ("?", "failed"),
    Verdict.RUNNING: ("▶", "running"),
    Verdict.AS_BEFORE: ("!", "partial"),
    Verdict.RECOVERED: ("✓", "done"),
    Verdict.WELL: ("✓", "done"),
}


@dataclass(frozen=True)
class RunRow:
    """One run as a card shows it. ``percent`` is None where it is not known how much there is to do."""

    record: RunRecord
    percent: float | None = None
    failures: list[Item] = field(default_factory=list)

    @property
    def short(self) -> str:
        """The beginning of its id."""
        return self.record.run_id[:8]

    @property
    def name(self) -> str:
        """Its command, and the job where that has a name of its own."""
        job = self.record.options.get("job") or self.record.command
        return self.record.command if job == self.record.command else f"{job} ({self.record.command})"

    @property
    def dry_run(self) -> bool:
        """Whether nothing was sent."""
        return bool(self.record.options.get("dry_run"))

    @property
    def sign(self) -> str:
        """The sign of its state."""
        return SIGNS.get(self.record.state, "")

    @property
    def lasted(self) -> str:
        """How long it took, or has taken."""
        record = self.record
        end = datetime.fromisoformat(record.ended_at) if record.ended_at else datetime.now(UTC)
        return took(max(0.0, (end - datetime.fromisoformat(record.started_at)).total_seconds()))

    @property
    def started(self) -> str:
        """When, in the server's own time."""
        return datetime.fromisoformat(self.record.started_at).astimezone().strftime("%d %b %Y %H:%M:%S")

    @property
    def counts(self) -> str:
        """How many items are how far; failed ones are named apart."""
        shown = {name: count for name, count in self.record.counts.items() if count and name != "failed"}
        return ", ".join(f"{count:,} {WORDS.get(name, name)}" for name, count in shown.items())

    @property
    def failed(self) -> int:
        """How many items failed."""
        return self.record.counts.get("failed", 0)


def row_of(context: ServerContext, record: RunRecord, failures: int) -> RunRow:
    """Return a run with so many of its failed items."""
    failed = context.journal.items(record.run_id, state="failed", limit=failures) if record.counts.get("failed") else []
    return RunRow(record, _percent(context, record), failed)


def _percent(context: ServerContext, record: RunRecord) -> float | None:
    if record.state != RUNNING:
        return None
    if record.command == HOSPITALS:  # whose items count only when their batch is active
        found = progress(context.journal, context.settings.data_dir, record)
        return None if found is None else float(str(found["progress_percentage"]))
    if not record.total:
        return None
    return min(100.0, 100 * sum(record.counts.values()) / record.total)


# --- a run ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunDetail:
    """All that the journal knows of a run, but for its items."""

    row: RunRow
    figures: list[list[str]]
    warnings: list[dict[str, str]]
    batches: list[str]
    codes: dict[str, int]
    before: RunRow | None
    after: RunRow | None
    difference: Difference | None
    log: str | None


def detail_of(context: ServerContext, record: RunRecord) -> RunDetail:
    """Collect what the page of a run shows."""
    journal = context.journal
    before = next(iter(journal.runs(command=record.command, target=record.target, before=record.seq, limit=1)), None)
    after = RunHistory(journal).after(record)
    dry_run = bool(record.options.get("dry_run"))
    return RunDetail(
        row_of(context, record, 0),
        facts_of(journal.report(record.run_id) or {}, dry_run=dry_run),
        warnings_of(journal, record),
        journal.batches(record.run_id),
        journal.failed_codes(record.run_id),
        RunRow(before) if before else None,
        RunRow(after) if after else None,
        difference(journal, record, before) if before and record.state != RUNNING else None,
        log_of(record, _LOG_BYTES),
    )


# --- the nights -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Day:
    """One square of the calendar. ``night`` is None where nothing ran, ``inside`` False outside of the nights shown."""

    morning: date
    night: Night | None
    inside: bool

    @property
    def sign(self) -> str:
        """The sign of how it ended."""
        return SIGNS[self.night.state] if self.night else "·"

    @property
    def words(self) -> str:
        """All about it in a line."""
        if self.night is None:
            return f"night to {self.morning:%d %B}: no run"
        night = self.night
        runs = f"{night.runs} run{'s' * (night.runs != 1)}"
        return f"night to {self.morning:%d %B}: {night.state}, {runs}, {night.done:,} done, {night.failed:,} failed"


@dataclass(frozen=True)
class ChartBar:
    """One bar of a chart, in the chart's units: its left edge, and how far it goes up and down from the line."""

    x: int
    up: float
    down: float


@dataclass(frozen=True)
class FlowNights:
    """The nights of one flow: a row for each weekday with a square for each week, and two charts with their words."""

    command: str
    weeks: list[date]
    weekdays: list[tuple[str, list[Day]]]
    items: list[ChartBar]
    items_words: str
    seconds: list[ChartBar]
    seconds_words: str


def morning_of(moment: datetime) -> date:
    """Return the morning that names the night of a moment (aware): from noon on it is the next one."""
    return (moment.astimezone().replace(tzinfo=None) + timedelta(hours=12)).date()


def first_morning(last: date) -> date:
    """Return the first of the nights shown."""
    return last - timedelta(days=NIGHTS - 1)


def calendar_of(nights: Iterable[Night], last: date) -> list[FlowNights]:
    """Arrange nights by flow; ``last`` is the morning of the latest one shown."""
    by_flow: dict[str, dict[date, Night]] = {}
    for night in nights:
        by_flow.setdefault(night.command, {})[night.morning] = night
    return [_flow(command, found, last) for command, found in sorted(by_flow.items())]


def _flow(command: str, found: dict[date, Night], last: date) -> FlowNights:
    first = first_morning(last)
    monday = first - timedelta(days=first.weekday())
    weeks = [monday + timedelta(days=7 * at) for at in range((last - monday).days // 7 + 1)]
    weekdays = [
        (
            name,
            [Day(day, found.get(day), first <= day <= last) for week in weeks for day in [week + timedelta(days=at)]],
        )
        for at, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    ]
    kept = [found.get(first + timedelta(days=at)) for at in range(NIGHTS)]
    most = max(found.values(), key=lambda one: one.done + one.failed)
    longest = max(found.values(), key=lambda one: one.seconds)
    return FlowNights(
        command,
        weeks,
        weekdays,
        _bars([(one.done, one.failed) if one else (0, 0) for one in kept]),
        f"most: {most.done:,} done and {most.failed:,} failed in the night to {most.morning:%d %B}",
        _bars([(one.seconds if one else 0, 0) for one in kept]),
        f"longest: {took(longest.seconds)} in the night to {longest.morning:%d %B}",
    )


def _bars(values: Sequence[tuple[float, float]]) -> list[ChartBar]:
    """Scale pairs of what goes up and what goes down to 36 and 12 units; what is there at all can be seen."""
    ups, downs = max(up for up, _ in values) or 1, max(down for _, down in values) or 1
    return [
        ChartBar(4 * at, max(1.0, 36 * up / ups) if up else 0.0, max(2.0, 12 * down / downs) if down else 0.0)
        for at, (up, down) in enumerate(values)
    ]
