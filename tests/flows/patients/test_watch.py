"""``--watch``: pass after pass, each a run of its own, until somebody stops it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.cli.passes import seconds
from dataflows.errors import ExitCode, WrongUsage
from dataflows.runs import background as watching
from dataflows.runs.journal import Journal
from dataflows.runs.trouble import UNREACHABLE_PASSES, Trouble, TroubleNews
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


def told(journal: Journal, *codes: int, patience: int = UNREACHABLE_PASSES) -> list[int | None]:
    """What is told about passes that end with these codes: an exit code, None when all is well again."""
    said: list[int | None] = []
    trouble = Trouble(journal, "patient-import")

    def tell(news: TroubleNews) -> bool:
        said.append(None if news.code is None else int(news.code))
        return True

    for code in codes:
        trouble.note(code, tell, patience=patience)
    return said


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ((0, 13, 13, 0, 13, 130), []),
        ((13, 13, 13, 13, 13, 13, 130), [13]),
        ((13, 13, 11, 13, 13, 11, 0, 0, 130), [13, None]),
        ((13, 13, 13, 3, 13, 13, 13, 4, 130), [13, None, 13, None]),
        ((1, 12, 12, 1, 12, 4, 0, 130), [12, None]),
        ((12, 10, 10, 0), [12, 10, None]),
        ((2, 14, 11, 1, 130), []),
    ],
)
def test_what_keeps_it_from_its_work_is_told_once_and_once_more_when_it_is_over(
    journal: Journal, codes: tuple[int, ...], said: list[int | None]
) -> None:
    assert told(journal, *codes) == said


def test_a_single_pass_that_reaches_nothing_is_told_at_once(journal: Journal) -> None:
    assert told(journal, 13, 13, 0, 13, patience=1) == [13, None, 13]


def test_what_could_not_be_told_is_told_by_the_next_pass(journal: Journal) -> None:
    trouble, said = Trouble(journal, "patient-import"), list[str]()

    def tell(news: TroubleNews) -> bool:
        said.append(news.subject)
        return len(said) > 1

    for _ in range(3):
        trouble.note(12, tell)
    assert len(said) == 2


def ended(*codes: int) -> ExitCode:
    passes = iter(codes)
    return watching.watch(lambda: next(passes), 0.0)


@pytest.mark.parametrize("code", [2, 10])
def test_some_codes_end_it(code: int) -> None:
    assert ended(0, code) == ExitCode(code)


def test_others_do_not() -> None:
    assert ended(0, 1, 3, 4, 11, 12, 13, 14, 130) == ExitCode.INTERRUPTED


@pytest.mark.parametrize("status", [401, 403])
def test_one_refusal_never_ends_it_and_is_told_once(world: World, status: int) -> None:
    world.bucket.faults.set(only="list", error_next=1, error_status=status)
    with watch_of(world) as process:
        until(lambda: len(world.mails()) == 2, "both mails")
        before = lists(world)
        until(lambda: lists(world) > before, "another pass")
        assert stopped(process).code == 130
    assert [text.splitlines()[0] for text in world.mails()] == [
        "patient-import: access refused (credentials, token, permission)", "patient-import: works again",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("faults", "code", "subject"),
    [
        ({"error_status": 403}, 12, "access refused (credentials, token, permission)"),
        ({"error_status": 503}, 13, "nothing could be imported"),
        ({"error_status": 404}, 10, "a setting is missing or unusable"),
    ],
)
def test_a_single_pass_mails_once_what_keeps_it_from_its_work_and_once_that_it_is_over(
    world: World, faults: dict[str, int], code: int, subject: str
) -> None:
    world.bucket.faults.set(only="list", error_next=10_000, **faults)
    assert [world.bring_in().code for _ in range(3)] == [code] * 3
    world.bucket.faults.clear()
    assert [world.bring_in().code for _ in range(2)] == [0, 0]
    assert [text.splitlines()[0] for text in world.mails()] == [
        f"patient-import: {subject}", "patient-import: works again",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "span"), [("90s", 90), ("15m", 900), ("1h", 3600), ("1d", 86_400), ("0.5S", 0.5)])
def test_lengths_of_time(text: str, span: float) -> None:
    assert seconds(text) == span


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1 week"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(WrongUsage):
        seconds(text)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
