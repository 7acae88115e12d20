"""Earlier runs: which are still alive, their figures by command, their nights, and a page of them.

A night goes from noon to noon by the machine's clock and is named by its morning, so midnight divides no run from the
others of its night.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dataflows.runs.journal import FAILED, RESUMABLE, RUNNING, Journal, RunRecord
from dataflows.runs.lock import is_running
from dataflows.runs.records import COLUMNS, record_of


def see_what_died(journal: Journal, data_dir: Path, *, alive: Collection[str] = ()) -> None:
    """Call a run resumable whose process is gone: its lock died with it. ``alive``: ids of runs of this process."""
    for record in journal.runs(state=RUNNING):
        if record.run_id in alive or is_running(data_dir, record.command, record.target):
            continue
        if journal.find(record.run_id).state == RUNNING:
            journal.set_state(record.run_id, FAILED if record.options.get("dry_run") else RESUMABLE)


_RUNS_LOOKED_AT = 500
COUNTS = ("done", "failed", "skipped", "pending")
_LENGTH = "max(0, coalesce(julianday(ended_at) - julianday(started_at), 0)) * 86400"


class RunFigures(NamedTuple):
    """The kept runs of one command that are in one state: how many, how long they took together (s), their items."""

    command: str
    state: str
    runs: int
    seconds: float
    items: dict[str, int]


class Latest(NamedTuple):
    """The latest ended run of a command. ``ended``: seconds since 1970, UTC."""

    command: str
    ended: float
    exit_code: int


class Night(NamedTuple):
    """What the runs of one command came to in one night; dry runs and rehearsals do not count.

    ``state`` is the worst of those that no other run went on with; ``seconds`` is what they took together.
    """

    command: str
    morning: date
    runs: int
    state: str
    done: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class Wanted:
    """Which runs a page of the history shows. Empty: all. ``text`` is looked for in id, batch, job and error."""

    command: str = ""
    state: str = ""
    morning: date | None = None
    text: str = ""


DRY_RUN = "dry run"
"""Beside the states, what ``Wanted.state`` may be."""
_WORST = ("failed", "resumable", "running", "partial", "abandoned", "done")
_MORNING = "date(started_at, 'localtime', '+12 hours')"
_ASIDE = "coalesce(json_extract(options, '$.dry_run'), 0)"
_TEXT = "run_id || ' ' || coalesce(batch_id, '') || ' ' || coalesce(json_extract(options, '$.job'), '') || ' '"
_TEXT += " || coalesce(reason, '') || ' ' || coalesce(error, '') || ' ' || coalesce(hint, '')"


class RunHistory:
    """What the runs of a journal come to together."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def figures(self) -> list[RunFigures]:
        """Count the runs, and their items, by command and state."""
        sums = ", ".join(f"sum(coalesce(json_extract(counts, '$.{name}'), 0))" for name in COUNTS)
        select = f"SELECT command, state, count(*), sum({_LENGTH}), {sums} FROM runs"  # noqa: S608 - our own names
        with self._journal.reading() as db:
            rows = db.execute(f"{select} GROUP BY command, state ORDER BY command, state").fetchall()
        return [
            RunFigures(command, state, runs, seconds, dict(zip(COUNTS, counts, strict=True)))
            for command, state, runs, seconds, *counts in rows
        ]

    def latest(self) -> list[Latest]:
        """When and how the latest ended run of each command ended."""
        with self._journal.reading() as db:
            rows = db.execute(
                "SELECT command, ended_at, exit_code FROM runs WHERE seq IN"
                " (SELECT max(seq) FROM runs WHERE exit_code IS NOT NULL GROUP BY command) ORDER BY command"
            ).fetchall()
        return [Latest(command, datetime.fromisoformat(ended).timestamp(), code) for command, ended, code in rows]

    def attempts(self, command: str, most: int) -> list[str]:
        """The states of the latest items of a command that were tried, newest first; not what needed no attempt."""
        found: list[str] = []
        with self._journal.reading() as db:
            runs = db.execute(
                "SELECT run_id FROM runs WHERE command = ? ORDER BY seq DESC LIMIT ?", (command, _RUNS_LOOKED_AT)
            ).fetchall()
            for run in runs:
                rows = db.execute(
                    "SELECT state FROM items WHERE run_id = ? AND state <> 'skipped' ORDER BY ended_at DESC LIMIT ?",
                    (*run, most - len(found)),
                )
                found += [state for (state,) in rows]
                if len(found) >= most:
                    break
        return found

    def lately(self, since: datetime, limit: int) -> list[RunRecord]:
        """Return what runs or waits to be resumed, however old, then what ended since (aware), newest first."""
        ended = since.astimezone(UTC).isoformat(timespec="milliseconds")
        first = "state IN (?, ?)"
        chosen = f"{first} OR ended_at >= ? ORDER BY {first} DESC, seq DESC LIMIT ?"
        return self._records(chosen, RUNNING, RESUMABLE, ended, RUNNING, RESUMABLE, limit)

    def after(self, record: RunRecord) -> RunRecord | None:
        """Return the next run of the same target."""
        chosen = "command = ? AND target = ? AND seq > ? ORDER BY seq LIMIT 1"
        return next(iter(self._records(chosen, record.command, record.target, record.seq)), None)

    def page(self, wanted: Wanted, *, limit: int, skip: int = 0) -> list[RunRecord]:
        """Return runs, newest first; one more than ``limit`` where there is a further page."""
        conditions: list[tuple[str, object]] = [
            ("command = ?", wanted.command),
            (f"{_MORNING} = ?", wanted.morning and wanted.morning.isoformat()),
            (f"instr(lower({_TEXT}), lower(?))", wanted.text),
            (f"{_ASIDE} = ?", 1) if wanted.state == DRY_RUN else ("state = ?", wanted.state),
        ]
        kept = [(condition, value) for condition, value in conditions if value]
        chosen = " AND ".join(condition for condition, _ in kept) or "true"
        values = (*(value for _, value in kept), limit + 1, skip)
        return self._records(f"{chosen} ORDER BY seq DESC LIMIT ? OFFSET ?", *values)

    def nights(self, since: date) -> list[Night]:
        """Return the nights from the one with this morning on, by command and morning."""
        ranks = " ".join(f"WHEN '{state}' THEN {rank}" for rank, state in enumerate(_WORST))
        worst = f"min(CASE WHEN continued_by IS NULL THEN CASE state {ranks} END END)"
        sums = ", ".join(f"sum(coalesce(json_extract(counts, '$.{name}'), 0))" for name in ("done", "failed"))
        select = f"SELECT command, {_MORNING} AS morning, count(*), {worst}, {sums}, sum({_LENGTH}) FROM runs"  # noqa: S608
        kept = f"started_at >= ? AND morning >= ? AND NOT {_ASIDE}"
        kept += " AND NOT coalesce(json_extract(options, '$.rehearsal'), 0)"
        kept += " GROUP BY command, morning ORDER BY command, morning"
        with self._journal.reading() as db:
            rows = db.execute(
                f"{select} WHERE {kept}", ((since - timedelta(days=2)).isoformat(), since.isoformat())
            ).fetchall()
        return [
            Night(name, date.fromisoformat(morning), runs, _WORST[-1 if rank is None else rank], *figures)
            for name, morning, runs, rank, *figures in rows
        ]

    def _records(self, chosen: str, *values: object) -> list[RunRecord]:
        with self._journal.reading() as db:
            rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM runs WHERE {chosen}", values).fetchall()  # noqa: S608
        return [record_of(row) for row in rows]
