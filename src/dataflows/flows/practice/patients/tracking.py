"""What is known of each object: the table ``patient_tracking``, a row per bucket, name and generation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa

from dataflows.errors import BadInput, ServiceDown
from dataflows.flows.practice.patients.objects import ListedObject, ObjectListing
from dataflows.remote.retry import RetryPolicy
from dataflows.store.practice.database import translated, writing
from dataflows.store.practice.tables import patient_tracking

if TYPE_CHECKING:
    from dataflows.runs.runner import Run
    from dataflows.settings import Settings

T = TypeVar("T")

FAILED, DEAD, UNRECOGNISED = "failed", "dead", "unrecognised"
IMPORTED, UPDATED, SUPERSEDED, DUPLICATE_FILE = "imported", "updated", "superseded", "duplicate_file"
DONE = (IMPORTED, UPDATED, SUPERSEDED, DUPLICATE_FILE)
RECOVERED = "recovered"
ATTEMPTS = 5
"""How often bad content is tried (patients.md, "retries")."""

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


class Conflict(ServiceDown):
    """Another program wrote the same person or the same file at this moment; a repetition sees what it wrote."""

    code = "conflict"

    def __init__(self) -> None:
        super().__init__(
            "another program is writing the same rows of the practice database",
            reason="practice-conflict",
            hint="run again",
            wait=0.0,
        )


@dataclass(frozen=True)
class Tracking:
    """The rows of one bucket, and how one run writes the practice database.

    Every method raises as ``database.translated``; those that write are repeated while the database is away.
    """

    engine: sa.Engine
    bucket: str
    run_id: str
    policy: RetryPolicy
    may_write: Callable[[], None] = lambda: None
    """Raises when the lock of the run is held no longer."""
    keep: bool = True
    """False in a rehearsal: what is written is taken back."""

    @classmethod
    def of(
        cls, engine: sa.Engine, settings: Settings, run: Run, may_write: Callable[[], None], *, keep: bool
    ) -> Tracking:
        """The tracking of a run."""
        policy = RetryPolicy.of(settings, stop=run.stop, on_retry=run.notify)
        return cls(engine, settings.gcs_bucket, run.id, policy, may_write, keep)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        with translated(), self.engine.connect() as connection:
            yield connection

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction, and again when another program was in its way."""
        return self.policy.call(lambda: self._once(work), "the practice database")

    def _once(self, work: Callable[[sa.Connection], T]) -> T:
        self.may_write()
        with translated():
            try:
                with writing(self.engine, keep=self.keep) as connection:
                    return work(connection)
            except sa.exc.IntegrityError:
                pass
        raise Conflict  # out here: what led to it quotes names

    # --- what is known of objects -------------------------------------------------------------------------------------

    def of_listed(self, listing: ObjectListing) -> dict[tuple[str, int], TrackedObject]:
        """What is known of the objects, by name and generation; where all are listed, the others are noted as gone."""
        chosen = sa.select(*_COLUMNS).where(_t.bucket == self.bucket, _t.deleted_at.is_(None))
        with self.reading() as connection:
            tracked = {(row.object_name, row.generation): TrackedObject(*row) for row in connection.execute(chosen)}
        gone = tracked.keys() - {(one.name, one.generation) for one in listing.objects}
        if gone and listing.whole:
            self.gone(sorted(gone))
        return tracked

    def fail(self, about: ListedObject, code: str, *, sha256: str | None, copy_name: str | None, attempts: int) -> str:
        """Count a failed attempt; returns the status: failed, or dead after the last one."""
        status = DEAD if attempts >= ATTEMPTS else FAILED
        values = {"status": status, "attempts": attempts, "code": code, "sha256": sha256, "copy_name": copy_name}
        self.write(lambda connection: put(connection, self.bucket, about, self.run_id, values))
        return status

    def not_recognised(self, about: ListedObject) -> None:
        """Note an object that is left where it is."""
        values = {"status": UNRECOGNISED, "attempts": 0}
        self.write(lambda connection: put(connection, self.bucket, about, self.run_id, values))

    def gone(self, rows: Iterable[tuple[str, int]]) -> None:
        """Note that generations are not in the bucket any more."""
        now = datetime.now(UTC)

        def note(connection: sa.Connection) -> None:
            for name, generation in rows:
                same = (_t.bucket == self.bucket, _t.object_name == name, _t.generation == generation)
                values = {"deleted_at": now, "updated_at": now}
                connection.execute(sa.update(patient_tracking).where(*same).values(values))

        self.write(note)

    def forgive(self, chosen: Iterable[str] | None) -> int:
        """Let objects that failed start anew: those of these names, or (None) all that are dead. Returns how many."""
        failed = (
            _t.status == DEAD if chosen is None else _t.status.in_((FAILED, DEAD)) & _t.object_name.in_(list(chosen))
        )
        values = {"status": FAILED, "attempts": 0, "updated_at": datetime.now(UTC)}
        rows = sa.update(patient_tracking).where(_t.bucket == self.bucket, _t.deleted_at.is_(None), failed)
        return self.write(lambda connection: connection.execute(rows.values(values)).rowcount)

    def forgive_one(self, wanted: str, mark: Callable[[str], str]) -> None:
        """Let one object start anew, by its name or its keyed hash: a hash leaves no name in the shell's history.

        Raises:
            BadInput: no such object has failed.
        """
        chosen = [name for name in names(self.engine) if wanted in (name, mark(name))]
        if not chosen or not self.forgive(chosen):
            raise BadInput(
                "no failed object has that name or hash",
                reason="object-not-failed",
                hint="give the hash from a mail or from `runs show`",
            )

    # --- what is told -------------------------------------------------------------------------------------------------

    def news(self) -> list[ObjectNews]:
        """Return what the operator was not told yet, oldest first; whoever has the lock by now tells it."""

        def look() -> list[ObjectNews]:
            self.may_write()
            with self.reading() as connection:
                return self._news(connection)

        return self.policy.call(look, "the practice database")

    def _news(self, connection: sa.Connection) -> list[ObjectNews]:
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
        found = [TrackedObject(*row) for row in connection.execute(trouble.order_by(_t.id))]
        again = dict[str, list[TrackedObject]]()
        for row in connection.execute(well.order_by(_t.id)):
            again.setdefault(row.object_name, []).append(TrackedObject(*row))
        news = [ObjectNews((one.id,), one.name, one.status, one.code, one.attempts) for one in found]
        return news + [_recovered(rows) for rows in again.values()]

    def told(self, news: Sequence[ObjectNews]) -> None:
        """Note that the operator was told."""

        def note(connection: sa.Connection) -> None:
            for one in news:
                connection.execute(sa.update(patient_tracking).where(_t.id.in_(one.ids)).values(told=one.status))

        self.write(note)


_COLUMNS = (_t.id, _t.object_name, _t.generation, _t.status, _t.attempts, _t.code, _t.told)


def names(engine: sa.Engine) -> Sequence[str]:
    """The name of every object that was ever seen, in every bucket. Raises as ``database.translated``."""
    with translated(), engine.connect() as connection:
        return connection.scalars(sa.select(_t.object_name).distinct()).all()


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


def _recovered(rows: Sequence[TrackedObject]) -> ObjectNews:
    return ObjectNews(tuple(row.id for row in rows), rows[0].name, RECOVERED, rows[-1].code, rows[-1].attempts)
