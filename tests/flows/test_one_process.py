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
from tests.processes import until
from tests.web.served import Within, within

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


def passes(server: Within, at_least: int) -> None:
    """Wait until both imports of a server have made so many passes more."""

    def counted() -> dict[str, int]:
        with server.context.journal.transaction() as db:
            return dict(
                db.execute("SELECT command, count(*) FROM runs WHERE exit_code = 0 GROUP BY command").fetchall()
            )

    before = counted()
    commands = ("patient-import", "therapist-import")
    until(lambda: all(counted().get(name, 0) - before.get(name, 0) >= at_least for name in commands), "more passes")


def held(box: Sandbox) -> tuple[int, int, int]:
    """Objects, sockets to the far side, and open files of this process; a pass under way holds some of its own."""
    gc.collect()
    me = psutil.Process()
    return objects(), sockets_to(box), len(me.open_files()) + len(me.net_connections())


def test_passes_of_serve_watch_do_not_add_up(tmp_path: Path) -> None:
    folder = tmp_path / "therapists"
    folder.mkdir()
    with Sandbox(seed=1, lean=True) as box:
        settings = {**box.settings(), "THERAPIST_IMPORT_DIR": str(folder), "LOG_LEVEL": "warning"}
        with within(tmp_path / "served", settings, watch={"patients": 0.01, "therapists": 0.01}) as server:
            passes(server, RUNS)
            before = [min(some) for some in zip(*(held(box) for _ in range(3)), strict=True)]
            passes(server, 4 * RUNS)

            def is_let_go() -> bool:
                return all(now - was < max(4, was // 200) for now, was in zip(held(box), before, strict=True))

            until(is_let_go, "what the passes held is let go")
