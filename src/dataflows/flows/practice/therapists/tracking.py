"""What is known of each file: the table ``import_tracking``. The latest row of a path says how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias

import sqlalchemy as sa

from dataflows.flows.practice.therapists.changes import FileCounts
from dataflows.flows.practice.therapists.choosing import Look
from dataflows.store.practice.database import insert, within
from dataflows.store.practice.tables import import_tracking

ATTEMPTS = 5
"""How often a file that failed is tried (therapists.md, the job)."""
RETRY_AFTER = timedelta(hours=1)
SUCCESS, PARTIAL, FAILED, SUPERSEDED = "success", "partial", "failed", "superseded"
SUSPICIOUS = "suspicious"
"""How the error of a file begins that deletes too many at once; the two figures follow: ``suspicious 30 of 100``."""
_PAGE = 1000
_t = import_tracking.c

Due: TypeAlias = Literal["import", "done", "waiting", "dead"]


class TrackedFile(NamedTuple):
    """The latest row of a path."""

    id: int
    file_name: str
    file_hash: str
    status: str
    attempts: int
    error: str | None
    told: str | None
    processed_at: datetime


class FileVerdict(NamedTuple):
    """How an import of a file ended; ``error`` in stable names, never with a value."""

    status: str
    error: str | None = None


class FileNews(NamedTuple):
    """What a mail has to say of a file: ``state`` is failed, dead or recovered."""

    id: int
    file_name: str
    state: str
    error: str | None


_COLUMNS = [_t[name] for name in TrackedFile._fields]
_newest = sa.select(sa.func.max(_t.id)).group_by(_t.file_name)


def latest(connection: sa.Connection, names: Sequence[str]) -> dict[str, TrackedFile]:
    """The latest rows of these files, by name."""
    found: dict[str, TrackedFile] = {}
    for page in _pages(names):
        of_page = _newest.where(within(connection, _t.file_name, page))
        query = sa.select(*_COLUMNS).where(_t.id.in_(of_page))
        found |= {row.file_name: TrackedFile(*row) for row in connection.execute(query)}
    return found


def due(look: Look, tracked: TrackedFile | None, now: datetime, *, reprocess: bool, allow_mass_delete: bool) -> Due:
    """Whether a file is to be imported now; a clock that steps back makes nothing wait."""
    if tracked is None or tracked.file_hash != look.sha256 or reprocess or tracked.status == SUPERSEDED:
        return "import"
    if tracked.status == SUCCESS:
        return "done"
    if allow_mass_delete and (tracked.error or "").startswith(SUSPICIOUS):
        return "import"
    if tracked.attempts >= ATTEMPTS:
        return "dead"
    return "waiting" if timedelta() <= now - tracked.processed_at < RETRY_AFTER else "import"


def record(
    connection: sa.Connection,
    look: Look,
    before: TrackedFile | None,
    verdict: FileVerdict,
    figures: FileCounts,
    run_id: str,
) -> None:
    """Write how a file stands. The same content updates its row; other content gets a row of its own."""
    same = before is not None and before.file_hash == look.sha256
    attempts = before.attempts if before is not None and same else 0
    values = {
        **_counted(figures),
        "processed_at": datetime.now(UTC),
        "status": verdict.status,
        "error": verdict.error,
        "attempts": 0 if verdict.status == SUCCESS else attempts + 1,
        "scrape_date": look.date,
        "told": before.told if before is not None else None,
        "run_id": run_id,
    }
    if before is not None and same:
        connection.execute(import_tracking.update().values(values).where(_t.id == before.id))
    else:
        values |= {"file_name": look.found.name, "file_hash": look.sha256}
        connection.execute(import_tracking.insert().values(values))


def _counted(figures: FileCounts) -> dict[str, int]:
    return {
        "therapist_count": figures.entries,
        "new_count": figures.new,
        "updated_count": figures.updated,
        "unchanged_count": figures.unchanged,
        "deleted_count": figures.deleted,
    }


def supersede(connection: sa.Connection, looks: Iterable[Look], run_id: str) -> None:
    """Note files whose place a newer one has taken before they were imported."""
    nothing = _counted(FileCounts())
    rows = [
        {
            **nothing,
            "file_name": look.found.name,
            "file_hash": look.sha256,
            "processed_at": datetime.now(UTC),
            "status": SUPERSEDED,
            "attempts": 0,
            "scrape_date": look.date,
            "run_id": run_id,
        }
        for look in looks
    ]
    insert(connection, import_tracking, rows)


def news(connection: sa.Connection) -> list[FileNews]:
    """What nobody was told yet: first failures, files given up, and those that recovered since."""
    unwritten = _t.status.in_((FAILED, PARTIAL))
    state = sa.case(
        (sa.and_(unwritten, _t.attempts >= ATTEMPTS, sa.func.coalesce(_t.told, "") != "dead"), "dead"),
        (sa.and_(unwritten, _t.told.is_(None)), "failed"),
        (sa.and_(_t.status == SUCCESS, _t.told.is_not(None)), "recovered"),
    )
    candidates = sa.select(_t.id, _t.file_name, state.label("state"), _t.error).where(
        sa.or_(_t.status != SUCCESS, _t.told.is_not(None)), _t.status != SUPERSEDED, _t.id.in_(_newest)
    )
    return [FileNews(*row) for row in connection.execute(candidates.order_by(_t.file_name)) if row.state]


def told(connection: sa.Connection, said: Sequence[FileNews]) -> None:
    """Note what a mail was written about."""
    for state in {one.state for one in said}:
        ids = [one.id for one in said if one.state == state]
        values = {"told": None if state == "recovered" else state}
        connection.execute(import_tracking.update().values(values).where(within(connection, _t.id, ids)))


def _pages(names: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (names[start : start + _PAGE] for start in range(0, len(names), _PAGE))
