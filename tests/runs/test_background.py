"""Jobs of a process that serves: taken in at once, so many at a time, and all resumable when it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataflows.errors import AlreadyRunning, ExitCode, ServiceDown
from dataflows.events import Done, Event, Step
from dataflows.runs import background as module
from dataflows.runs.background import Background, BackgroundJob
from dataflows.runs.journal import Journal
from dataflows.runs.logs import RunLog
from dataflows.runs.runner import Job, Order, Outcome, Run
from tests.processes import PATIENCE, until


class World:
    """A data folder, and a background that works on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Outcome] = []
        self.background = Background(self.told.append)
        self.journal = Journal.open(folder)

    def start(self, target: str, job: Job) -> BackgroundJob:
        log = RunLog(self.folder, "test", level="debug")
        return self.background.start(Order("test", target, {}, self.folder, log_file=log.path), job, log)

    def state(self, work: BackgroundJob) -> tuple[str, str]:
        record = self.journal.run(work.begun.result(PATIENCE))
        assert record is not None
        return record.state, record.step


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.background.stop(hurry=True)
    assert made.background.join(PATIENCE)
    made.journal.close()


def quick(run: Run) -> Iterator[Event]:
    run.report["rows"] = 1
    yield Done("1")


def until_stopped(run: Run) -> Iterator[Event]:
    yield Step("working")
    run.stop.wait(PATIENCE)


@contextmanager
def held() -> Iterator[Job]:
    """A job that goes on until the end of the block."""
    gate = threading.Event()

    def job(run: Run) -> Iterator[Event]:
        yield Step("working")
        gate.wait(PATIENCE)
        yield Done("1")

    try:
        yield job
    finally:
        gate.set()


def test_a_job_is_run_and_told(world: World) -> None:
    work = world.start("a", quick)
    outcome = work.ended.result(PATIENCE)
    assert (outcome.exit_code, outcome.report, world.told) == (ExitCode.OK, {"rows": 1}, [outcome])
    assert world.state(work) == ("done", "")
    assert world.journal.report(work.begun.result()) == {"rows": 1}


def test_the_same_target_is_refused_while_it_is_at_work(world: World) -> None:
    with held() as job:
        first = world.start("a", job)
        first.begun.result(PATIENCE)
        second = world.start("a", quick)
        assert isinstance(second.begun.exception(PATIENCE), AlreadyRunning)
        assert isinstance(second.ended.exception(PATIENCE), AlreadyRunning)
    first.ended.result(PATIENCE)
    assert world.start("a", quick).ended.result(PATIENCE).exit_code is ExitCode.OK


def test_one_too_many_waits_for_its_turn_as_a_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AT_WORK", 1)
    with held() as job:
        first = world.start("a", job)
        until(lambda: world.state(first)[1] == "working", "the first job works")
        second = world.start("b", quick)
        until(lambda: world.state(second)[1] == "waiting for its turn", "the second job waits")
        assert world.background.running() >= {second.begun.result()}
    assert second.ended.result(PATIENCE).exit_code is ExitCode.OK


def test_a_stop_parks_what_works_and_what_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AT_WORK", 1)
    first = world.start("a", until_stopped)
    until(lambda: world.state(first)[1] == "working", "the first job works")
    second = world.start("b", quick)
    until(lambda: world.state(second)[1] == "waiting for its turn", "the second job waits")
    world.background.stop()
    assert world.background.join(PATIENCE)
    for work in (first, second):
        assert work.ended.result().exit_code is ExitCode.INTERRUPTED
        assert world.state(work)[0] == "resumable"
    with pytest.raises(ServiceDown):
        world.start("c", quick)


def test_more_than_can_be_taken_in_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TAKEN_IN", 1)
    with held() as job:
        work = world.start("a", job)
        with pytest.raises(ServiceDown) as refused:
            world.start("b", quick)
        assert refused.value.wait == 30.0
    work.ended.result(PATIENCE)


def test_a_bug_is_an_outcome_and_its_traceback_in_the_log(world: World) -> None:
    def broken(_: Run) -> Iterator[Event]:
        yield Step("working")
        raise RuntimeError("Ada Example")

    outcome = world.start("a", broken).ended.result(PATIENCE)
    assert outcome.exit_code is ExitCode.BUG and outcome.log_file is not None
    text = outcome.log_file.read_text(encoding="utf-8")
    assert "RuntimeError" in text and "Ada Example" not in text


def test_each_job_has_its_own_log(world: World) -> None:
    works = [world.start(name, _named(name)) for name in ("a", "b")]
    for name, work in zip("ab", works, strict=True):
        log_file = work.ended.result(PATIENCE).log_file
        assert log_file is not None
        keys = {json.loads(line).get("key") for line in log_file.read_text(encoding="utf-8").splitlines()}
        assert keys - {None} == {name}


def _named(name: str) -> Callable[[Run], Iterator[Event]]:
    def job(_: Run) -> Iterator[Event]:
        yield Done(name)

    return job


def test_what_is_no_run_is_called_and_stopped(world: World) -> None:
    assert world.background.do(lambda _: 42, "answer").result(PATIENCE) == 42
    waiting = world.background.do(lambda stop: stop.wait(PATIENCE), "loop")
    world.background.stop()
    assert waiting.result(PATIENCE) is True
