"""Many runs in one process, as ``--watch`` and ``serve`` make them: nothing is left behind by each."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import child
from tests.flows.csc.world import World

RUNS = 8


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    with Sandbox(seed=1, lean=True) as box:
        yield World(tmp_path, box, capsys)


def sockets_to(box: Sandbox) -> int:
    port = int(box.url.rpartition(":")[2])
    return sum(1 for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port)


def test_csc_submit_leaves_no_socket_open(world: World) -> None:
    gc.disable()  # what only the collector would close is left open
    try:
        for number in range(RUNS):
            world.stage(child(number))
            assert world.submit().code == 0
        assert sockets_to(world.box) == 0
    finally:
        gc.enable()


def objects() -> int:
    return len(gc.get_objects()) + gc.get_freeze_count()


@pytest.mark.parametrize("command", ["csc-submit", "patient-import", "therapist-import"])
def test_objects_do_not_add_up_from_run_to_run(world: World, command: str) -> None:
    (world.folder / "therapists").mkdir()
    counts = []
    for _ in range(4 * RUNS):
        assert world.call(command, THERAPIST_IMPORT_DIR=str(world.folder / "therapists")).code == 0
        counts.append(objects())
    later, before = min(counts[-RUNS:]), min(counts[RUNS : 2 * RUNS])  # it is swept now and then
    assert later - before < 2_000, counts
