"""kill -9 at any moment, then the same command: the end is that of a run which nobody disturbed."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from dataflows.flows.csc.records import PURGED
from dataflows.runs.journal import Journal
from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import Child, child
from tests.flows.csc.lives import later, nonsense
from tests.flows.csc.trap import Trap
from tests.flows.csc.truth import disagreement
from tests.flows.csc.world import World
from tests.processes import Program

CHILDREN, SENT_BEFORE = 800, 700  # so that there are deltas, resets and deletions to kill, not only new children
SETTINGS = {"BATCH_SIZE": "4", "CSC_MAX_DELETE_PERCENT": "100", "HTTP_ATTEMPTS": "2"}
TRACES = ("doubt", "doubtful purge", "unfinished reset", "unwritten receipt")


class Authority(World):
    """A world of 800 children and its loader, which works on while the program is dead."""

    moves = "never"  # whether the old payload goes to previous_json_payload: never, when sent, always

    def begin(self, rng: Random) -> None:
        """Most children were sent before; all of them have news, some are gone, and the rest is new."""
        self.rng = rng
        self.now: dict[int, Child] = {}
        self.broken: list[int] = []
        self.hand = threading.Lock()
        self._enter(range(SENT_BEFORE))
        assert self.submit(**SETTINGS).code == 0
        with self.at_once():
            for row_id in list(self.now):
                self.load(row_id, later(rng, self.now[row_id]))
            self.delete(*rng.sample(sorted(self.now), 60))
        self._enter(range(SENT_BEFORE, CHILDREN))

    def _enter(self, numbers: range) -> None:
        payloads = [child(n) for n in numbers]
        self.now.update(zip(self.stage(*payloads), payloads, strict=True))

    def load(self, row_id: int, payload: Child) -> None:
        """Load a payload, as this loader does it."""
        columns = self.table.c
        sent = sa.func.lower(columns.submission_status) == "sent"
        previous = {
            "never": columns.previous_json_payload,
            "when sent": sa.case((sent, columns.json_payload), else_=columns.previous_json_payload),
            "always": columns.json_payload,
        }[self.moves]
        self.change(
            row_id,
            json_payload=json.dumps(payload),
            previous_json_payload=previous,
            submission_status="Pending",
            row_state="Updated",
        )
        self.now[row_id] = payload

    def work_on(self) -> None:
        """Reload some children, first of all those that were under way just now; delete a few, let a few return."""
        rng = self.rng
        under_way = [one["la_child_id"] for exchange in self.box.receiver.requests[-5:] for one in exchange.records]
        rows = {payload["la_child_id"]: row_id for row_id, payload in self.now.items()}
        chosen = [rows[name] for name in sorted(set(under_way)) if rng.random() < 0.5]
        for row_id in [*chosen, *rng.sample(sorted(self.now), 20)]:
            self.load(row_id, later(rng, self.now[row_id]))
        self.delete(*rng.sample(sorted(self.now), 3))
        broken = rng.choice(sorted(self.now))
        self.change(broken, json_payload=json.dumps(nonsense(self.now[broken])), submission_status="Pending")
        self.broken.append(broken)

    def meddle(self, records: list[Child]) -> None:
        """Reload a child that is under way."""
        with self.hand:
            rows = {payload["la_child_id"]: row_id for row_id, payload in self.now.items()}
            if self.rng.random() < 0.2:
                row_id = rows[self.rng.choice(records)["la_child_id"]]
                self.load(row_id, later(self.rng, self.now[row_id]))

    def gone(self) -> set[str]:
        """The children that the loader deleted."""
        return {self.now[row.id]["la_child_id"] for row in self.rows() if row.row_state == "Deleted"}

    def correct(self) -> None:
        """Load what is right where nonsense was loaded."""
        for row_id in set(self.broken):
            self.load(row_id, later(self.rng, self.now[row_id]))

    def disagreements(self) -> list[str]:
        """What is wrong after a clean run; nothing should be."""
        found = [disagreement(row, self.box.receiver) for row in self.rows()]
        there = {name for _, name in self.box.receiver.children}
        alive = {payload["la_child_id"] for payload in self.now.values()} - self.gone()
        return [*filter(None, found), *(f"orphan {name}" for name in there - alive)]


@pytest.fixture
def authority(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[Authority]:
    world = Authority(tmp_path, box, capsys)
    yield world
    world.engine.dispose()


def ordeal(
    world: Authority,
    rng: Random,
    kills: int,
    to_the_deletions: Callable[[int], bool],
    *,
    loads: bool = False,
    **settings: str,
) -> Counter[str]:
    """Kill the program so many times, then let it come to its end; returns what the kills left behind."""
    left = Counter[str]()
    world.begin(rng)
    program = Program(world.folder / "elsewhere", {**world.environment, **SETTINGS, **settings})
    with pytest.MonkeyPatch.context() as patch:
        trap = Trap(world.box, patch)
        if loads:
            world.box.receiver.faults.set(lost_share=0.2)
            trap.meanwhile = world.meddle
        while left["kills"] < kills:
            trap.gone = world.gone()
            left += once(world, program, trap, rng, to_the_deletions=to_the_deletions(left["runs"]))
            assert left["runs"] < 2 * kills, f"too few runs were long enough to be killed: {left}"
            if loads:
                world.work_on()
    world.box.receiver.faults.clear()
    world.correct()
    ended = program.run("csc-submit", "--json")
    assert (ended.code, ended["in_doubt"]) == (0, 0)
    return left


def once(world: Authority, program: Program, trap: Trap, rng: Random, *, to_the_deletions: bool) -> Counter[str]:
    """Start the program once, and kill it at a moment of chance."""
    stage = rng.choice(["time", "arrival", "before the commit", "commit", "answer", "answer"])
    delay = rng.uniform(0.1, 1.1) * trap.prelude if stage == "time" else rng.uniform(0, 0.01)
    if to_the_deletions:
        stage = "deletion"
    trap.arm(stage, 1 if to_the_deletions else rng.choice([1, 2, 3, 5, 8]), delay)
    with program.start("csc-submit", "--json") as process:
        trap.watch(process)
        ended = process.ended()
        trap.disarm()
    if ended.out:  # it came to its end before
        return Counter(runs=1)
    return Counter({"runs": 1, "kills": 1, f"by {stage}": 1}) + left_behind(world.folder / "data" / "journal.db")


def left_behind(journal: Path) -> Counter[str]:
    """Look into the journal of a killed run, without mending anything there."""
    question = (
        "SELECT count(in_doubt) > 0, count(CASE in_doubt WHEN ? THEN 1 END) > 0, count(reset) > 0,"
        " count(write_back) > 0 FROM csc_children"
    )
    with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as db:
        return Counter(dict(zip(TRACES, db.execute(question, (PURGED,)).fetchone(), strict=True)))


def resumable(world: World) -> int:
    with closing(Journal.open(world.folder / "data")) as journal:
        return len(journal.runs(state="resumable"))


def test_50_kills_and_the_end_is_that_of_an_undisturbed_run(authority: Authority) -> None:
    left = ordeal(authority, Random(1), 50, lambda run: run >= 42)
    assert authority.disagreements() == []
    assert resumable(authority) == 0
    assert all(left[trace] for trace in TRACES), left


@pytest.mark.parametrize("moves", ["never", "when sent"])
def test_kills_while_the_loader_works_on_and_answers_are_lost(authority: Authority, moves: str) -> None:
    authority.moves = moves
    left = ordeal(authority, Random(2), 12, lambda run: run % 5 == 4, loads=True)
    assert authority.disagreements() == []
    assert all(left[trace] for trace in TRACES), left


def test_kills_with_a_loader_that_always_overwrites_the_previous_payload(authority: Authority) -> None:
    """No baseline can be trusted then; CSC_RESET=child makes up for it."""
    authority.moves = "always"
    ordeal(authority, Random(3), 8, lambda run: run % 5 == 4, loads=True, CSC_RESET="child")
    assert authority.disagreements() == []
