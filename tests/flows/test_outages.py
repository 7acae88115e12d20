"""The database is down for a while: a real server that breaks off before a pass, in the middle of it, at its commit.

Whatever was not committed is taken up by the next pass, and no attempt is counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.practice.therapists import tracking
from dataflows.flows.practice.therapists.creating import Creating
from dataflows.sandbox.server import Sandbox
from dataflows.store.practice.migrate import migrate
from tests.flows.outage import Server, fragile
from tests.flows.patients import world as patients
from tests.flows.patients.world import registration
from tests.flows.therapists import world as therapists
from tests.flows.therapists.world import scrape, therapist
from tests.processes import Program, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and sockets of POSIX")

POISON = "Beispiel_Eva_2025-07-05_0b1ab67b.json"
FILE = "52074.json"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fragile() as running:
        yield running


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    server.start()
    yield server.database("practice")
    server.start()


@pytest.fixture
def bucket(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[patients.World]:
    with Sandbox(seed=1) as box:
        world = patients.World(tmp_path, box, capsys, url)
        migrate(world.engine)
        yield world
        world.engine.dispose()


@pytest.fixture
def folder(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[therapists.World]:
    world = therapists.World(tmp_path, capsys, url)
    migrate(world.engine)
    yield world
    world.engine.dispose()


def once(work: Callable[..., Any], before: Callable[[], None]) -> Callable[..., Any]:
    """A function before whose first call something happens."""
    left = [before]

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return work(*arguments, **options)

    return wrapped


# --- patient-import ---------------------------------------------------------------------------------------------------


def is_whole(world: patients.World) -> None:
    """One registration, once everywhere, and gone from the bucket."""
    world.engine.dispose()
    assert (len(world.patients), len(world.registrations), len(world.consents), len(world.files())) == (1, 1, 1, 1)
    assert [event.event_type for event in world.events] == ["patient.created"]
    [tracked] = world.tracked
    assert (tracked.status, tracked.attempts, tracked.deleted_at is not None) == ("imported", 0, True)
    assert world.bucket.objects == {}


def test_a_server_that_is_down_before_the_pass(bucket: patients.World, server: Server) -> None:
    bucket.arrive(registration())
    bucket.engine.dispose()
    server.crash()
    for _ in range(6):  # more often than bad content is tried
        ran = bucket.bring_in()
        assert (ran.code, ran["error"]["code"]) == (13, "service_down"), ran.err
    assert (len(bucket.bucket.objects), bucket.files()) == (1, {})
    [mail] = bucket.mails()  # once, however often it is tried
    assert "nothing could be imported" in mail
    server.start()
    assert bucket.bring_in().figures("imported", "deleted") == [1, 1]
    is_whole(bucket)


@pytest.mark.parametrize("moment", ["download", "delete"])
def test_a_server_that_breaks_off_in_the_middle_of_a_pass(bucket: patients.World, server: Server, moment: str) -> None:
    bucket.arrive(registration())
    bucket.bucket.then(moment, server.crash)
    ran = bucket.bring_in()
    assert (ran.code, ran["error"]["code"], ran["failed"]) == (13, "service_down", 0), ran.err
    server.start()
    assert bucket.bring_in().code == 0
    is_whole(bucket)


def test_a_server_that_is_back_at_once_costs_nothing(bucket: patients.World, server: Server) -> None:
    """Sessions are cut, the lock is taken anew, and the pass goes on."""
    bucket.arrive(registration())
    bucket.bucket.then("download", server.restart)
    assert bucket.bring_in(HTTP_ATTEMPTS="5").figures("imported", "deleted") == [1, 1]
    is_whole(bucket)


def test_bad_content_counts_its_own_attempts_only(bucket: patients.World, server: Server) -> None:
    bucket.bucket.put(POISON, b"{}")
    for down in (False, True, False):
        if down:
            bucket.bucket.then("download", server.crash)
        assert bucket.bring_in().code in ([13] if down else [3, 4])
        server.start()
    bucket.engine.dispose()
    assert [(row.status, row.attempts) for row in bucket.tracked] == [("failed", 2)]
    told = [mail.partition("\n")[0] for mail in bucket.mails()]
    assert [line.partition(": ")[2] for line in told] == ["1 failed", "nothing could be imported", "works again"]


# --- therapist-import -------------------------------------------------------------------------------------------------


def is_imported(world: therapists.World) -> None:
    """Two therapists with an event each, from one file that never failed."""
    world.engine.dispose()
    assert world.names == ["Anna Muster", "Thomas Muster"]
    assert (world.events, world.tracked) == (["therapist.created"] * 2, [(FILE, "success", None)])
    assert world.mails() == []


def put(world: therapists.World) -> None:
    """The file arrives."""
    world.put(FILE, scrape(therapist(), therapist("Anna", source_id="praxis5")))


@pytest.mark.parametrize("place", [(Creating, "write"), (tracking, "record")], ids=["within", "before the commit"])
def test_a_server_that_breaks_off_in_the_middle_of_a_file(
    folder: therapists.World, server: Server, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    owner, name = place
    put(folder)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, once(getattr(owner, name), server.crash))
        assert folder.bring_in().code == 13
    server.start()
    folder.engine.dispose()
    assert (folder.therapists, folder.tracked, folder.events) == ([], [], [])
    assert folder.bring_in().counts == {"new": 2}
    is_imported(folder)


def test_a_commit_that_came_through_and_was_not_answered(
    folder: therapists.World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder)
    commit, written = sa.Connection.commit, list[str]()

    def lost(connection: sa.Connection) -> None:
        commit(connection)
        if written:
            server.crash()
            raise sa.exc.OperationalError("COMMIT", {}, Exception("gone"), connection_invalidated=True)

    with monkeypatch.context() as patch:
        patch.setattr(Creating, "write", once(Creating.write, lambda: written.append("the file")))
        patch.setattr(sa.Connection, "commit", lost)
        assert folder.bring_in().code == 13
    server.start()
    ran = folder.bring_in()
    assert (ran.code, ran.files("imported", "skipped")) == (0, [0, 1])
    is_imported(folder)


# --- --watch ----------------------------------------------------------------------------------------------------------


def subjects(world: Any) -> list[str]:
    return [text.splitlines()[0] for text in world.mails()]


@pytest.mark.parametrize("command", ["patient-import", "therapist-import"])
def test_three_passes_in_vain_are_one_mail_and_the_recovery_another(
    request: pytest.FixtureRequest, server: Server, command: str
) -> None:
    world = request.getfixturevalue("bucket" if command == "patient-import" else "folder")
    server.crash()
    program = Program(world.folder / "elsewhere", world.environment)
    with program.start(command, "--watch", "--every", "0.05s", "--json") as process:
        until(lambda: len(world.mails()) == 1, "the mail")
        world.arrive(registration()) if command == "patient-import" else put(world)
        server.start()
        until(lambda: len(world.mails()) == 2, "the second mail")
        process.interrupt()
        ended = process.ended()
    assert ended.code == 130
    assert ended.out.count('"exit_code": 13') >= 3
    assert subjects(world) == [f"{command}: nothing could be imported in 3 passes", f"{command}: works again"]
    world.engine.dispose()
    assert len(world.events) == (1 if command == "patient-import" else 2)
