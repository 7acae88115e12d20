"""What was found by trying to break the job: each of these went wrong once, or nearly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from dataflows.errors import DataflowsError, ExitCode
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from dataflows.sandbox.directory import SandboxDirectory
from dataflows.sandbox.service import Request
from tests.flows.hospitals.virtual import SETTLE, Ended, Far, Host, Killed, disagreement, file_of, play, rig, wanted
from tests.flows.hospitals.world import World
from tests.processes import until

ROWS = [HospitalRow(n, Hospital(f"Synthetic Clinic {n}", f"{n} Sample Road, Exampleton", None)) for n in range(1, 4)]
CORRECTED = [*ROWS[:2], HospitalRow(3, Hospital("Synthetic Clinic 3 b", "3 Sample Road, Exampleton", None))]


# --- killed at every single step --------------------------------------------------------------------------------------


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    rig(monkeypatch)
    Host.hosts.clear()
    return Host("here", Far(cap=2, held=file_of(ROWS) | file_of(CORRECTED)))


def run(host: Host, steps: int | None = None, rows: list[HospitalRow] = ROWS, **options: Any) -> Ended:
    """The command, killed after so many steps."""
    host.begin(steps)
    return play(host.far, host.upload(rows, 2, **options))[0]


def resume(host: Host, record: Any) -> Ended:
    host.begin()
    return play(host.far, host.resume(record))[0]


def names(host: Host) -> set[str]:
    """The runs that the journal knows as unfinished, dead ones included."""
    return {one.run_id for one in host.journal.runs() if one.state in ("running", "resumable")}


@pytest.mark.parametrize("steps", range(24))
def test_a_run_killed_at_any_step_can_be_resumed(host: Host, steps: int) -> None:
    assert run(host, steps).code is None
    record = next(iter(host.journal.runs()), None)
    ended = resume(host, record) if record else run(host)
    assert ended.code is ExitCode.OK
    assert not disagreement(host.far, ROWS)


@pytest.mark.parametrize("second", range(12))
@pytest.mark.parametrize("latest", [True, False])
def test_of_two_killed_runs_either_takes_back_what_both_created(host: Host, second: int, latest: bool) -> None:
    run(host, 14)
    run(host, second)
    runs = host.journal.runs()
    host.begin()
    host.abandon(runs[0 if latest else -1])
    host.far.go_on(host.far.now + SETTLE)
    assert not host.far.records
    assert {one.state for one in host.journal.runs()} <= {"abandoned", "running"}


@pytest.mark.parametrize("steps", range(0, 40, 2))
def test_a_replacement_killed_at_any_step_goes_on_replacing_when_it_is_resumed(host: Host, steps: int) -> None:
    run(host, 14)
    earlier = names(host)
    with suppress(DataflowsError, Killed):
        run(host, steps, CORRECTED, replace=True)
    latest = host.journal.runs()[0]
    begun = latest.run_id not in earlier and latest.state == "running"
    ended = resume(host, latest) if begun else run(host, None, CORRECTED, replace=True)
    assert ended.code is ExitCode.OK
    host.far.go_on(host.far.now + SETTLE)
    assert not disagreement(host.far, CORRECTED)
    assert len(host.far.records) == len(CORRECTED)


def test_a_journal_lost_twice_over_is_remembered(host: Host) -> None:
    """The second run dies before it begins, and creates of the first are still landing."""
    host.begin(luck=["ok", "ok", "latest", "latest"])
    host.far.at(host.far.now + 1, lambda: setattr(host.fuse, "burnt", True))
    play(host.far, host.upload(ROWS, 2))
    host.lose_journal()
    assert run(host, 4).code is None
    assert run(host).code is ExitCode.OK
    host.far.go_on(host.far.now + 2 * SETTLE)
    assert not disagreement(host.far, ROWS)


def test_abandon_finds_what_was_sent_before_the_journal_was_lost(host: Host) -> None:
    """The run that is abandoned came to no plan of its own, since the Directory did not answer."""
    host.begin()
    host.far.at(host.far.now + 1, lambda: setattr(host.fuse, "burnt", True))
    play(host.far, host.upload(ROWS, 2))
    host.lose_journal()
    host.begin(luck=["dropped"])
    assert play(host.far, host.upload(ROWS, 2))[0].code is ExitCode.SERVICE_DOWN
    host.begin()
    host.abandon(host.resumable()[0])
    host.far.go_on(host.far.now + 3 * SETTLE)
    assert not host.far.records


@pytest.mark.parametrize("seconds", [0.0, 3.0, 5.01])
def test_a_record_of_somebody_else_stops_the_run_and_is_not_touched(host: Host, seconds: float) -> None:
    batch_id = next(iter(wanted(ROWS, 2)))
    host.far.at(host.far.now + seconds, lambda: host.far.plant(batch_id))
    ended = run(host)
    (key,) = host.far.foreign
    assert (ended.code, getattr(ended.error, "code", "")) == (ExitCode.SOME_FAILED, "foreign_record")
    assert host.resumable()
    assert not host.far.records[key].active


# --- over real sockets ------------------------------------------------------------------------------------------------


def at_create(directory: SandboxDirectory, number: int, action: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Do something when the n-th create arrives."""
    judge = directory.judge

    def judging(request: Request, kind: str) -> Any:
        verdict = judge(request, kind)
        if kind == "create" and directory.calls["create"] == number:
            action()
        return verdict

    patch.setattr(directory, "judge", judging)


def test_batches_that_were_done_before_the_directory_restarted_are_created_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = world.write(60)
    at_create(world.directory, 55, world.directory.restart, monkeypatch)
    ran = world.send("--max-rows", "0", "--workers", "4")  # 5 creates lost in a row would end the run
    assert ran.code == 0, ran.err
    assert world.is_right(rows)
    assert world.directory.calls["create"] > 100


def was_looked_at(world: World) -> bool:
    """Whether a look at a single batch was answered: the one after its activation."""
    return any(one.method == "GET" and "/batch/" in one.path and one.status == 200 for one in world.directory.requests)


def test_a_restart_of_which_nothing_tells_is_noticed_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch is done, and of the other one nothing was created yet."""
    rows = world.write(2)

    def restart() -> None:
        until(lambda: was_looked_at(world), "the first batch is done")
        world.directory.restart()

    at_create(world.directory, 2, restart, monkeypatch)
    ran = world.send("--batch-size", "1", "--workers", "1")
    assert ran.code == 0, ran.err
    assert world.is_right(rows)


def lose_a_record(world: World) -> None:
    """One hospital vanishes after activation."""
    world.directory._memory.delete(world.directory.records[1]["id"])


def test_again_creates_them_once_more_although_a_row_had_to_be_put_back(world: World) -> None:
    world.write(3)
    world.send()
    lose_a_record(world)
    assert world.send().code == 0
    assert world.send("--again").code == 0
    assert world.held(active=True).total() == 6


def test_another_batch_size_finds_rows_that_had_to_be_put_back(world: World) -> None:
    rows = world.write(3)
    world.send()
    lose_a_record(world)
    world.send()
    ran = world.send("--batch-size", "2")
    assert (ran.code, ran["counts"]["skipped"]) == (0, 3)
    assert world.is_right(rows)


@pytest.mark.parametrize("arguments", [(), ("--batch-size", "2")])
def test_what_the_directory_refuses_is_not_counted_among_what_is_there(
    world: World, arguments: tuple[str, ...]
) -> None:
    rows = world.write(3)
    world.directory.faults.set(refuse_names=[rows[1].name])
    first = world.send("--skip-invalid")
    second = world.send("--skip-invalid", *arguments)
    assert (first.code, first["counts"]["done"], first["counts"]["failed"]) == (3, 2, 1)
    assert (second.code, second["counts"]["skipped"], second["counts"]["failed"]) == (3, 2, 1)
    assert world.is_right([rows[0], rows[2]])
