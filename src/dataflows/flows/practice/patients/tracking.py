"""What is known of each object: the table ``patient_tracking``, a row per bucket, name and generation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from dataflows.flows.practice.patients.bucket import ListedObject
from dataflows.store.practice.database import translated, writing
from dataflows.store.practice.tables import patient_tracking

FAILED, DEAD, UNRECOGNISED = "failed", "dead", "unrecognised"
IMPORTED, UPDATED, SUPERSEDED, DUPLICATE_FILE = "imported", "updated", "superseded", "duplicate_file"
DONE = (IMPORTED, UPDATED, SUPERSEDED, DUPLICATE_FILE)
RECOVERED = "recovered"
ATTEMPTS = 5
"""How often bad content is tried (patients.md, "retries")."""
_PAGE = 500

_t = patient_tracking.c


class TrackedObject(NamedTuple):
    """One row."""

    id: int
    name: str
    generation: int
    status: str
    attempts: int
    code: str | None
    told: str | None


class ObjectNews(NamedTuple):
    """What a mail has to say of an object: ``status`` is failed, dead, unrecognised or recovered."""

    ids: tuple[int, ...]
    name: str
    status: str
    code: str | None
    attempts: int


@dataclass(frozen=True)
class Tracking:
    """The rows of one bucket. Every method raises as ``database.translated``."""

    engine: sa.Engine
    bucket: str
    run_id: str

    def open(self) -> dict[tuple[str, int], TrackedObject]:
        """Return what is not known to be gone from the bucket, by name and generation."""
        chosen = sa.select(*_COLUMNS).where(_t.bucket == self.bucket, _t.deleted_at.is_(None))
        with self._reading() as connection:
            return {(row.object_name, row.generation): TrackedObject(*row) for row in connection.execute(chosen)}

    def fail(self, about: ListedObject, code: str, *, sha256: str | None, copy_name: str | None, attempts: int) -> str:
        """Count a failed attempt; returns the status: failed, or dead after the last one."""
        status = DEAD if attempts >= ATTEMPTS else FAILED
        values = {"status": status, "attempts": attempts, "code": code, "sha256": sha256, "copy_name": copy_name}
        with self._writing() as connection:
            put(connection, self.bucket, about, self.run_id, values)
        return status

    def not_recognised(self, about: ListedObject) -> None:
        """Note an object that is left where it is."""
        with self._writing() as connection:
            put(connection, self.bucket, about, self.run_id, {"status": UNRECOGNISED, "attempts": 0})

    def gone(self, rows: Iterable[tuple[str, int]]) -> None:
        """Note that generations are not in the bucket any more."""
        now = datetime.now(UTC)
        with self._writing() as connection:
            for name, generation in rows:
                connection.execute(
                    sa.update(patient_tracking)
                    .where(_t.bucket == self.bucket, _t.object_name == name, _t.generation == generation)
                    .values(deleted_at=now, updated_at=now)
                )

    def forgive(self, names: Iterable[str] | None) -> int:
        """Let objects that failed start anew: those of these names, or (None) all that are dead. Returns how many."""
        chosen = _t.status == DEAD if names is None else _t.status.in_((FAILED, DEAD)) & _t.object_name.in_(list(names))
        values = {"status": FAILED, "attempts": 0, "updated_at": datetime.now(UTC)}
        with self._writing() as connection:
            return connection.execute(
                sa.update(patient_tracking)
                .where(_t.bucket == self.bucket, _t.deleted_at.is_(None), chosen)
                .values(values)
            ).rowcount

    def names(self) -> Iterator[str]:
        """Yield the name of every object that was ever seen, in every bucket, page by page."""
        last = ""
        while True:
            chosen = sa.select(_t.object_name).distinct().where(_t.object_name > last).order_by(_t.object_name)
            with self._reading() as connection:
                page = connection.scalars(chosen.limit(_PAGE)).all()
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1]

    def news(self) -> list[ObjectNews]:
        """Return what the operator was not told yet, oldest first."""
        trouble = sa.select(*_COLUMNS).where(
            _t.bucket == self.bucket,
            _t.deleted_at.is_(None),
            _t.status.in_((FAILED, DEAD, UNRECOGNISED)),
            sa.or_(_t.told.is_(None), _t.told != _t.status),
            sa.or_(_t.attempts > 0, _t.status == UNRECOGNISED),  # else it was forgiven, and not tried since
        )
        later = patient_tracking.alias()
        followed = sa.exists().where(
            later.c.bucket == _t.bucket,
            later.c.object_name == _t.object_name,
            later.c.generation >= _t.generation,
            later.c.status.in_(DONE),
        )
        well = sa.select(*_COLUMNS).where(_t.bucket == self.bucket, _t.told.in_((FAILED, DEAD)), followed)
        with self._reading() as connection:
            found = [TrackedObject(*row) for row in connection.execute(trouble.order_by(_t.id))]
            again = [TrackedObject(*row) for row in connection.execute(well.order_by(_t.id))]
        told = [ObjectNews((one.id,), one.name, one.status, one.code, one.attempts) for one in found]
        return told + [_recovered(rows) for rows in _by_name(again).values()]

    def told(self, news: Sequence[ObjectNews]) -> None:
        """Note that the operator was told."""
        with self._writing() as connection:
            for one in news:
                connection.execute(sa.update(patient_tracking).where(_t.id.in_(one.ids)).values(told=one.status))

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with translated(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with translated(), writing(self.engine) as connection:
            yield connection


_COLUMNS = (_t.id, _t.object_name, _t.generation, _t.status, _t.attempts, _t.code, _t.told)


def put(connection: sa.Connection, bucket: str, about: ListedObject, run_id: str, values: Mapping[str, Any]) -> None:
    """Write the row of an object, inside a transaction: a new one, or the one that is there."""
    now = datetime.now(UTC)
    seen = {"size": about.size, "object_time": about.moment, "deleted_at": None}  # it was listed, so it is there
    fixed = {**seen, "run_id": run_id, "updated_at": now}
    key = {"bucket": bucket, "object_name": about.name, "generation": about.generation}
    same = sa.and_(*(_t[name] == value for name, value in key.items()))
    changed = connection.execute(sa.update(patient_tracking).where(same).values({**fixed, **values}))
    if not changed.rowcount:
        connection.execute(
            sa.insert(patient_tracking).values({"attempts": 0, "created_at": now, **key, **fixed, **values})
        )


def _by_name(rows: Iterable[TrackedObject]) -> dict[str, list[TrackedObject]]:
    found: dict[str, list[TrackedObject]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    return found


def _recovered(rows: Sequence[TrackedObject]) -> ObjectNews:
    return ObjectNews(tuple(row.id for row in rows), rows[0].name, RECOVERED, rows[-1].code, rows[-1].attempts)
