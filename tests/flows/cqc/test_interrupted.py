"""Stopped, killed, or without room: as processes of their own. Whatever has a final name is whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.flows.cqc.world import BOTH, World
from tests.warm import Warm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

IN_LITTLE_ROOM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
from dataflows.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def started(world: World, *arguments: str) -> Iterator[Warm]:
    _, _, module, *words = world.command(*arguments)
    process = Warm(module, words, world.folder, world.full_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def has_begun(world: World, process: Warm) -> None:
    """Wait until both files are on their way."""
    while sum(name.endswith(".part") and "probe" not in name for name in world.names()) < 2:
        with suppress(subprocess.TimeoutExpired):
            assert process.wait(0.02) is None, process.stderr


def all_whole(world: World) -> bool:
    """Whether everything under a final name is exactly what the sandbox serves."""
    right = {source: world.cqc.export(source) for source in ("homecare", "carehomes")}
    finals = [name for name in world.names() if not name.startswith(".")]
    return all((world.out / name).read_bytes() == right[name.split("_")[1]] for name in finals)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_the_downloads_under_way_end(world: World, number: signal.Signals) -> None:
    world.cqc.faults.set(bytes_per_second=100_000.0)
    with started(world, "--json") as process:
        has_begun(world, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    document = json.loads(out)
    assert (process.returncode, document["error"]["code"]) == (130, "interrupted")
    assert world.names() == sorted(one["file"] for one in document["results"].values())
    assert len(world.names()) == 2
    assert all_whole(world)
    assert b"Traceback" not in err


def test_a_second_stop_waits_for_nobody_and_can_be_resumed(world: World) -> None:
    world.cqc.faults.set(bytes_per_second=10_000.0)
    with started(world, "--json") as process:
        has_begun(world, process)
        process.send_signal(signal.SIGINT)
        assert any(b"a second Ctrl-C stops at once" in line for line in iter(process.stderr.readline, b""))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert all_whole(world)
    document = json.loads(out)
    assert (document["error"]["code"], document["results"]) == ("interrupted", {})
    assert b"Traceback" not in err
    world.cqc.faults.set(bytes_per_second=0.0)
    assert world.call("runs", "resume", document["run_id"], "--json").code == 0
    assert len(world.names()) == 2
    assert all_whole(world)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_moment_nothing_half_is_left(world: World, number: signal.Signals) -> None:
    world.cqc.faults.set(bytes_per_second=400_000.0)
    dice = random.Random(5)
    for _ in range(6):
        with started(world) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0.02, 0.6))
            process.send_signal(number)
            process.communicate(timeout=20)
        assert all_whole(world)
        assert not [name for name in world.names() if name.endswith(".part")]


def test_killed_at_any_moment_nothing_half_has_a_final_name_and_the_next_run_cleans_up(world: World) -> None:
    world.cqc.faults.set(bytes_per_second=400_000.0)  # both files in a third of a second
    dice = random.Random(4)
    for _ in range(12):
        with started(world) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0.05, 0.6))
            process.kill()
        assert all_whole(world)
    world.cqc.faults.set(bytes_per_second=10_000.0)  # chance may miss it where a start takes long
    with started(world) as process:
        has_begun(world, process)
        process.kill()
    assert all_whole(world)
    assert [name for name in world.names() if name.endswith(".part")]
    world.cqc.faults.set(bytes_per_second=0.0)
    assert world.fetch().code == 0
    assert not [name for name in world.names() if name.startswith(".")]
    assert all_whole(world)


def test_two_runs_at_once_into_one_folder(world: World) -> None:
    world.cqc.faults.set(bytes_per_second=10_000.0)
    with started(world) as process:
        has_begun(world, process)
        ran = world.fetch()
    assert (ran.code, ran["error"]["code"]) == (11, "already_running")
    assert f"process {process.pid}" in ran["error"]["message"]


def test_no_room_for_a_file(world: World) -> None:
    world.cqc.faults.set(rows=5000)
    command = [sys.executable, "-c", IN_LITTLE_ROOM, *world.command("--json")[3:]]
    done = subprocess.run(command, env=world.full_environment(), capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"], world.names()) == (4, "error", [])
    assert document["results"]["homecare"]["code"] == "not_written"
    assert document["results"]["homecare"]["error"] == "the file of homecare cannot be written: file too large"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, where we may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_runs_full(world: World, small_disk: Path) -> None:
    world.out = small_disk
    world.cqc.faults.set(rows=100)
    first = world.fetch()
    assert first.code == 0
    before = world.names()
    world.cqc.faults.set(rows=2500)  # 0.8 MB each: one of them finds room
    ran = world.fetch("--workers", "1")
    assert (ran.code, ran["status"]) == (3, "partial")
    assert ran.of("carehomes")["error"] == "the file of carehomes cannot be written: the disk is full"
    assert world.names() == sorted([*before, ran.of("homecare")["file"]])
    assert world.fetch().code == 4
    assert len(world.names()) == 3


def test_derived_files_without_room_fail_alone(world: World, small_disk: Path) -> None:
    world.out = small_disk
    world.cqc.faults.set(rows=1400)
    ran = world.fetch("--merged")
    assert (ran.code, ran["counts"]["done"], ran["counts"]["failed"]) == (3, 2, 1)
    assert "merged" not in ran.document
    assert sorted(world.names()) == sorted(ran.of(source)["file"] for source in BOTH[1::2])
