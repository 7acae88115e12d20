"""Earlier runs: which are still alive, and their figures by command."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from dataflows.runs.journal import FAILED, RESUMABLE, RUNNING, Journal
from dataflows.runs.lock import is_running


def see_what_died(journal: Journal, data_dir: Path, *, alive: Collection[str] = ()) -> None:
    """Call a run resumable whose process is gone: its lock died with it. ``alive``: ids of runs of this process."""
    for record in journal.runs(state=RUNNING):
        if record.run_id in alive or is_running(data_dir, record.command, record.target):
            continue
        if journal.find(record.run_id).state == RUNNING:
            journal.set_state(record.run_id, FAILED if record.options.get("dry_run") else RESUMABLE)


_RUNS_LOOKED_AT = 500
COUNTS = ("done", "failed", "skipped", "pending")


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


class RunHistory:
    """What the runs of a journal come to together."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def figures(self) -> list[RunFigures]:
        """Count the runs, and their items, by command and state."""
        sums = ", ".join(f"sum(coalesce(json_extract(counts, '$.{name}'), 0))" for name in COUNTS)
        length = "max(0, coalesce(julianday(ended_at) - julianday(started_at), 0)) * 86400"
        select = f"SELECT command, state, count(*), sum({length}), {sums} FROM runs"  # noqa: S608 - our own names
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
