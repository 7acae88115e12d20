"""kill -9 between files and in the middle of one, then the same command: as if nothing had happened. And two hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from dataflows.flows.practice.therapists.creating import Creating
from dataflows.store.practice.tables import import_tracking, outbox
from tests.flows.patients.fatal import Victims, victims
from tests.flows.therapists.world import World, scrape, therapist
from tests.processes import Process, Program, until

__all__ = ["victims"]

SMALL, LARGE = 60, 2500
FIRST, LATER = "2025-07-01T03:00", "2025-07-08T03:00"


def crowd(zip_code: str, number: int, **fields: Any) -> list[dict[str, Any]]:
    """So many therapists of a ZIP code."""
    return [
        therapist(f"Vorname{n}", f"Muster{zip_code}", source_id=f"praxis{zip_code}{n}", postal_code=zip_code, **fields)
        for n in range(number)
    ]


def fill(world: World) -> None:
    """Most therapists were there before; all have news, and a large file brings new ones."""
    codes = [f"5200{n}" for n in range(4)]
    for code in codes:
        world.put(f"20250701/{code}.json", scrape(*crowd(code, SMALL), date=FIRST))
    assert world.bring_in().code == 0
    for n, code in enumerate(codes):
        world.put(f"20250708/{code}.json", scrape(*crowd(code, SMALL, city="Bonn"), date=f"2025-07-08T0{n}:00"))
    world.put("20250708/80331.json", scrape(*crowd("80331", LARGE, text="x" * 600), date=LATER + ":59"))


def state(world: World) -> dict[str, Any]:
    """What is in the database, without ids and times of ours."""
    events = Counter((row.event_type, row.payload["therapist_data"]["city"]) for row in world.rows(outbox))
    return {
        "therapists": Counter((one.last_name, one.city, one.active, one.seen_in) for one in world.therapists),
        "people": len({(one.first_name, one.last_name) for one in world.therapists}),
        "events": events,
        "tracked": sorted(world.tracked),
    }


def tracked(world: World, number: int) -> Callable[[], bool]:
    """Whether so many files of the second week are in the database."""
    query = sa.select(sa.func.count()).where(import_tracking.c.file_name.like("20250708/%"))

    def reached() -> bool:
        with world.engine.connect() as connection:
            return int(connection.execute(query).scalar_one()) >= number

    return reached


def in_the_middle(world: World, database: Path) -> Callable[[], bool]:
    """Whether a part of the large file is written, and not committed."""
    copying = sa.text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY therapists %'")

    def reached() -> bool:
        if world.engine.dialect.name == "sqlite":
            log = Path(f"{database}-wal")
            return log.exists() and log.stat().st_size > 2_000_000  # what does not fit into SQLite's cache goes there
        with world.engine.connect() as connection:
            return int(connection.execute(copying).scalar_one()) > 0 and tracked(world, 4)()

    return reached


def test_a_killed_run_leaves_whole_files_and_the_next_one_does_the_rest(world: World) -> None:
    fill(world)
    program = Program(world.folder / "elsewhere", world.environment)
    for moment in (tracked(world, 1), tracked(world, 3), in_the_middle(world, world.folder / "practice.db")):
        with program.start("therapist-import", "--json") as process:
            until(moment, "the moment to kill")
            process.kill()
        assert_whole_files(world)
    assert not tracked(world, 5)(), "the large file was in the database before it could be killed"
    assert world.call("runs", "list", "--resumable", "--json").document["items"] != []
    assert program.run("therapist-import", "--json").code == 0
    assert_whole_files(world)
    found = state(world)
    assert found["people"] == sum(found["therapists"].values()) == 4 * SMALL + LARGE
    assert found["events"] == {
        ("therapist.created", "Aachen"): 4 * SMALL + LARGE,
        ("therapist.updated", "Bonn"): 4 * SMALL,
    }
    assert [status for _, status, _ in found["tracked"]] == ["success"] * 9
    assert program.run("therapist-import", "--json")["files"]["skipped"] == 5


def assert_whole_files(world: World) -> None:
    """What is tracked is wholly there, and nothing else is."""
    done = {name for name, status, _ in world.tracked if status == "success"}
    assert {one.seen_in for one in world.therapists} <= done
    assert {name for name, _ in world.changes_by_file} <= done
    changed = Counter(name for name, _ in world.changes_by_file)
    assert set(changed.values()) <= {SMALL}


def test_of_two_hosts_one_runs_and_the_other_ends_with_11_until_the_first_one_is_gone(world: World) -> None:
    world.put("52074.json", scrape(therapist()), age=0)
    first, second = (
        Program(world.folder / name, {**world.environment, "DATA_DIR": str(world.folder / name / "data")})
        for name in ("one", "two")
    )
    with first.start("therapist-import", "--json", THERAPIST_SETTLE_SECONDS="60") as waiting:
        until(held(world, waiting), "the first host at work")
        refused = second.run("therapist-import", "--json")
        assert (refused.code, refused["error"]["code"]) == (11, "already_running")
        waiting.kill()
    assert second.run("therapist-import", "--json")["therapists"]["new"] == 1


class Closed:
    """Keeps everybody from writing to the database until it is opened; reading goes on."""

    def __init__(self, world: World) -> None:
        self._connection = world.engine.connect()
        if world.engine.dialect.name == "sqlite":
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            self._connection.exec_driver_sql("LOCK TABLE therapists, import_tracking IN SHARE ROW EXCLUSIVE MODE")

    def open(self) -> None:
        """Let the others write."""
        self._connection.rollback()
        self._connection.close()


def test_of_two_machines_that_start_at_once_one_runs_and_the_other_ends_with_11(world: World, victims: Victims) -> None:
    world.bring_in()  # SQLite changes its way of locking once, and waits for nobody then
    machines = [{**world.environment, "DATA_DIR": str(world.folder / f"machine {number}")} for number in (1, 2)]
    for number in range(8):
        world.put("52074.json", scrape(therapist(phone=f"030 23125 10{number}"), date=f"2025-07-0{1 + number}T03:00"))
        assert sorted(victims.at_once(machines, Closed(world), "therapist-import")) == [0, 11]
    assert world.events == ["therapist.created"] + ["therapist.updated"] * 7
    assert (len(world.changes), len(world.therapists), len(world.tracked)) == (7, 1, 8)


def test_a_session_that_is_cut_in_the_middle_of_a_file_takes_it_back_and_the_next_run_does_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no sessions that could be cut")
    create = Creating.write

    def cut(creating: Creating, new: Any) -> None:
        create(creating, new)
        with world.engine.connect() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            connection.execute(sa.text(f"{others} AND pid <> pg_backend_pid()"))

    world.put("52074.json", scrape(therapist()))
    with monkeypatch.context() as patch:
        patch.setattr(Creating, "write", cut)
        assert world.bring_in().code == 13
    assert (world.therapists, world.tracked, world.events) == ([], [], [])
    assert world.bring_in().counts == {"new": 1}


def held(world: World, process: Process) -> Callable[[], bool]:
    """Whether a process holds the lock of the database. Only looked at: whoever tries a lock can be in the way."""

    def reached() -> bool:
        if world.engine.dialect.name == "sqlite":
            files = [Path(one.path) for one in psutil.Process(process.pid).open_files()]
            return any(path.parent == world.folder and path.suffix == ".lock" for path in files)
        with world.engine.connect() as connection:
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            return bool(connection.exec_driver_sql(locks).scalar())

    return reached


def test_watching_goes_on_until_it_is_stopped(world: World) -> None:
    if world.engine.dialect.name == "sqlite":
        program = Program(world.folder / "elsewhere", world.environment)
        world.put("52074.json", scrape(therapist()))
        with program.start("therapist-import", "--watch", "--every", "0.3s") as process:
            until(lambda: len(world.therapists) == 1, "the first pass")
            world.put("52066.json", scrape(therapist("Anna", source_id="praxis5")))
            until(lambda: len(world.therapists) == 2, "another pass")
            process.interrupt()
            assert process.ended().code == 130
