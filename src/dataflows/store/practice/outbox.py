"""The outbox: one row per committed change, written in the transaction of the change, published afterwards.

So an event exists exactly when its change does, whatever happens to the brokers. Publishing itself is
``remote/kafka.py``; here is what it reads and what it leaves behind. See docs/decisions/events.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.store.practice import database
from dataflows.store.practice.tables import outbox

VERSION = "1.0"
PRODUCER = "dataflows"
KEPT_FOR = timedelta(days=30)
"""How long a row keeps its payload while nobody publishes it, unless OUTBOX_KEEP_DAYS says otherwise."""
PAGE = 500
"""Rows that are read and published at a time."""

Change: TypeAlias = tuple[str, str, Mapping[str, Any]]
"""Event type (``patient.created``), key (the id whose events stay in order), payload."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event that is still to be published."""

    seq: int
    key: str
    value: Mapping[str, Any]
    """What is published: eventId, eventType, version, timestamp, producer, payload."""


@dataclass(frozen=True, slots=True)
class PublishVerdict:
    """What the brokers made of some events: which are safe, which they will never take, and whether to go on.

    ``why`` says in our own words why they stopped; empty means that more can be handed over.
    """

    published: Sequence[Event] = ()
    refused: Sequence[Event] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of a topic's rows: published now, refused for what they are, still waiting, and why.

    ``forgotten`` are those that lost their payload just now, unpublished, because they are too old.
    """

    published: int = 0
    refused: int = 0
    waiting: int = 0
    forgotten: int = 0
    why: str = ""


def topic_of(event_type: str) -> str:
    """The topic of an event: ``patient.created`` goes to ``patient-events``."""
    return f"{event_type.partition('.')[0]}-events"


def add(connection: sa.Connection, event_type: str, key: str | int, payload: Mapping[str, Any]) -> None:
    """Add the event of one change, in the transaction of ``connection``; ``payload`` has to be fit for JSON."""
    add_many(connection, [(event_type, str(key), payload)])


def add_many(connection: sa.Connection, changes: Iterable[Change]) -> int:
    """Add the events of many changes, in their order and in the transaction of ``connection``; returns how many.

    The caller bounds how many come at once. Raises what the database raises (``database.translated``).
    """
    now = datetime.now(UTC)
    rows = [
        {
            "event_id": str(uuid.uuid4()),
            "event_type": event_type,
            "topic": topic_of(event_type),
            "key": str(key),
            "created_at": now,
            "payload": payload,
        }
        for event_type, key, payload in changes
    ]
    database.insert(connection, outbox, rows)
    return len(rows)


def add_from(
    connection: sa.Connection,
    event_type: str,
    key: sa.ColumnElement[Any],
    payload: sa.ColumnElement[Any],
    chosen: sa.ColumnElement[bool],
) -> None:
    """Add an event for each row of a table (that of ``key``) that is chosen; PostgreSQL does it all by itself.

    Raises what the database raises (``database.translated``).
    """
    values = {
        "event_id": sa.cast(sa.func.gen_random_uuid(), sa.Text),
        "event_type": sa.literal(event_type),
        "topic": sa.literal(topic_of(event_type)),
        "key": sa.cast(key, sa.Text),
        "created_at": sa.literal(datetime.now(UTC), outbox.c.created_at.type),
        "payload": payload,
    }
    rows = sa.select(*values.values()).where(chosen).order_by(key)
    connection.execute(sa.insert(outbox).from_select(list(values), rows, include_defaults=False))


def drain(
    engine: sa.Engine,
    topic: str,
    publish: Callable[[Sequence[Event]], PublishVerdict],
    *,
    now: datetime | None = None,
    forget: bool = True,
    keep: timedelta = KEPT_FOR,
) -> Drained:
    """Hand all unpublished events of a topic to ``publish``, oldest first, and mark those that are safe.

    Call it under the lock of the job that writes this topic. At least once: what was published and not marked, because
    the process died in between, is published again. In order per key: at most one event of a key is handed over at a
    time, the next one when it is safe; behind one that is refused, its key waits.
    Raises what the database raises.
    """
    forgotten = forget_old(engine, topic, now=now, forget=forget, keep=keep).forgotten
    published, refused, why = 0, set[str](), ""
    for events in _in_rounds(engine, topic, refused):
        verdict = publish(events)
        _mark(engine, verdict.published)
        published += len(verdict.published)
        refused |= {event.key for event in verdict.refused}
        why = verdict.why
        if why:
            break
    return Drained(published, len(refused), _waiting(engine, topic), forgotten, why)


def newest(engine: sa.Engine) -> datetime | None:
    """When the newest event was added, published or not. Raises what the database raises."""
    with engine.connect() as connection:
        found: datetime | None = connection.execute(sa.select(sa.func.max(outbox.c.created_at))).scalar()
    return found


def forget_old(
    engine: sa.Engine, topic: str, *, now: datetime | None = None, forget: bool = True, keep: timedelta = KEPT_FOR
) -> Drained:
    """Take the payload from rows older than ``keep``, whether anybody publishes or not; ``forget`` False: from none.

    Raises what the database raises.
    """
    if not forget:
        return Drained(waiting=_waiting(engine, topic))
    before = (now or datetime.now(UTC)) - keep
    old = sa.update(outbox).where(*_unpublished(topic), outbox.c.created_at < before)
    with engine.begin() as connection:
        forgotten = connection.execute(old.values(payload=sa.null())).rowcount
    return Drained(waiting=_waiting(engine, topic), forgotten=forgotten)


def _in_rounds(engine: sa.Engine, topic: str, refused: set[str]) -> Iterator[list[Event]]:
    """The events in the order of their rows, cut where a key comes again; those of a refused key are left out."""
    last = 0
    while page := _page(engine, topic, last):
        last = page[-1].seq
        part: dict[str, Event] = {}
        for event in page:
            if event.key in part:
                yield list(part.values())
                part = {}
            if event.key not in refused:
                part[event.key] = event
        if part:
            yield list(part.values())


def _page(engine: sa.Engine, topic: str, last: int) -> list[Event]:
    query = sa.select(outbox).where(*_unpublished(topic), outbox.c.seq > last).order_by(outbox.c.seq).limit(PAGE)
    with engine.connect() as connection:
        return [Event(row.seq, row.key, _value(row)) for row in connection.execute(query)]


def _value(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "eventId": row.event_id,
        "eventType": row.event_type,
        "version": VERSION,
        "timestamp": row.created_at.isoformat(),
        "producer": PRODUCER,
        "payload": row.payload,
    }


def _mark(engine: sa.Engine, events: Sequence[Event]) -> None:
    if not events:
        return
    done = sa.update(outbox).where(outbox.c.seq.in_([event.seq for event in events]))
    with engine.begin() as connection:
        connection.execute(done.values(published_at=datetime.now(UTC), payload=sa.null()))


def _waiting(engine: sa.Engine, topic: str) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).where(*_unpublished(topic))).scalar_one()


def _unpublished(topic: str) -> tuple[sa.ColumnElement[bool], ...]:
    return outbox.c.topic == topic, outbox.c.published_at.is_(None), outbox.c.payload.is_not(sa.null())
