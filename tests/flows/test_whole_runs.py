"""Whole runs of both imports with all that they tell others: real brokers, a real mail server, a real health check."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from dataflows.remote import kafka
from dataflows.sandbox.server import Sandbox
from dataflows.store.database import connect
from dataflows.store.practice.database import lock_for
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.outbox import Event, PublishVerdict
from dataflows.store.practice.tables import outbox
from tests.flows.patients import world as patients
from tests.flows.patients.world import registration
from tests.flows.therapists import world as therapists
from tests.flows.therapists.world import scrape, therapist
from tests.kafka import Brokers, running
from tests.remote.loopback import Loopback, reply, serving

POISON = "Beispiel_Eva_2025-07-05_0b1ab67b.json"


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    with running() as up:
        yield up


@pytest.fixture
def health() -> Iterator[Loopback]:
    with serving(reply(200)) as seen:
        yield seen


@pytest.fixture(scope="session")
def whole_url(postgres_url: str) -> str:
    """A PostgreSQL database of its own."""
    engine = connect(postgres_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE whole_runs"))
    engine.dispose()
    return sa.make_url(postgres_url).set(database="whole_runs").render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'practice.db'}"
    return str(request.getfixturevalue("whole_url"))


class Night(NamedTuple):
    """One of the imports with everything around it: what arrives the first night, and what the second."""

    world: Any
    box: Sandbox
    topic: str
    settings: dict[str, str]
    first: Callable[[], None]
    second: Callable[[], None]

    def run(self) -> Any:
        """One run of the program, by its command line."""
        command = self.topic.replace("-events", "-import")
        return self.world.call(command, "--json", **self.settings)


@pytest.fixture(params=["patient-events", "therapist-events"])
def night(
    request: pytest.FixtureRequest,
    url: str,
    brokers: Brokers,
    health: Loopback,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Night]:
    with Sandbox(seed=1) as box:
        make = _patients if request.param == "patient-events" else _therapists
        world, first, second = make(tmp_path, box, capsys, url)
        migrate(world.engine)
        mail = {name: text for name, text in box.settings().items() if name.startswith(("SMTP", "MAIL", "NOTIFY"))}
        settings = {**mail, "KAFKA_BOOTSTRAP_SERVERS": brokers.servers}
        for job in ("PATIENT", "THERAPIST"):
            settings[f"HEALTHCHECK_URL_{job}_IMPORT"] = f"{health.url}/ping/secret"
        yield Night(world, box, request.param, settings, first, second)
        world.empty()


Made = tuple[Any, Callable[[], None], Callable[[], None]]


def _patients(folder: Path, box: Sandbox, capsys: Any, url: str) -> Made:
    """One who registers five times, one who does once, and a file that is none."""
    world = patients.World(folder, box, capsys, url)

    def first() -> None:
        for number in range(5):
            world.arrive(registration(after=number, token=f"{number:08}", telefon=str(number)), after=number)
        world.arrive(registration("Berta", "Beispiel"))
        world.bucket.put(POISON, b"{}")

    def second() -> None:
        world.bucket._shelf.remove(POISON)
        world.arrive(registration(after=60, token="f" * 8, telefon="5"), after=60)

    return world, first, second


def _therapists(folder: Path, box: Sandbox, capsys: Any, url: str) -> Made:
    """One whom five files show, each with news; another one; and a file that is none."""
    world = therapists.World(folder, capsys, url)

    def first() -> None:
        for number in range(5):
            name, date = f"5200{number}.json", f"2025-07-0{1 + number}T03:00"
            others = [therapist("Berta", source_id="praxis2")] if number == 0 else []
            world.put(name, scrape(therapist(phone=f"030 23125 10{number}"), *others, date=date))
        world.put("52999.json", b"{")

    def second() -> None:
        (world.dir / "52999.json").unlink()
        world.put("52006.json", scrape(therapist(phone="030 23125 105"), date="2025-07-09T03:00"))

    return world, first, second


def rows(night: Night) -> list[Any]:
    with night.world.engine.connect() as connection:
        return list(connection.execute(sa.select(outbox).order_by(outbox.c.seq)))


def told(brokers: Brokers, topic: str) -> dict[str, list[str]]:
    """By key, in order: the kind of each event, and the last digit of the phone number that it tells."""
    found = defaultdict(list)
    for key, value in brokers.taken(topic):
        data = next(data for name, data in value["payload"].items() if name.endswith("_data"))
        phone = str(data.get("telefon") or data.get("phone") or "-")
        found[key].append(f"{value['eventType'].partition('.')[2]} {phone[-1]}")
    return dict(found)


def pings(health: Loopback) -> list[str]:
    return [one.line.split()[1] for one in health.requests]


IN_ORDER = ["created 0", "updated 1", "updated 2", "updated 3", "updated 4"]


def broken_off(brokers: Brokers, at: int) -> Callable[..., PublishVerdict]:
    """Publishing, in whose round ``at`` the broker is lost and comes back a moment later."""
    rounds, publish = iter(range(100)), kafka._Brokers.publish

    def publishing(self: kafka._Brokers, events: list[Event]) -> PublishVerdict:
        if next(rounds) == at:
            brokers.down()
            threading.Timer(0.2, brokers.up).start()
        return publish(self, events)

    return publishing


def test_a_night_with_a_broker_that_restarts_in_the_middle(
    night: Night, brokers: Brokers, health: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.first()
    with monkeypatch.context() as patch:
        patch.setattr(kafka._Brokers, "publish", broken_off(brokers, 2))
        ran = night.run()
    assert (ran.code, ran["events"]) == (3, {"published": 6, "waiting": 0}), ran.err
    events = told(brokers, night.topic)
    assert sorted(events.values(), key=len)[-1] == IN_ORDER
    assert sorted(map(len, events.values())) == [1, 5]
    assert all(row.published_at is not None and row.payload is None for row in rows(night))
    assert {value["eventId"] for _, value in brokers.taken(night.topic)} == {row.event_id for row in rows(night)}
    [mail] = night.box.mailbox.messages
    assert mail.message["Subject"].endswith(": 1 failed")
    assert pings(health) == ["/ping/secret/start", "/ping/secret/fail"]

    night.second()
    ran = night.run()
    assert (ran.code, ran["events"]) == (0, {"published": 1, "waiting": 0}), ran.err
    assert sorted(told(brokers, night.topic).values(), key=len)[-1] == [*IN_ORDER, "updated 5"]
    assert len(night.box.mailbox.messages) == 1
    assert pings(health)[2:] == ["/ping/secret/start", "/ping/secret"]


def test_a_night_on_which_nobody_listens_and_the_one_after(
    night: Night, brokers: Brokers, health: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No broker, no mail server: the import itself is whole, and the next night tells everything, once."""
    night.first()
    brokers.down()
    night.box.mailbox.faults.set(refuse=True)
    with monkeypatch.context() as patch:
        patch.setattr(kafka, "SECONDS", 0.3)
        ran = night.run()
    assert (ran.code, ran["events"]) == (3, {"published": 0, "waiting": 6}), ran.err
    assert "events were not published" in ran.err and "a mail was not sent" in ran.err

    night.second()
    brokers.up()
    night.box.mailbox.faults.clear()
    ran = night.run()
    assert (ran.code, ran["events"]) == (0, {"published": 7, "waiting": 0}), ran.err
    assert sorted(told(brokers, night.topic).values(), key=len)[-1] == [*IN_ORDER, "updated 5"]
    assert [mail.message["Subject"].rpartition(": ")[2] for mail in night.box.mailbox.messages] == ["1 failed"]
    assert pings(health) == [f"/ping/secret{end}" for end in ("/start", "/fail", "/start", "")]


def test_without_the_lock_nothing_more_is_told(night: Night, brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is cut when the import ends, and another run has the lock: mail and events are its own to send."""
    if night.world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no sessions that could be cut")
    night.first()
    other = lock_for(connect(night.world.url), night.topic.replace("-events", "-import"))
    real = kafka.drain

    def drained(*arguments: Any, **options: Any) -> Any:
        with connect(night.world.url).connect() as connection:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            connection.execute(sa.text(f"{cut} AND pid <> pg_backend_pid()"))
        other.acquire()
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kafka, "drain", drained)
        ran = night.run()
    other.release()
    assert (ran.code, ran["error"]["code"]) == (11, "already_running")
    assert [row.published_at for row in rows(night)] == [None] * 6
    assert night.run()["events"]["published"] == 6
    assert sorted(told(brokers, night.topic).values(), key=len)[-1] == IN_ORDER
