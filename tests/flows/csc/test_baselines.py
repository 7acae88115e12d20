"""What the journal keeps is enough: the delta is exact whatever the loader does to previous_json_payload."""

from __future__ import annotations

import json
import sqlite3
from random import Random

import pytest

from tests.flows.csc.children import Child, child
from tests.flows.csc.lives import later
from tests.flows.csc.truth import same
from tests.flows.csc.world import World

CHILDREN = 30


def overwritten(rng: Random, payload: Child) -> str | None:
    """What a loader may leave as the previous payload: something staged and never sent, nonsense, or nothing."""
    return rng.choice([json.dumps(later(rng, payload)), json.dumps(payload), "{", None])


@pytest.mark.parametrize("seed", range(4))
def test_previous_payloads_that_are_overwritten_at_random_cost_nothing(here: World, seed: int) -> None:
    rng = Random(seed)
    now = {number: child(number) for number in range(1, CHILDREN + 1)}
    rows = dict(zip(now, here.stage(*now.values()), strict=True))
    assert here.submit().code == 0
    for _ in range(4):
        for number in rng.sample(sorted(now), 20):
            now[number] = later(rng, now[number])
            here.restage(rows[number], now[number])
        for number, row_id in rows.items():
            here.change(row_id, previous_json_payload=overwritten(rng, now[number]))
        ran = here.submit()
        assert (ran.code, ran["full"], ran["untrusted"]) == (0, 0, 0)
        assert ran["delta"] + ran["reset"] + ran["unchanged"] == 20
        assert [n for n, payload in now.items() if not same(here.box.receiver.child(f"SYN{n}"), payload)] == []


def test_a_journal_without_skeletons_is_continued(here: World) -> None:
    """As an earlier version left it: baselines come from previous payloads once, then from skeletons."""
    first, second, third = rows = here.stage(child(1), child(2), child(3))
    assert here.submit().code == 0
    with sqlite3.connect(here.folder / "data" / "journal.db") as db:
        assert db.execute("SELECT count(*) FROM csc_children WHERE skeleton IS NOT NULL").fetchone() == (3,)
        db.execute("UPDATE csc_children SET skeleton = NULL")
    db.close()
    here.change(third, previous_json_payload=None)
    for number, row_id in enumerate(rows, 1):
        here.restage(row_id, child(number, mis_child_id="m-9"))
    ran = here.submit()
    assert (ran.code, ran["delta"], ran["full"], ran["untrusted"]) == (0, 2, 1, 1)

    for number, row_id in enumerate(rows, 1):
        here.restage(row_id, child(number, mis_child_id="m-10"), overwrite_previous=True)
    here.change(first, previous_json_payload=None)
    here.change(second, previous_json_payload="{}")
    ran = here.submit()
    assert (ran.code, ran["delta"], ran["untrusted"]) == (0, 3, 0)


def test_an_unchanged_child_leaves_the_journal_alone(here: World) -> None:
    (row_id,) = here.stage(child(1))
    assert here.submit().code == 0
    before = skeletons(here)
    here.restage(row_id, child(1))
    assert here.submit()["unchanged"] == 1
    assert skeletons(here) == before


def test_a_night_without_news_costs_the_journal_a_run_and_no_row(here: World) -> None:
    """An item for every unchanged row made it 54 MB larger for 300,000 of them, every night."""
    rows = here.stage(*(child(number) for number in range(300)))
    assert here.submit().code == 0
    before = pages(here)
    for row_id in rows:
        here.change(row_id, submission_status="Pending")
    assert here.submit()["unchanged"] == 300
    assert pages(here) - before <= 2


def pages(world: World) -> int:
    """How many pages of 4 KB of the journal are in use."""
    with sqlite3.connect(world.folder / "data" / "journal.db") as db:
        [(used,)], [(free,)] = (
            db.execute("PRAGMA page_count").fetchall(),
            db.execute("PRAGMA freelist_count").fetchall(),
        )
    db.close()
    return int(used) - int(free)


def skeletons(world: World) -> list[bytes]:
    with sqlite3.connect(world.folder / "data" / "journal.db") as db:
        found = [row[0] for row in db.execute("SELECT skeleton FROM csc_children ORDER BY id")]
    db.close()
    return found


def test_no_identifier_and_no_value_stands_open_in_the_journal(here: World) -> None:
    here.stage(child(1))
    assert here.submit().code == 0
    files = [path.read_bytes() for path in (here.folder / "data").glob("journal.db*")]
    assert not [one for one in (b"SYN1", b"Synthetic-1", b"child_protection_plan_id") if any(one in f for f in files)]
