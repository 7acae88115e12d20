"""The progress line of a run with lost answers, refused and wrong rows: right at every event, and never late."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dataflows.cli import progress
from dataflows.cli.progress import ProgressState, Silent
from dataflows.events import Event, Tally
from tests.flows.hospitals.world import World

WRONG = 2


class Ear(Silent):
    """Keeps how things stood after each event."""

    def __init__(self) -> None:
        self.standing = ProgressState()
        self.said: list[tuple[int, int, int, int, int]] = []  # ended, advanced, failed, pending, in all
        self.words: list[str] = []

    def show(self, event: Event, tally: Tally) -> None:
        self.standing.take(event, tally)
        now = self.standing
        if now.total is not None:
            self.said.append((now.ended, now.advanced, tally.failed, now.total - now.advanced, now.total))
            self.words.append(now.counts())


@pytest.fixture
def ear(monkeypatch: pytest.MonkeyPatch) -> Ear:
    found = Ear()
    monkeypatch.setattr(progress, "_face", lambda *_, **__: found)
    return found


def test_every_row_is_counted_once_at_every_moment(world: World, ear: Ear) -> None:
    rows = world.write(50)
    with world.file.open("a", encoding="utf-8") as file:
        file.write("x,too short a name,\n" * WRONG)
    world.directory.faults.set(refuse_names=[rows[7].name])
    world.directory.faults_of("create").set(lost_share=0.1, late_share=0.1, late_ms=100)
    ran = world.send("--skip-invalid", "--max-rows", "0", "--workers", "4")
    assert (ran.code, ran["counts"]["done"], ran["counts"]["failed"]) == (3, 49, 1 + WRONG)
    assert {total for *_, total in ear.said} == {50 + WRONG}
    assert all(0 <= ended <= advanced <= total and pending >= 0 for ended, advanced, _, pending, total in ear.said)
    assert all(later >= earlier for (earlier, *_), (later, *_) in pairwise(ear.said))
    assert ear.words[-1] == f"49 done, {1 + WRONG} failed, 0 pending"


def test_rows_are_shown_before_their_batch_is_active(world: World, ear: Ear) -> None:
    world.write(20)
    world.directory.faults.set(create_ms=150)
    assert world.send("--workers", "4").code == 0
    assert any("created" in words and words.startswith("0 done") for words in ear.words)
    assert ear.said[-1][:2] == (20, 20)
