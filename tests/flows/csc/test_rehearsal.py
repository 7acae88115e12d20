"""A rehearsal sends to a test receiver and changes nothing else, whatever state table and journal are in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflows.runs.keys import KEY_FILE
from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import child, episode
from tests.flows.csc.test_people import by_another_tool, later, lose_data_dir, moved, named, purged, sent
from tests.flows.csc.world import World

TEST = {"LA_CODE": "998"}
Phase = Callable[[World], World | None]


@pytest.fixture
def here(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    world = World(tmp_path, box, capsys)
    yield world
    world.engine.dispose()


def nothing_was_ever_sent(here: World) -> None:
    here.stage(named("K1"), named("K2", "e2"))


def everything_is_sent(here: World) -> None:
    sent(here, named("K1"), named("K2", "e2"))


def all_kinds_of_news(here: World) -> None:
    """A change, a vanished field, a deletion, a rename, a swap, a new child, an invalid one, two rows of one child."""
    rows = sent(here, *(named(f"K{n}", f"e{n}") for n in range(1, 7)))
    here.restage(rows[0], later(named("K1", "e1")))
    here.restage(rows[1], named("K2", social_care_episodes=[episode("e2", closure_date=None)]))
    here.delete(rows[2])
    here.restage(rows[3], named("NEW4", "e4"))
    here.restage(rows[4], named("K6", "e5"))
    here.restage(rows[5], named("K5", "e6"))
    here.stage(named("K7", "e7"), {**child(1), "la_child_id": "not one"}, later(named("K1", "e1"), "m-9"))


def rows_contradict_each_other(here: World) -> None:
    sent(here, named("A1", "e-old"))
    here.delete(*sent(here, named("A1", "e-new")))


def the_table_was_emptied_and_filled_again(here: World) -> None:
    sent(here, *(named(f"K{n}", f"e{n}") for n in range(1, 5)))
    with here.engine.begin() as connection:
        connection.execute(here.table.delete())
    here.stage(named("K1", "e1"), named("K2", "e2"), named("K3", "e3"))


def many_purges_are_held_back(here: World) -> None:
    here.delete(*sent(here, *(named(f"K{n}", f"e{n}") for n in range(12))))
    assert here.submit()["held_back"] == 12


def an_answer_is_missing(here: World) -> None:
    here.stage(named("K1"))
    here.box.receiver.faults.set(lost_next=9)
    assert here.submit().code == 13
    here.box.receiver.faults.clear()


def a_purge_is_owed(here: World) -> None:
    (row_id,) = sent(here, named("OLD1"))
    here.restage(row_id, named("NEW1"))
    here.box.receiver.faults.set(lost_next=9)
    assert here.submit().code == 13
    here.box.receiver.faults.clear()


def the_journal_was_lost(here: World) -> None:
    rows = sent(here, named("K1"), named("K2", "e2"))
    lose_data_dir(here)
    here.restage(rows[0], later(named("K1")))


def the_key_was_lost(here: World) -> None:
    rows = sent(here, named("K1"), named("K2", "e2"))
    (here.folder / "data" / KEY_FILE).unlink()
    here.restage(rows[0], later(named("K1")))


def another_tool_filled_the_table(here: World) -> None:
    by_another_tool(here, named("K1"), named("K2", "e2"))
    here.stage(named("K3", "e3"))


def the_table_was_moved(here: World) -> World:
    sent(here, named("K1"), named("K2", "e2"))
    other = moved(here, "moved.db", renumber=True)
    other.restage(other.rows()[0].id, later(named("K1")))
    return other


PHASES: list[Phase] = [
    nothing_was_ever_sent,
    everything_is_sent,
    all_kinds_of_news,
    rows_contradict_each_other,
    the_table_was_emptied_and_filled_again,
    many_purges_are_held_back,
    an_answer_is_missing,
    a_purge_is_owed,
    the_journal_was_lost,
    the_key_was_lost,
    another_tool_filled_the_table,
    the_table_was_moved,
]


def known(world: World) -> dict[str, list[Any]]:
    """All that the journal keeps between runs of csc-submit."""
    path = world.folder / "data" / "journal.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'csc%' AND type='table'")]
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    db.close()
    return found


def live(world: World) -> dict[str, Any]:
    """What the receiver holds of the authority itself."""
    return {name: json.dumps(one) for (la, name), one in world.box.receiver.children.items() if la == "999"}


@pytest.mark.parametrize("more", [(), ("--allow-mass-delete",), ("--mode", "full")], ids=["plain", "guard", "full"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
def test_a_rehearsal_leaves_table_journal_and_live_receiver_as_they_are(
    here: World, phase: Phase, more: tuple[str, ...]
) -> None:
    world = phase(here) or here
    key = world.folder / "data" / KEY_FILE
    before = ([tuple(row) for row in world.rows()], known(world), live(world), key.exists())
    ran = world.submit("--rehearsal", *more, **TEST)
    assert ran.code in (0, 3), ran.err
    assert ([tuple(row) for row in world.rows()], known(world), live(world), key.exists()) == before
    again = world.submit("--rehearsal", *more, **TEST)
    assert (again["sent"], again["rows"]) == (ran["sent"], ran["rows"])  # it remembers nothing of itself either
    if world is not here:
        world.engine.dispose()


@pytest.mark.parametrize(
    ("phase", "names"),
    [
        (all_kinds_of_news, {"K1", "K2", "NEW4", "K5", "K6", "K7"}),
        (a_purge_is_owed, {"NEW1"}),
        (an_answer_is_missing, {"K1"}),
        (the_table_was_moved, {"K1", "K2"}),
    ],
)
def test_the_night_after_a_rehearsal_is_as_if_there_had_been_none(here: World, phase: Phase, names: set[str]) -> None:
    world = phase(here) or here
    assert world.submit("--rehearsal", **TEST)["sent"] > 0
    arrived = len(purged(world))
    assert world.submit().code in (0, 3)
    assert set(live(world)) == names
    assert len(purged(world)) - arrived <= 3  # K3, the former name, and K2, of which a field vanished
    assert world.submit()["sent"] == 0
    if world is not here:
        world.engine.dispose()
