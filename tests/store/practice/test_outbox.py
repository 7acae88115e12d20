"""The outbox in both databases. What the brokers say is played here; tests/remote/test_kafka.py has real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.store.practice import outbox
from dataflows.store.practice.outbox import Drained, Event, PublishVerdict, add, add_many, drain, forget_old
from dataflows.store.practice.tables import outbox as table

TOPIC = "patient-events"


def rows(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(table.c.seq)))


def fill(engine: sa.Engine, *keys: str) -> None:
    """One event per key, in this order; the payload says how many came before it."""
    with engine.begin() as connection:
        add_many(connection, [("patient.updated", key, {"n": n}) for n, key in enumerate(keys)])


class Brokers:
    """Remembers what it is given, and judges it."""

    def __init__(self, judge: Callable[[Sequence[Event]], PublishVerdict] = PublishVerdict) -> None:
        self.events: list[Event] = []
        self.rounds: list[list[tuple[str, int]]] = []
        self._judge = judge

    def __call__(self, events: Sequence[Event]) -> PublishVerdict:
        self.events.extend(events)
        self.rounds.append([(event.key, event.value["payload"].get("n")) for event in events])
        return self._judge(events)


def test_an_event_has_what_the_consumers_need(practice: sa.Engine) -> None:
    with practice.begin() as connection:
        add(connection, "patient.created", 7, {"patient_id": 7, "patient_data": {"ort": "Köln"}})
    brokers = Brokers()
    drain(practice, TOPIC, brokers)

    [event] = brokers.events
    value = dict(event.value)
    assert event.key == "7"
    assert len(value.pop("eventId")) == 36
    assert datetime.fromisoformat(value.pop("timestamp")).utcoffset() == timedelta(0)
    assert value == {
        "eventType": "patient.created",
        "version": "1.0",
        "producer": "dataflows",
        "payload": {"patient_id": 7, "patient_data": {"ort": "Köln"}},
    }


def test_no_change_no_event(practice: sa.Engine) -> None:
    with pytest.raises(RuntimeError), practice.begin() as connection:
        add(connection, "patient.created", 1, {})
        raise RuntimeError

    assert rows(practice) == []


def test_what_is_published_is_marked_and_loses_its_payload(practice: sa.Engine) -> None:
    fill(practice, "a", "b")

    assert drain(practice, TOPIC, Brokers()) == Drained(published=2)
    assert [(row.payload, row.published_at is not None) for row in rows(practice)] == [(None, True)] * 2
    again = Brokers()
    assert drain(practice, TOPIC, again) == Drained()
    assert again.rounds == []


def test_each_topic_is_drained_by_itself(practice: sa.Engine) -> None:
    with practice.begin() as connection:
        add_many(connection, [("patient.created", "1", {"n": 0}), ("therapist.created", "1", {"n": 1})])

    assert drain(practice, "therapist-events", Brokers()) == Drained(published=1)
    assert [row.topic for row in rows(practice) if row.published_at is None] == [TOPIC]


def test_one_event_of_a_key_at_a_time(practice: sa.Engine) -> None:
    fill(practice, "a", "b", "a", "c", "a")
    brokers = Brokers()
    drain(practice, TOPIC, brokers)

    assert brokers.rounds == [[("a", 0), ("b", 1)], [("a", 2), ("c", 3)], [("a", 4)]]


def test_many_are_read_in_pages(practice: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PAGE", 2)
    fill(practice, *"abcde")
    brokers = Brokers()

    assert drain(practice, TOPIC, brokers) == Drained(published=5)
    assert [len(one) for one in brokers.rounds] == [2, 2, 1]


def test_where_the_brokers_stop_the_rest_waits_in_order(practice: sa.Engine) -> None:
    fill(practice, "a", "b", "a", "b")
    away = Brokers(lambda events: PublishVerdict(events[:1], why="away"))

    assert drain(practice, TOPIC, away) == Drained(published=1, waiting=3, why="away")
    later = Brokers()
    assert drain(practice, TOPIC, later) == Drained(published=3)
    assert later.rounds == [[("b", 1), ("a", 2)], [("b", 3)]]


def test_a_refused_event_holds_back_its_own_key_only(practice: sa.Engine) -> None:
    fill(practice, "a", "b", "a", "b")
    picky = Brokers(
        lambda events: PublishVerdict([e for e in events if e.key == "b"], [e for e in events if e.key == "a"])
    )

    assert drain(practice, TOPIC, picky) == Drained(published=2, refused=1, waiting=2)
    assert picky.rounds == [[("a", 0), ("b", 1)], [("b", 3)]]


def test_what_died_before_the_mark_is_published_again_under_its_id(practice: sa.Engine) -> None:
    fill(practice, "a")
    killed, later = Brokers(dies), Brokers()
    with pytest.raises(KeyboardInterrupt):
        drain(practice, TOPIC, killed)
    drain(practice, TOPIC, later)

    assert [event.value["eventId"] for event in later.events] == [event.value["eventId"] for event in killed.events]
    assert len(later.events) == 1


def dies(_: Sequence[Event]) -> PublishVerdict:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("days", "forgotten"), [(29, 0), (31, 2)])
def test_an_old_row_loses_its_payload_unpublished(practice: sa.Engine, days: int, forgotten: int) -> None:
    fill(practice, "a", "b")
    then = datetime.now(UTC) + timedelta(days=days)

    assert forget_old(practice, TOPIC, now=then) == Drained(waiting=2 - forgotten, forgotten=forgotten)
    assert [row.payload is None for row in rows(practice)] == [forgotten > 0] * 2
    assert drain(practice, TOPIC, Brokers(), now=then) == Drained(published=2 - forgotten)
