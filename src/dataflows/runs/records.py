"""Runs and their items: as values, and the store that keeps them in the journal."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from dataflows.errors import DataflowsError, WrongUsage

RUNNING, DONE, PARTIAL, FAILED, RESUMABLE, ABANDONED = "running", "done", "partial", "failed", "resumable", "abandoned"

SCHEMA = (
    """
    CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        command TEXT NOT NULL,
        target TEXT NOT NULL,
        batch_id TEXT,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        options TEXT NOT NULL,
        counts TEXT NOT NULL DEFAULT '{}',
        total INTEGER,
        step TEXT NOT NULL DEFAULT '',
        exit_code INTEGER,
        error_code TEXT,
        error TEXT,
        hint TEXT,
        log_file TEXT,
        continued_by TEXT
    );
    CREATE INDEX runs_by_target ON runs (command, target, seq);
    CREATE TABLE items (
        run_id TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        started_at TEXT,
        ended_at TEXT,
        code TEXT,
        message TEXT,
        PRIMARY KEY (run_id, key)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE run_batches (
        run_id TEXT NOT NULL, place INTEGER NOT NULL, batch_id TEXT NOT NULL, PRIMARY KEY (run_id, place)
    ) WITHOUT ROWID;
    CREATE INDEX run_batches_by_id ON run_batches (batch_id);
    """,
    """
    CREATE TABLE run_reports (run_id TEXT PRIMARY KEY, report TEXT NOT NULL) WITHOUT ROWID;
    """,
    "ALTER TABLE runs ADD COLUMN reason TEXT;",
)
_LARGEST_REPORT = 256 * 1024  # characters; what is larger tells of single items, and those the journal has anyway


def now() -> str:
    """Return the time as the journal writes it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Item(NamedTuple):
    """What became of one item of a run: ``state`` is pending, sending, unknown, done, skipped or failed."""

    key: str
    state: str
    attempts: int = 1
    code: str | None = None
    message: str | None = None
    started_at: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of ``runs``."""

    seq: int
    run_id: str
    command: str
    target: str
    batch_id: str | None
    state: str
    started_at: str
    ended_at: str | None
    pid: int
    host: str
    options: dict[str, object]
    counts: dict[str, int]
    total: int | None
    step: str
    exit_code: int | None
    error_code: str | None
    error: str | None
    hint: str | None
    log_file: str | None
    continued_by: str | None
    reason: str | None

    @property
    def error_entry(self) -> dict[str, str] | None:
        """The error as JSON has it; of a run of an older version it has no reason."""
        if self.error_code is None:
            return None
        said = {"reason": self.reason or "", "message": self.error or "", "hint": self.hint or ""}
        return {"code": self.error_code, **said}


COLUMNS = tuple(one.name for one in fields(RunRecord))
_OF_BATCH = "batch_id = ? OR run_id IN (SELECT run_id FROM run_batches WHERE batch_id = ?)"


class RunStore(ABC):
    """What the journal knows of runs. Only this class has SQL that writes their tables."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction; inside another one of this thread it is part of that."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Reading, outside of any transaction or in the one that this thread has open."""

    # --- runs -------------------------------------------------------------------------------------------------

    def start(
        self,
        command: str,
        target: str,
        *,
        options: Mapping[str, object],
        log_file: Path | None = None,
        batch_id: str | None = None,
    ) -> str:
        """Record a new run and return its id. Earlier runs of the same target that never ended become resumable."""
        run_id = str(uuid.uuid4())
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET state = ?, ended_at = coalesce(ended_at, ?)"
                " WHERE command = ? AND target = ? AND state = ?",
                (RESUMABLE, now(), command, target, RUNNING),
            )
            db.execute(
                "INSERT INTO runs (run_id, command, target, batch_id, state, started_at, pid, host, options, log_file)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run_id, command, target, batch_id, RUNNING, now(), os.getpid(), socket.gethostname(),
                 json.dumps(options), str(log_file) if log_file else None),
            )  # fmt: skip
        return run_id

    def progress(self, run_id: str, counts: Mapping[str, int], *, total: int | None, step: str) -> None:
        """Record how far a run is."""
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET counts = ?, total = ?, step = ? WHERE run_id = ?",
                (json.dumps(counts), total, step, run_id),
            )

    def finish(
        self,
        run_id: str,
        state: str,
        exit_code: int,
        counts: Mapping[str, int],
        error: DataflowsError | None,
        report: Mapping[str, object] | None = None,
    ) -> None:
        """Record the end of a run, and its report unless that is very large.

        Earlier resumable runs of the same command and target are closed when this one came to its end or is the one
        to resume from now on; a run that was refused (settings, access) closes nothing.
        """
        said = tuple(error.entry.values()) if error else (None,) * 4
        text = json.dumps(report, default=str) if report else ""
        with self.transaction() as db:
            if text and len(text) <= _LARGEST_REPORT:
                db.execute("INSERT OR REPLACE INTO run_reports VALUES (?, ?)", (run_id, text))
            db.execute(
                "UPDATE runs SET state = ?, ended_at = ?, exit_code = ?, counts = ?, step = '',"
                " error_code = ?, reason = ?, error = ?, hint = ? WHERE run_id = ?",
                (state, now(), exit_code, json.dumps(counts), *said, run_id),
            )
            if state in (DONE, PARTIAL, RESUMABLE) or error is None:
                db.execute(
                    "UPDATE runs SET state = ?, continued_by = ? WHERE state = ? AND run_id <> ? AND (command, target)"
                    " = (SELECT command, target FROM runs WHERE run_id = ?)",
                    (PARTIAL, run_id, RESUMABLE, run_id, run_id),
                )

    def report(self, run_id: str) -> dict[str, object] | None:
        """Return the report of an ended run, None where none was kept."""
        rows = self._rows("SELECT report FROM run_reports WHERE run_id = ?", run_id)
        return json.loads(rows[0][0]) if rows else None

    def reports_mention(self, command: str, target: str, text: str) -> bool:
        """Tell whether the report of any run of a command and target holds a text."""
        return bool(
            self._rows(
                "SELECT 1 FROM runs JOIN run_reports USING (run_id)"
                " WHERE command = ? AND target = ? AND instr(report, ?) LIMIT 1",
                *(command, target, text),
            )
        )

    def name_batches(self, run_id: str, batch_ids: Sequence[str]) -> None:
        """Record the batches of a run, so that it is found by each of them; the first one is shown with it.

        It is still found by those that it was known by before: somebody may have been told of them.
        """
        with self.transaction() as db:
            former = db.execute(
                "SELECT batch_id FROM run_batches WHERE run_id = ? UNION"
                " SELECT batch_id FROM runs WHERE run_id = ? AND batch_id IS NOT NULL",
                (run_id, run_id),
            ).fetchall()
            aliases = sorted({batch_id for (batch_id,) in former} - set(batch_ids))
            places = [*enumerate(batch_ids), *((-1 - place, batch_id) for place, batch_id in enumerate(aliases))]
            db.execute("UPDATE runs SET batch_id = ? WHERE run_id = ?", (batch_ids[0], run_id))
            db.execute("DELETE FROM run_batches WHERE run_id = ?", (run_id,))
            db.executemany("INSERT INTO run_batches VALUES (?, ?, ?)", [(run_id, *place) for place in places])

    def batches(self, run_id: str) -> list[str]:
        """Return the batch ids of a run, in order."""
        ordered = "SELECT batch_id FROM run_batches WHERE run_id = ? AND place >= 0 ORDER BY place"
        return [batch_id for (batch_id,) in self._rows(ordered, run_id)]

    def set_state(self, run_id: str, state: str, *, of_target: bool = False) -> None:
        """Change the state of a run that is not running any more.

        ``of_target``: also of all others of its command and target that wait to be resumed.
        """
        others = " OR (state = ? AND (command, target) = (SELECT command, target FROM runs WHERE run_id = ?))"
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET state = ?, ended_at = coalesce(ended_at, ?)"  # noqa: S608
                f" WHERE run_id = ?{others if of_target else ''}",
                (state, now(), run_id, *((RESUMABLE, run_id) if of_target else ())),
            )

    def continue_by(self, run_id: str, earlier: str) -> None:
        """Close an unfinished run of another target that ``run_id`` goes on with; those of its own it closes anyway."""
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET state = ?, continued_by = ?, ended_at = coalesce(ended_at, started_at)"
                " WHERE run_id = ? AND state IN (?, ?) AND target <> (SELECT target FROM runs WHERE run_id = ?)",
                (PARTIAL, run_id, earlier, RESUMABLE, RUNNING, run_id),
            )

    def runs(
        self,
        *,
        state: str | None = None,
        command: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int = -1,
        skip: int = 0,
    ) -> list[RunRecord]:
        """Return runs, newest first; only those of a state, a command, a target where that is given.

        Args:
            since: those that began then or later (aware).
            before: those whose ``seq`` is lower.
        """
        chosen = (
            "state = coalesce(?, state) AND command = coalesce(?, command) AND target = coalesce(?, target)"
            " AND started_at >= ? AND seq < coalesce(?, seq + 1) ORDER BY seq DESC LIMIT ? OFFSET ?"
        )
        began = since.astimezone(UTC).isoformat(timespec="milliseconds") if since else ""
        return self._records(chosen, state, command, target, began, before, limit, skip)

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run with just this id."""
        return next(iter(self._records("run_id = ?", run_id)), None)

    def run_of_batch(self, batch_id: str) -> RunRecord | None:
        """Return the latest run that carries just this batch."""
        return next(iter(self._records(f"{_OF_BATCH} ORDER BY seq DESC LIMIT 1", batch_id, batch_id)), None)

    def find(self, beginning: str) -> RunRecord:
        """Return the run whose id, or one of whose batch ids, begins so; of several runs of one batch the latest.

        Raises:
            WrongUsage: none, or more than one, matches.
        """
        like = beginning.replace("%", "").replace("_", "") + "%"
        names = self._rows(
            "SELECT run_id FROM runs WHERE run_id LIKE ? UNION SELECT batch_id FROM runs WHERE batch_id LIKE ?"
            " UNION SELECT batch_id FROM run_batches WHERE batch_id LIKE ?",
            *(like, like, like),
        )
        name = names[0][0] if len(names) == 1 else ""
        found = self._records(f"run_id = ? OR {_OF_BATCH} ORDER BY seq DESC LIMIT 1", name, name, name)
        if not beginning or not names:
            raise WrongUsage(
                f"no run or batch id starts with {beginning!r}", reason="run-unknown", hint="see: dataflows runs list"
            )
        if len(names) > 1:
            raise WrongUsage(
                f"{len(names)} run or batch ids start with {beginning!r}",
                reason="run-unknown",
                hint="give more characters of the run id: dataflows runs list",
            )
        return found[0]

    def prune(
        self,
        *,
        older_than: timedelta,
        keep: frozenset[str] = frozenset({RUNNING, RESUMABLE}),
        command: str | None = None,
    ) -> int:
        """Forget runs that ended longer ago than ``older_than``; returns how many. Resumable runs are kept."""
        chosen, values = _old(older_than, keep, command)
        with self.transaction() as db:
            for table in ("items", "run_batches", "run_reports"):
                db.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM runs WHERE {chosen})", values)  # noqa: S608
            return db.execute(f"DELETE FROM runs WHERE {chosen}", values).rowcount  # noqa: S608

    def prunable(self, *, older_than: timedelta) -> int:
        """Return how many runs ``prune`` would forget."""
        chosen, values = _old(older_than, frozenset({RUNNING, RESUMABLE}), None)
        return int(self._rows(f"SELECT count(*) FROM runs WHERE {chosen}", *values)[0][0])  # noqa: S608

    # --- items ------------------------------------------------------------------------------------------------

    def record(self, run_id: str, items: Iterable[Item]) -> None:
        """Write the outcome of items."""
        ended = now()
        with self.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO items (run_id, key, state, attempts, code, message, started_at, ended_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(run_id, *item, ended) for item in items],
            )

    def items(
        self,
        run_id: str,
        *,
        state: str | None = None,
        code: str | None = None,
        text: str = "",
        limit: int = 1000,
        after: str = "",
    ) -> list[Item]:
        """Return items of a run by their keys, numbers as numbers: one bounded page after the key ``after``.

        Args:
            state, code: only those.
            text: only those with it in key, code or message; capitals do not matter.
        """
        chosen = "SELECT key, state, attempts, code, message, started_at FROM items WHERE run_id = ?"
        behind = "(length(key), key) > (length(?), ?)"
        wanted = [(" AND state = ?", state), (" AND code = ?", code)]
        wanted += [
            (" AND instr(lower(key || ' ' || coalesce(code, '') || ' ' || coalesce(message, '')), lower(?))", text)
        ]
        more = "".join(condition for condition, value in wanted if value)
        values = (run_id, after, after, *(value for _, value in wanted if value), limit)
        rows = self._rows(f"{chosen} AND {behind}{more} ORDER BY length(key), key LIMIT ?", *values)
        return [Item(*row) for row in rows]

    def all_items(self, run_id: str, *, state: str, code: str | None = None, text: str = "") -> Iterator[Item]:
        """Yield the items of a run, read page by page."""
        after = ""
        while page := self.items(run_id, state=state, code=code, text=text, after=after):
            yield from page
            after = page[-1].key

    def failed_codes(self, run_id: str, limit: int = 100) -> dict[str, int]:
        """Return the codes of the failed items of a run, each with how many have it, the most frequent first."""
        rows = self._rows(
            "SELECT code, count(*) FROM items WHERE run_id = ? AND state = 'failed' AND code <> ''"
            " GROUP BY code ORDER BY count(*) DESC, code LIMIT ?",
            *(run_id, limit),
        )
        return dict(rows)

    def item_counts(self, run_id: str) -> dict[str, int]:
        """Return how many items of a run are in each state."""
        return dict(self._rows("SELECT state, count(*) FROM items WHERE run_id = ? GROUP BY state", run_id))

    def _records(self, chosen: str, *values: object) -> list[RunRecord]:
        rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM runs WHERE {chosen}", *values)  # noqa: S608
        return [record_of(row) for row in rows]

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.reading() as db:
            return db.execute(statement, values).fetchall()


def record_of(row: tuple[Any, ...]) -> RunRecord:
    """Return a row of ``COLUMNS`` as a value."""
    values = dict(zip(COLUMNS, row, strict=True))
    return RunRecord(**{**values, "options": json.loads(values["options"]), "counts": json.loads(values["counts"])})


def _old(older_than: timedelta, keep: frozenset[str], command: str | None) -> tuple[str, tuple[object, ...]]:
    limit = (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
    chosen = f"ended_at < ? AND state NOT IN ({', '.join('?' * len(keep))}) AND command = coalesce(?, command)"
    return chosen, (limit, *keep, command)
