"""Publishing to real brokers (librdkafka's own) that go away, come back and refuse."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from confluent_kafka import KafkaError

from dataflows.errors import AlreadyRunning, SettingUnusable
from dataflows.remote import kafka
from dataflows.remote.kafka import drain, require_kafka
from dataflows.settings import Settings
from dataflows.store.practice.outbox import Drained, Event, PublishVerdict, add_many
from tests.kafka import Brokers, running

TOPIC = "patient-events"
ONE_DATABASE = pytest.mark.parametrize("practice", ["sqlite"], indirect=True)  # where the database makes no difference


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    with running() as up:
        yield up


@pytest.fixture
def settings(brokers: Brokers, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka_bootstrap_servers=brokers.servers)


def fill(engine: sa.Engine, *keys: str, size: int = 0) -> None:
    """One event per key; the payload says how many came before it."""
    with engine.begin() as connection:
        add_many(connection, [("patient.updated", key, {"n": n, "x": "x" * size}) for n, key in enumerate(keys)])


def numbers(brokers: Brokers, key: str) -> list[int]:
    return [value["payload"]["n"] for one, value in brokers.taken(TOPIC) if one == key]


def test_events_arrive_once_and_in_order(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, *("a", "b", "c") * 4)

    assert drain(settings, practice, TOPIC) == Drained(published=12)
    assert drain(settings, practice, TOPIC) == Drained()
    assert {key: numbers(brokers, key) for key in "abc"} == {
        "a": [0, 3, 6, 9],
        "b": [1, 4, 7, 10],
        "c": [2, 5, 8, 11],
    }


@ONE_DATABASE
def test_the_value_is_the_event(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "ü")
    drain(settings, practice, TOPIC)

    [(key, value)] = brokers.taken(TOPIC)
    assert key == "ü"
    assert set(value) == {"eventId", "eventType", "version", "timestamp", "producer", "payload"}
    assert value["eventType"] == "patient.updated"


def test_brokers_that_are_away_lose_nothing(
    practice: sa.Engine, brokers: Brokers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(practice, "a", "b", "a")
    brokers.down()
    with monkeypatch.context() as patched:
        patched.setattr(kafka, "SECONDS", 0.3)
        away = drain(settings, practice, TOPIC)
    assert (away.published, away.waiting) == (0, 3)
    assert "cannot be reached" in away.why

    brokers.up()
    assert drain(settings, practice, TOPIC) == Drained(published=3)
    assert numbers(brokers, "a") == [0, 2]


def test_brokers_that_restart_in_mid_round_lose_and_double_nothing(
    practice: sa.Engine, brokers: Brokers, settings: Settings
) -> None:
    fill(practice, *("a", "b") * 6)
    rounds = iter(range(100))
    publish = kafka._Brokers.publish

    def restarting(self: kafka._Brokers, events: list[Event]) -> PublishVerdict:
        if next(rounds) == 3:
            brokers.down()
            threading.Timer(0.2, brokers.up).start()
        return publish(self, events)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kafka._Brokers, "publish", restarting)
        assert drain(settings, practice, TOPIC) == Drained(published=12)
    assert numbers(brokers, "a") == list(range(0, 12, 2))
    assert numbers(brokers, "b") == list(range(1, 12, 2))


@ONE_DATABASE
def test_a_hiccup_is_tried_again_by_the_library(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "a", "a")
    brokers.fail(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT)

    assert drain(settings, practice, TOPIC) == Drained(published=2)
    assert numbers(brokers, "a") == [0, 1]


@ONE_DATABASE
def test_what_is_too_large_holds_back_its_own_key_only(
    practice: sa.Engine, brokers: Brokers, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_LARGEST", 5_000)
    fill(practice, "big", size=6_000)
    fill(practice, "small", "big")

    assert drain(settings, practice, TOPIC) == Drained(published=1, refused=1, waiting=2)
    assert [key for key, _ in brokers.taken(TOPIC)] == ["small"]


@ONE_DATABASE
def test_a_broker_that_finds_it_too_large_too(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "a", "a")
    brokers.fail(KafkaError.MSG_SIZE_TOO_LARGE)

    assert drain(settings, practice, TOPIC) == Drained(refused=1, waiting=2)


@ONE_DATABASE
def test_brokers_that_do_not_let_us_publish_are_told(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "a")
    brokers.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    refused = drain(settings, practice, TOPIC)

    assert (refused.published, refused.waiting) == (0, 1)
    assert "do not let us publish" in refused.why


@ONE_DATABASE
def test_without_the_lock_nothing_more_is_published(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "a", "a", "a")
    asked = iter([None, AlreadyRunning("another run has taken over", reason="test")])

    def check() -> None:
        if error := next(asked):
            raise error

    with pytest.raises(AlreadyRunning):
        drain(settings, practice, TOPIC, may_publish=check)
    assert numbers(brokers, "a") == [0]


KILLED = """
import os, sys
from pathlib import Path
from dataflows.remote.kafka import drain
from dataflows.settings import Settings
from dataflows.store.database import connect
from dataflows.store.practice import outbox

mark, rounds = outbox._mark, iter(range(100))

def dying(engine, events):
    if next(rounds) == 2:
        os._exit(9)
    mark(engine, events)

outbox._mark = dying
settings = Settings(data_dir=Path("."), kafka_bootstrap_servers=sys.argv[2])
drain(settings, connect(sys.argv[1]), "patient-events")
"""


@ONE_DATABASE
def test_a_process_that_dies_between_publishing_and_marking_loses_nothing(
    practice: sa.Engine, brokers: Brokers, settings: Settings
) -> None:
    fill(practice, *("a", "b") * 4)
    url = practice.url.render_as_string(hide_password=False)
    died = subprocess.run([sys.executable, "-c", KILLED, url, brokers.servers], timeout=60, check=False)
    assert died.returncode == 9

    assert drain(settings, practice, TOPIC) == Drained(published=4)
    # the round whose mark was lost came twice; nothing else did, and nothing overtook
    assert (numbers(brokers, "a"), numbers(brokers, "b")) == ([0, 2, 4, 4, 6], [1, 3, 5, 5, 7])
    ids = [value["eventId"] for _, value in brokers.taken(TOPIC)]
    assert len(set(ids)) == 8


@ONE_DATABASE
def test_being_stopped_leaves_the_rest(practice: sa.Engine, brokers: Brokers, settings: Settings) -> None:
    fill(practice, "a", "b")
    brokers.down()
    stop = threading.Event()
    stop.set()

    assert drain(settings, practice, TOPIC, stop) == Drained(waiting=2, why="the run is stopping")


@ONE_DATABASE
def test_without_brokers_nothing_is_published(practice: sa.Engine, tmp_path: Path) -> None:
    fill(practice, "a")

    assert drain(Settings(data_dir=tmp_path), practice, TOPIC) == Drained(waiting=1)


def test_the_library_has_to_be_there_before_anything_is_done(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "find_spec", lambda name: None)

    require_kafka(Settings(data_dir=tmp_path))
    with pytest.raises(SettingUnusable) as caught:
        require_kafka(settings)
    assert "with the extra kafka" in caught.value.hint


@ONE_DATABASE
def test_nothing_of_the_library_is_printed(
    practice: sa.Engine,
    brokers: Brokers,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kafka, "SECONDS", 0.3)
    fill(practice, "a")
    brokers.down()
    drain(settings, practice, TOPIC)

    assert "".join(capfd.readouterr()) == ""


@ONE_DATABASE
@pytest.mark.parametrize(
    "answer", [b"\x7f\xff\xff\xff" + bytes(1 << 20), b"\x00\x00\x10\x00", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_what_is_no_broker_is_given_up_in_time(
    practice: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(kafka, "SECONDS", 0.5)
    heard = threading.Event()

    def talk(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                connection.recv(1000)
                heard.set()
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=talk, args=(listener,), daemon=True).start()
        given = replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{listener.getsockname()[1]}")
        fill(practice, "a")
        began = time.monotonic()
        drained = drain(given, practice, TOPIC)
        assert time.monotonic() - began < 10
    assert heard.is_set()
    assert (drained.published, bool(drained.why)) == (0, True)
