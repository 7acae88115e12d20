"""``--watch``: pass after pass, each a run of its own, until somebody stops it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.cli.passes import seconds
from dataflows.errors import ExitCode, WrongUsage
from dataflows.runs import watch as watching
from dataflows.runs.journal import Journal
from dataflows.sandbox.server import Sandbox
from tests.flows.patients.world import World, registration
from tests.processes import Ended, Process, Program, until


@pytest.fixture
def world(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    """One database will do here: passes are the same as without --watch."""
    world = World(tmp_path, box, capsys, f"sqlite:///{tmp_path / 'practice.db'}")
    world.bring_in()
    yield world
    world.engine.dispose()


def stopped(process: Process) -> Ended:
    process.interrupt()
    return process.ended()


def lists(world: World) -> int:
    return sum(one.path.endswith("/o") for one in world.bucket.requests)


def watch_of(world: World) -> Process:
    program = Program(world.folder / "elsewhere", world.environment)
    return program.start("patient-import", "--watch", "--every", "0.1s", "--json")


def test_passes_go_on_until_stopped_and_each_is_a_run(world: World) -> None:
    with watch_of(world) as process:
        until(lambda: lists(world) >= 3, "three passes")
        world.arrive(registration())
        until(lambda: not world.bucket.objects, "the object to be gone")
        before = lists(world)
        until(lambda: lists(world) > before, "another pass")
        ended = stopped(process)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    documents = [json.loads(line) for line in ended.out.splitlines()]
    assert len({one["run_id"] for one in documents}) == len(documents) >= 4
    assert sum(one["imported"] for one in documents) == 1
    logs = {path.name for path in (world.data / "logs").iterdir()}
    assert len(logs) >= len(documents)


def test_the_lock_is_free_between_passes(world: World) -> None:
    program = Program(world.folder / "elsewhere", world.environment)
    with program.start("patient-import", "--watch", "--every", "1h", "--json") as process:
        until(lambda: lists(world) >= 2, "the first pass")
        journal = Journal.open(world.data)
        until(lambda: journal.runs()[0].state == "done", "its end")
        journal.close()
        assert world.bring_in().code == 0
        assert stopped(process).code == 130


def test_an_absent_bucket_is_told_once_and_its_return_once(world: World) -> None:
    world.bucket.faults.set(only="list", error_next=10_000)
    with watch_of(world) as process:
        until(lambda: len(world.mails()) == 1, "the mail")
        before = lists(world)
        until(lambda: lists(world) > before + 4, "two more passes in vain")
        world.bucket.faults.clear()
        until(lambda: len(world.mails()) == 2, "the second mail")
        assert stopped(process).code == 130
    first, second = (text.splitlines()[0] for text in world.mails())
    assert (first, second) == (
        "patient-import: nothing could be imported in 3 passes", "patient-import: works again",
    )  # fmt: skip


def test_what_no_waiting_mends_ends_it_at_once(world: World) -> None:
    ran = world.call("patient-import", "--watch", "--json", GCS_BUCKET="another-bucket")
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")


@pytest.mark.parametrize("also", [["--dry-run"], ["--retry-dead"], ["--from-copies", "x"]])
def test_it_goes_with_nothing_that_is_done_once(world: World, also: list[str]) -> None:
    assert world.call("patient-import", "--watch", *also).code == 2


# --- the loop by itself -----------------------------------------------------------------------------------------------


def told(*codes: int) -> tuple[ExitCode, list[bool]]:
    """What a watch tells, and how it ends, when its passes end with these codes."""
    passes, said = iter(codes), list[bool]()
    return watching.watch(lambda: next(passes), 0.0, said.append), said


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ((0, 13, 13, 0, 13, 130), []),
        ((13, 13, 13, 13, 13, 13, 130), [False]),
        ((13, 13, 11, 13, 13, 11, 0, 0, 130), [False, True]),
        ((13, 13, 13, 3, 13, 13, 13, 4, 130), [False, True, False, True]),
        ((1, 12, 4, 130), []),
    ],
)
def test_three_passes_without_an_answer_are_told_once(codes: tuple[int, ...], said: list[bool]) -> None:
    assert told(*codes) == (ExitCode.INTERRUPTED, said)


@pytest.mark.parametrize("code", [2, 10])
def test_some_codes_end_it(code: int) -> None:
    assert told(0, code) == (ExitCode(code), [])


@pytest.mark.parametrize(("text", "span"), [("90s", 90), ("15m", 900), ("1h", 3600), ("1d", 86_400), ("0.5S", 0.5)])
def test_lengths_of_time(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1 week"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(WrongUsage):
        seconds(text)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
