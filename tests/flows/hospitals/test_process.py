"""``hospitals-bulk`` as a process of its own: killed, stopped, and met by another one on the same file."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dataflows.sandbox.service import Exchange, Request
from tests.flows.hospitals.world import World
from tests.processes import Process, Program, until

SLOW = {"create_ms": 150.0}


@pytest.fixture
def program(world: World, tmp_path: Path) -> Program:
    return Program(tmp_path / "empty", world.environment)


@contextmanager
def begun(world: World, program: Program, requests: int, *arguments: str, **environment: str) -> Iterator[Process]:
    """A run that has made so many requests."""
    before = world.directory.figures()["requests"]
    with program.start("hospitals-bulk", str(world.file), *arguments, **environment) as process:
        until(lambda: world.directory.figures()["requests"] - before >= requests, f"{requests} requests")
        yield process


def run_of(world: World) -> str:
    """The latest run."""
    return str(world.call("runs", "list", "--json")["items"][0]["run_id"])


@pytest.mark.parametrize("requests", [3, 24])  # test_kill.py has the moments of chance
@pytest.mark.parametrize("afterwards", ["the same command", "resume", "journal lost"])
def test_killed_at_any_moment_the_end_is_the_same(
    world: World, program: Program, requests: int, afterwards: str
) -> None:
    rows = world.write(20)
    world.directory.faults.set(latency_ms=100)
    with begun(world, program, requests, "--workers", "5") as process:
        process.kill()
    world.directory.faults.set(latency_ms=0)
    if afterwards == "journal lost":
        world.lose_the_journal()
    ended = world.resume(run_of(world)) if afterwards == "resume" else world.send()
    assert ended.code == 0, ended.err
    assert world.is_right(rows)


@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_stopped_it_ends_what_is_under_way_and_goes_on_later(world: World, program: Program, stop: str) -> None:
    rows = world.write(20)
    world.directory.faults.set(**SLOW)
    with begun(world, program, 5, "--workers", "3", "--json") as process:
        getattr(process, stop)()
        ended = process.ended().keeps_the_contract()
    created = world.directory.calls["create"]
    assert (ended.code, ended["status"], ended["batch_activated"]) == (130, "resumable", False)
    assert (world.held().total(), world.held(active=True).total()) == (created, 0)
    assert 0 < created < 20
    assert world.resume(ended["run_id"]).code == 0
    assert world.is_right(rows)
    assert world.directory.calls["create"] == 20


def test_stopped_while_the_directory_wakes_up_it_does_not_wait_for_that(world: World, program: Program) -> None:
    world.write(20)
    world.directory.faults.set(wake_ms=30_000)
    with begun(world, program, 1, "--json", HOSPITALS_WAKE_SECONDS="60") as process:
        began = time.monotonic()
        process.interrupt()
        ended = process.ended().keeps_the_contract()
    assert (ended.code, ended["status"]) == (130, "resumable")
    assert time.monotonic() - began < 10


def test_stopped_while_it_waits_for_the_next_window(world: World, program: Program) -> None:
    rows = world.write(20)
    slow = {"HOSPITALS_CREATES_PER_MINUTE": "5", "HOSPITALS_WINDOW_SECONDS": "60"}
    with begun(world, program, 7, "--json", **slow) as process:
        until(lambda: len(world.directory.records) == 5, "5 records")
        process.interrupt()
        ended = process.ended().keeps_the_contract()
    assert (ended.code, ended["processed_hospitals"]) == (130, 5)
    assert world.resume(ended["run_id"]).code == 0
    assert world.is_right(rows)


def test_the_second_on_this_machine_is_turned_away(world: World, program: Program) -> None:
    rows = world.write(20)
    world.directory.faults.set(**SLOW)
    with begun(world, program, 3, "--workers", "5") as first:
        assert world.send().code == 11
        assert first.ended().code == 0
    assert world.is_right(rows)


def test_another_file_with_the_same_batch_is_turned_away_too(world: World, program: Program) -> None:
    rows = world.write(20)
    longer = world.folder / "longer.csv"
    both = world.write(25, longer)
    world.directory.faults.set(**SLOW)
    with begun(world, program, 3, "--workers", "5") as first:
        assert world.call("hospitals-bulk", str(longer), "--max-rows", "0").code == 11
        assert first.ended().code == 0
    assert world.is_right(rows)
    assert world.call("hospitals-bulk", str(longer), "--max-rows", "0").code == 0
    assert world.is_right(both)


def test_two_machines_on_one_file_end_with_every_row_once(world: World, program: Program, tmp_path: Path) -> None:
    rows = world.write(20)
    world.directory.faults.set(**SLOW)
    _both_look_before_either_creates(world)
    folders = [tmp_path / "one", tmp_path / "two"]
    with ExitStack() as stack:
        starts = [
            program.start("hospitals-bulk", str(world.file), "--workers", "5", "--json", DATA_DIR=str(folder))
            for folder in folders
        ]
        ended = [stack.enter_context(process).ended() for process in starts]
    assert 11 in {one.code for one in ended}
    assert {one.code for one in ended} <= {0, 11}
    for folder, one in zip(folders, ended, strict=True):
        if one.code == 11:
            assert world.resume(one["run_id"], DATA_DIR=str(folder)).code == 0
    assert world.is_right(rows)


def _both_look_before_either_creates(world: World) -> None:
    arrive, meet = world.directory.arrived, threading.Barrier(2)
    looks = itertools.count(1)

    def arrived(request: Request) -> Exchange:
        if request.path.endswith("/hospitals/") and request.method == "GET" and next(looks) <= 2:
            meet.wait(30)
        return arrive(request)

    world.directory.arrived = arrived  # type: ignore[method-assign]


def test_a_run_can_be_followed(world: World, program: Program) -> None:
    world.write(20)
    world.directory.faults.set(**SLOW)
    with begun(world, program, 6, "--workers", "4") as process:
        progress = world.call("runs", "show", run_of(world), "--json")["progress"]
        followed = world.call("runs", "show", run_of(world), "--follow", "--json")
        process.ended()
    assert (progress["status"], progress["total_hospitals"]) == ("processing", 20)
    assert {one["status"] for one in progress["hospitals"]} <= {"pending", "processing", "created"}
    assert (followed["status"], followed["progress"]["status"]) == ("done", "completed")


if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)
