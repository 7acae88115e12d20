"""What people did to a staging table, case by case as it was seen, and what has to come of it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.flows.csc.children import Child, child, episode, plan
from tests.flows.csc.truth import contains, same
from tests.flows.csc.world import World

SENT = {"submission_status": "Sent", "row_state": "Unchanged"}
RECEIPT = "2026-01-01_02:00:00.00_00000000-0000-4000-8000-{:012d}.json"


def named(identifier: str, episode_id: str = "e1", **changes: Any) -> Child:
    """A synthetic child under this identifier."""
    return {**child(1), "la_child_id": identifier, "social_care_episodes": [episode(episode_id)], **changes}


def later(payload: Child, note: str = "m-later") -> Child:
    """The same child with another local identifier, which is an ordinary update."""
    return {**payload, "mis_child_id": note}


def sent(world: World, *payloads: Child, **columns: Any) -> list[int]:
    """Rows that were sent in an ordinary night."""
    ids = world.stage(*payloads, **columns)
    assert world.submit().code == 0
    return ids


def holds(world: World, payload: Child) -> bool:
    return same(world.box.receiver.child(payload["la_child_id"]), payload)


def there(world: World) -> set[str]:
    return {name for _, name in world.box.receiver.children}


def purged(world: World) -> list[str]:
    """Every child that was purged as a whole, in order."""
    records = [record for body in world.requests() for record in json.loads(body)]
    return [record["la_child_id"] for record in records if record.get("purge")]


def lose_data_dir(world: World) -> None:
    shutil.rmtree(world.folder / "data")


def moved(world: World, name: str, *, renumber: bool = False) -> World:
    """The table copied to another database, with all its columns."""
    other = World(world.folder, world.box, world.capsys, f"sqlite:///{world.folder / name}")
    copied = [dict(row._mapping) for row in world.rows()]
    with other.engine.begin() as connection:
        for row in copied:
            row["id"] += 1000 if renumber else 0
            connection.execute(other.table.insert().values(**row))
    return other


def renumbered(world: World, *ids: int) -> None:
    """The rows in their order, with these ids and all their columns."""
    rows = [dict(row._mapping) for row in world.rows()]
    with world.engine.begin() as connection:
        connection.execute(world.table.delete())
        for row, row_id in zip(rows, ids, strict=True):
            connection.execute(world.table.insert().values(**{**row, "id": row_id}))


def by_another_tool(world: World, *payloads: Child, **columns: Any) -> list[int]:
    """Rows that another tool has sent, with its receipts."""
    ids = []
    for number, payload in enumerate(payloads):
        world.box.receiver._committed("999", [payload])
        text = json.dumps(payload)
        receipt = RECEIPT.format(number)
        told = {**SENT, "previous_json_payload": text, "api_response": receipt, **columns}
        ids += world.stage(payload, **told)
    return ids


# --- two rows of one child -------------------------------------------------------------------------------------------

PERSONS = [("p1", "p2"), (None, None), ("p1", None), (None, "p2")]


def two_rows(here: World, persons: tuple[str | None, str | None], how: str) -> tuple[World, Child, int]:
    """Rows 1 and 2 name A1, row 2 was sent last; the journal knows nothing of them, or not of this address."""
    old, new = named("A1", "e-old"), named("A1", "e-new")
    if how == "another tool":
        (row_1,) = by_another_tool(here, old, person_id=persons[0])
        by_another_tool(here, new, person_id=persons[1])
        here.box.receiver._committed("999", [{"la_child_id": "A1", "purge": True}])
        here.box.receiver._committed("999", [new])
        return here, new, row_1
    (row_1,) = sent(here, old, person_id=persons[0])
    sent(here, new, person_id=persons[1])
    here.box.receiver._committed("999", [{"la_child_id": "A1", "purge": True}])
    here.box.receiver._committed("999", [new])
    if how == "DATA_DIR lost":
        lose_data_dir(here)
        return here, new, row_1
    return moved(here, "moved.db"), new, row_1


@pytest.mark.parametrize("how", ["another tool", "DATA_DIR lost", "address changed"])
@pytest.mark.parametrize("persons", PERSONS)
def test_a_deleted_row_does_not_purge_a_child_that_a_newer_row_speaks_for(
    here: World, persons: tuple[str | None, str | None], how: str
) -> None:
    world, new, row_1 = two_rows(here, persons, how)
    world.delete(row_1)
    before = len(purged(world))
    if world.submit().code == 10:
        assert world.submit("--takeover").code == 0
    assert holds(world, new)
    assert world.submit().code == 0
    assert holds(world, new)
    assert len(purged(world)) == before


@pytest.mark.parametrize("how", ["another tool", "DATA_DIR lost", "address changed"])
@pytest.mark.parametrize("persons", PERSONS)
def test_an_older_row_that_is_pending_does_not_overwrite_what_a_newer_one_said(
    here: World, persons: tuple[str | None, str | None], how: str
) -> None:
    world, new, row_1 = two_rows(here, persons, how)
    world.change(row_1, submission_status="Pending")
    ran = world.submit()
    if ran.code == 10:
        ran = world.submit("--takeover")
    assert (ran["superseded"], ran["sent"]) == (1, 0)
    assert holds(world, new)


def test_a_deleted_row_against_a_living_one_leaves_the_child_alone_until_somebody_decides(here: World) -> None:
    sent(here, named("A1", "e-old"), person_id=None)
    (row_2,) = sent(here, named("A1", "e-new"), person_id=None)
    here.box.receiver._committed("999", [{"la_child_id": "A1", "purge": True}])
    here.box.receiver._committed("999", [named("A1", "e-new")])
    here.delete(row_2)
    for _ in range(2):
        ran = here.submit()
        assert (ran.code, ran["contradicted"]) == (3, 1)
        assert purged(here) == []
    assert here.submit("--child", "A1", "--purge").code == 0
    assert there(here) == set()


# --- one receipt for a whole batch -----------------------------------------------------------------------------------


def test_a_receipt_that_a_whole_batch_was_given_says_nothing_of_one_child(here: World) -> None:
    here.box.receiver.faults.set(receipts="single")
    children = [named(f"K{n}", f"e{n}") for n in range(1, 7)]
    sent(here, *children)
    renumbered(here, 6, 5, 4, 3, 2, 1)
    assert len({row.api_response for row in here.rows()}) == 1
    here.restage(1, later(children[5]))
    assert here.submit().code == 0
    assert purged(here) == []
    assert all(holds(here, one) for one in [*children[:5], later(children[5])])


def test_a_receipt_of_a_whole_batch_that_one_row_alone_still_shows_says_no_more(here: World) -> None:
    here.box.receiver.faults.set(receipts="single")
    sent(here, named("A1"), named("B2"), later(named("B2")))
    renumbered(here, 3, 2, 1)
    assert here.submit()["sent"] == 1  # the older row of B2 speaks now, and was given a receipt of its own
    here.restage(1, later(named("B2")))
    here.restage(3, "{")
    assert here.submit()["delete"] == 0
    assert holds(here, named("A1"))


# --- a table that was copied, then a child that is renamed -----------------------------------------------------------


@pytest.mark.parametrize("how", ["copied", "copied and renumbered", "renumbered"])
@pytest.mark.parametrize("overwritten", [False, True])
def test_a_child_that_is_renamed_after_the_table_was_moved_leaves_nothing_behind(
    here: World, how: str, overwritten: bool
) -> None:
    sent(here, named("OLD1"), named("K2", "e2"))
    world = here
    if how == "renumbered":
        renumbered(here, 1001, 1002)
    else:
        world = moved(here, "moved.db", renumber="renumbered" in how)
    row_id = world.rows()[0].id
    world.restage(row_id, named("NEW1"))
    if overwritten:
        world.change(row_id, previous_json_payload=json.dumps(named("NEW1")))
    assert world.submit().code == 0
    assert there(world) == {"NEW1", "K2"}
    assert purged(world) == ["OLD1"]


def test_renames_that_the_guard_holds_back_are_not_forgotten(here: World) -> None:
    rows = sent(here, *(named(f"OLD{n}", f"e{n}") for n in range(15)))
    for n, row_id in enumerate(rows):
        here.restage(row_id, named(f"NEW{n}", f"e{n}"))
        here.change(row_id, previous_json_payload=None)
    ran = here.submit()
    assert (ran.code, ran["held_back"], ran["sent"], ran["untrusted"]) == (3, 15, 15, 0)
    assert "15 of 30 children" in ran.err or "15 of 15 children" in ran.err
    ran = here.submit("--allow-mass-delete")
    assert (ran.code, ran["held_back"], ran["delete"]) == (0, 0, 15)
    assert there(here) == {f"NEW{n}" for n in range(15)}


# --- identifiers that are swapped ------------------------------------------------------------------------------------


@pytest.mark.parametrize("journal", ["kept", "lost"])
@pytest.mark.parametrize("overwritten", [False, True])
def test_two_children_that_swap_identifiers_have_only_their_own_episodes(
    here: World, journal: str, overwritten: bool
) -> None:
    if journal == "lost" and overwritten:
        pytest.skip("nothing is left that tells of the former identifiers")
    one, two = sent(here, named("AA", "e-a"), named("BB", "e-b"))
    if journal == "lost":
        lose_data_dir(here)
    for row_id, payload in ((one, named("BB", "e-a")), (two, named("AA", "e-b"))):
        here.restage(row_id, payload)
        if overwritten:
            here.change(row_id, previous_json_payload=json.dumps(payload))
    assert here.submit(*(["--takeover"] if journal == "lost" else []), CSC_RESET="object").code == 0
    assert holds(here, named("BB", "e-a")) and holds(here, named("AA", "e-b"))


@pytest.mark.parametrize("reset", ["object", "child"])
def test_a_ring_of_identifiers_is_taken_apart_without_a_journal_though_a_new_row_speaks_for_one(
    here: World, reset: str
) -> None:
    one, two = sent(here, named("D4", "e4"), named("C3", "e3"))
    lose_data_dir(here)
    here.restage(one, named("A1", "e4"))
    here.restage(two, named("D4", "e3"))
    here.stage(named("C3", "e9"))
    assert here.submit("--takeover", CSC_RESET=reset).code == 0
    assert holds(here, named("A1", "e4")) and holds(here, named("D4", "e3"))


def test_a_ring_with_a_child_that_only_the_former_tool_sent_is_taken_apart(here: World) -> None:
    """E5 was not pending at the takeover, so the journal does not know it."""
    by_another_tool(here, named("E5", "e5"))
    (row_2,) = here.stage(named("B2", "e2"))
    assert here.submit("--takeover").code == 0
    here.restage(row_2, named("E5", "e2"))
    here.restage(here.rows()[0].id, named("D4", "e5"))
    assert here.submit().code == 0
    assert holds(here, named("E5", "e2")) and holds(here, named("D4", "e5"))
    assert there(here) == {"E5", "D4"}


# --- a lost journal, another tool, another receiver ------------------------------------------------------------------


def test_a_lost_journal_does_not_let_the_guard_count_what_is_pending_for_all_there_is(here: World) -> None:
    children = [named(f"K{n}", f"e{n}") for n in range(400)]
    rows = sent(here, *children)
    lose_data_dir(here)
    here.delete(*rows[:12])
    for n in range(12, 42):
        here.restage(rows[n], later(children[n]))
    assert here.submit().code == 10
    assert set(there(here)) == {f"K{n}" for n in range(400)}
    ran = here.submit("--takeover")
    assert (ran.code, ran["held_back"], ran["delete"], ran["full"]) == (0, 0, 12, 30)
    assert there(here) == {f"K{n}" for n in range(12, 400)}
    assert all(contains(here.box.receiver.child(f"K{n}"), later(children[n])) for n in range(12, 42))
    assert here.submit()["held_back"] == 0


def test_a_takeover_purges_nothing_that_the_table_shows_as_purged(here: World) -> None:
    """Another tool's table: 60 children purged long ago, 30 pending, others as they are."""
    gone = by_another_tool(here, *(named(f"G{n}") for n in range(60)))
    for number, row_id in enumerate(gone):
        here.change(row_id, row_state="Deleted", partial_json_payload=f'{{"la_child_id": "G{number}", "purge": true}}')
    here.box.receiver._committed("999", [{"la_child_id": f"G{n}", "purge": True} for n in range(60)])
    kept = [named(f"K{n}", f"e{n}") for n in range(40)]
    rows = by_another_tool(here, *kept)
    for row_id, payload in zip(rows[:30], kept, strict=False):
        here.restage(row_id, later(payload))
    arrived = len(here.requests())
    assert here.submit().code == 10
    assert len(here.requests()) == arrived
    ran = here.submit("--takeover")
    assert (ran.code, ran["held_back"], ran["delete"], ran["sent"], ran["full"]) == (0, 0, 0, 30, 30)
    assert purged(here) == []
    ran = here.submit()
    assert (ran.code, ran["held_back"], ran["sent"]) == (0, 0, 0)


@pytest.mark.parametrize("after", ["requeue", "lost journal"])
def test_purges_that_were_acknowledged_long_ago_are_not_held_back_every_night(here: World, after: str) -> None:
    rows = sent(here, *(named(f"K{n}", f"e{n}") for n in range(40)))
    here.delete(*rows[:12])
    assert here.submit("--allow-mass-delete")["delete"] == 12
    if after == "requeue":
        assert here.submit("--requeue", LA_CODE="998").code == 0
        environment = {"LA_CODE": "998"}
    else:
        lose_data_dir(here)
        here.restage(rows[20], later(named("K20", "e20")))
        ran = here.submit("--takeover")
        assert (ran.code, ran["held_back"], ran["delete"]) == (0, 0, 0)
        environment = {}
    for _ in range(2):
        ran = here.submit(**environment)
        assert (ran.code, ran["held_back"], ran["delete"]) == (0, 0, 0)


def test_a_test_machine_does_not_take_what_is_pending_for_live(here: World) -> None:
    sent(here, named("K1"))
    (pending,) = here.stage(named("K2", "e2"))
    tester = {"DATA_DIR": str(here.folder / "test machine"), "LA_CODE": "998"}
    ran = here.submit(**tester)
    assert ran.code == 10
    assert all(word in ran.err for word in ("--takeover", "--requeue", "--rehearsal"))
    assert here.row(pending).submission_status == "Pending"
    assert {la for la, _ in here.box.receiver.children} == {"999"}
    assert here.submit()["sent"] == 1
    assert holds(here, named("K2", "e2"))


def test_a_lost_key_is_no_reason_to_believe_that_everybody_was_renamed(here: World) -> None:
    children = [named(f"K{n}", f"e{n}") for n in range(300)]
    rows = sent(here, *children)
    key = here.folder / "data" / "journal.key"
    kept = key.read_bytes()
    key.unlink()
    for row_id, payload in zip(rows, children, strict=True):
        here.restage(row_id, later(payload))
    arrived = len(here.requests())
    ran = here.submit()
    assert (ran.code, len(here.requests())) == (10, arrived)
    assert "--allow-mass-delete" not in ran.err and "--takeover" in ran.err
    key.unlink(missing_ok=True)
    key.write_bytes(kept)
    ran = here.submit()
    assert (ran.code, ran["sent"], ran["held_back"], ran["untrusted"]) == (0, 300, 0, 0)
    assert all(holds(here, later(payload)) for payload in children)


def test_a_takeover_after_a_lost_key_still_guards_real_deletions(here: World) -> None:
    children = [named(f"K{n}", f"e{n}") for n in range(300)]
    rows = sent(here, *children)
    (here.folder / "data" / "journal.key").unlink()
    here.delete(*rows[:20])
    for row_id, payload in zip(rows[20:], children[20:], strict=True):
        here.restage(row_id, later(payload))
    assert here.submit().code == 10
    ran = here.submit("--takeover")
    assert (ran.code, ran["held_back"], ran["sent"]) == (3, 20, 280)
    assert "20 of 300 children" in ran.err
    assert there(here) == {f"K{n}" for n in range(300)}


# --- one child by hand -----------------------------------------------------------------------------------------------


def test_one_child_is_sent_again_whole_and_no_other_row_is_touched(here: World) -> None:
    rows = sent(here, *(named(f"K{n}", f"e{n}") for n in range(1, 5)))
    here.box.receiver._committed("999", [named("K3", "e-stray")])
    others = [here.row(row_id) for row_id in rows if row_id != rows[2]]
    ran = here.submit("--child", "K3", "--resend")
    assert (ran.code, ran["sent"]) == (0, 1)
    assert holds(here, named("K3", "e3"))
    assert [here.row(row.id) for row in others] == others
    here.restage(rows[0], later(named("K1", "e1")))
    ran = here.submit()
    assert (ran["delta"], ran["full"], ran["untrusted"]) == (1, 0, 0)


def test_a_child_that_is_not_found_is_wrong_usage(here: World) -> None:
    sent(here, named("K1"))
    assert here.submit("--child", "K9").code == 2


# --- a loader that stores in previous_json_payload what was staged last ----------------------------------------------


def test_what_vanishes_is_purged_whatever_the_loader_keeps_as_the_previous_payload(here: World) -> None:
    """One bad night, in which nothing reaches the API, and everything is staged again before the next."""
    count, vanished = 460, 31
    plans = [plan("p1"), plan("p2")]

    def staged(n: int, note: str, kept: list[Child]) -> Child:
        episodes = [episode(f"e{n}", child_protection_plans=kept)]
        return named(f"K{n}", mis_child_id=note, social_care_episodes=episodes)

    rows = sent(here, *(staged(n, "m-1", plans) for n in range(count)))
    for n, row_id in enumerate(rows):
        here.restage(row_id, staged(n, "m-2", plans), overwrite_previous=True)
    here.box.token.faults.set(error_share=1.0)
    assert here.submit().code == 13
    here.box.token.faults.clear()
    after = [staged(n, "m-3", plans[:1] if n < vanished else plans) for n in range(count)]
    for row_id, payload in zip(rows, after, strict=True):
        here.restage(row_id, payload, overwrite_previous=True)
    ran = here.submit(CSC_RESET="object")
    assert (ran.code, ran["sent"], ran["untrusted"]) == (0, count, 0)
    assert [payload["la_child_id"] for payload in after if not holds(here, payload)] == []


# --- messages that were not true -------------------------------------------------------------------------------------


def test_a_child_of_whom_nothing_is_known_is_not_called_untrusted(here: World) -> None:
    (row_id,) = sent(here, named("OLD1"))
    here.restage(row_id, named("NEW1"))
    ran = here.submit()
    assert (ran.code, ran["untrusted"]) == (0, 0)
    assert there(here) == {"NEW1"}
    here.restage(row_id, named("NEW2"), overwrite_previous=True)
    ran = here.submit()
    assert (ran.code, ran["untrusted"]) == (0, 0)
    assert there(here) == {"NEW2"}
