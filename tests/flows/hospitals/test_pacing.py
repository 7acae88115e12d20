"""Creates per window: counted for all processes, whatever the clock does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflows.flows.hospitals.ledger import BatchStore, CreateWindow
from dataflows.runs.journal import Journal
from tests.journals import Journals

WINDOW = 62.0


class Clock:
    """Seconds that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _tables(journal: Journal, tmp_path: Path) -> None:
    BatchStore(journal, tmp_path)


def pace(journal: Journal, clock: Clock, most: int = 30, address: str = "here") -> CreateWindow:
    return CreateWindow(journal, address, most, WINDOW, clock)


def taken(journal: Journal, pace: CreateWindow, wanted: int) -> int:
    with journal.transaction():
        return pace.take(wanted)


def test_two_processes_share_one_count(journal: Journal, clock: Clock, journals: Journals) -> None:
    other = journals.open()
    assert taken(journal, pace(journal, clock), 20) == 20
    assert taken(other, pace(other, clock), 20) == 10
    assert taken(journal, pace(journal, clock), 20) == 0
    assert pace(other, clock).opens_at() == clock.now + WINDOW


def test_the_window_begins_with_its_first_create(journal: Journal, clock: Clock) -> None:
    taken(journal, pace(journal, clock), 30)
    clock.now += WINDOW - 1
    assert taken(journal, pace(journal, clock), 1) == 0
    clock.now += 1
    assert taken(journal, pace(journal, clock), 40) == 30


def test_every_directory_has_a_count_of_its_own(journal: Journal, clock: Clock) -> None:
    taken(journal, pace(journal, clock), 30)
    assert taken(journal, pace(journal, clock, address="there"), 30) == 30


def test_a_machine_that_was_started_anew_waits_no_longer_than_a_window(journal: Journal, clock: Clock) -> None:
    taken(journal, pace(journal, clock), 30)
    clock.now = 5.0
    assert taken(journal, pace(journal, clock), 1) == 0
    assert pace(journal, clock).opens_at() == 5.0 + WINDOW
    clock.now += WINDOW
    assert taken(journal, pace(journal, clock), 1) == 1


@pytest.mark.parametrize("most", [0, 30])
def test_a_429_shuts_the_window_for_its_whole_length(journal: Journal, clock: Clock, most: int) -> None:
    ours = pace(journal, clock, most)
    ours.refused()
    assert taken(journal, ours, 1) == 0
    assert ours.opens_at() == clock.now + WINDOW
    clock.now += WINDOW
    assert taken(journal, ours, 1) == 1


def test_a_429_from_before_a_restart_of_the_machine_shuts_it_for_one_window(journal: Journal, clock: Clock) -> None:
    pace(journal, clock).refused()
    clock.now = 5.0
    assert taken(journal, pace(journal, clock), 1) == 0
    clock.now += WINDOW
    assert taken(journal, pace(journal, clock), 1) == 1


def test_a_429_is_heard_by_the_other_processes(journal: Journal, clock: Clock) -> None:
    pace(journal, clock).refused()
    assert taken(journal, pace(journal, clock), 1) == 0


def test_without_a_limit_nothing_is_counted(journal: Journal, clock: Clock) -> None:
    assert taken(journal, pace(journal, clock, 0), 10_000) == 10_000
