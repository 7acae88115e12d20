"""Who speaks, what is owed, orphaned and contradicted, through the real program: what only one night shows."""

from __future__ import annotations

import json

import pytest

from dataflows.flows.csc import indexes
from dataflows.runs.journal import Journal
from tests.flows.csc.children import Child, child, episode
from tests.flows.csc.truth import same
from tests.flows.csc.world import World


def there(world: World) -> set[str]:
    return {name for _, name in world.box.receiver.children}


def holds(world: World, payload: Child) -> bool:
    return same(world.box.receiver.child(payload["la_child_id"]), payload)


def named(name: str, **changes: object) -> Child:
    return {**child(1), "la_child_id": name, **changes}


def remove(world: World, *row_ids: int) -> None:
    with world.engine.begin() as connection:
        connection.execute(world.table.delete().where(world.table.c.id.in_(row_ids)))


def purges(world: World) -> list[str]:
    records = [record for body in world.requests() for record in json.loads(body)]
    return [record["la_child_id"] for record in records if record.get("purge") is True]


# --- contradicted ----------------------------------------------------------------------------------------------------


def test_resent_by_hand_the_older_row_speaks_from_then_on(here: World) -> None:
    (old, new) = here.stage(named("A1", mis_child_id="m-old"), named("A1", mis_child_id="m-new"))
    assert here.submit().code == 0
    here.change(old, submission_status="Sent", api_response=None)
    here.delete(new)
    assert here.submit()["contradicted"] == 1
    assert "is not: nothing is sent" in here.row(new).api_response
    assert here.submit("--child", "A1", "--resend").code == 0
    assert holds(here, named("A1", mis_child_id="m-old"))
    here.restage(old, named("A1", mis_child_id="m-later"))
    ran = here.submit()
    assert (ran.code, ran["contradicted"], ran["superseded"]) == (0, 0, 1)
    assert holds(here, named("A1", mis_child_id="m-later"))
    assert purges(here) == ["A1"], "the one before it was sent whole"


def test_purged_by_hand_the_older_row_is_superseded(here: World) -> None:
    old, new = here.stage(named("A1"), named("A1", mis_child_id="m-new"))
    assert here.submit().code == 0
    here.restage(old, named("A1"))
    here.delete(new)
    assert here.submit().code == 3
    assert here.submit("--child", "A1", "--purge").code == 0
    assert there(here) == set()
    assert here.row(old).api_response == f"error: superseded by row {new}"
    ran = here.submit()
    assert (ran.code, ran["contradicted"], there(here)) == (0, 0, set())


def test_a_living_child_is_not_purged_by_hand(here: World) -> None:
    here.stage(named("A1"))
    assert here.submit().code == 0
    ran = here.submit("--child", "A1", "--purge")
    assert (ran.code, there(here)) == (2, {"A1"})
    assert "not deleted" in ran["error"]["message"]


def test_a_child_is_not_purged_under_the_nose_of_one_in_other_letters(here: World) -> None:
    (row_id,) = here.stage(named("ab1"))
    assert here.submit().code == 0
    here.restage(row_id, named("AB1"), overwrite_previous=True)
    ran = here.submit()
    assert (ran.code, ran["contradicted"], purges(here)) == (3, 1, [])
    assert holds(here, named("AB1"))
    assert here.submit("--child", "ab1", "--purge").code == 0, "somebody decided"
    assert here.submit("--child", "AB1", "--resend").code == 0
    assert there(here) == {"AB1"}
    assert here.submit().code == 0


def test_two_living_children_in_other_letters_are_both_sent(here: World) -> None:
    here.stage(named("ab1"), named("AB1"))
    assert here.submit()["sent"] == 2


@pytest.mark.parametrize("text", ['{"la_child_id": "A1", "mis_child_id": "m", "mis_child_id": "n"}', "{", "[]"])
def test_what_cannot_be_read_speaks_for_nobody(here: World, text: str) -> None:
    (good,) = here.stage(named("A1"))
    (bad,) = here.stage(text)
    ran = here.submit()
    assert (ran["sent"], ran["invalid"], ran["superseded"]) == (1, 1, 0)
    assert here.row(good).submission_status == "sent"
    assert here.row(bad).submission_status == "error"


# --- one child by hand -----------------------------------------------------------------------------------------------


def test_a_sent_child_without_news_is_told_how_it_is_sent_again(here: World) -> None:
    here.stage(named("K3"))
    assert here.submit().code == 0
    for word in ("K3", "pK3"):
        ran = here.submit("--child", word)
        assert (ran.code, ran["error"]["hint"][:22]) == (2, "to send it again: add ")
    assert here.submit("--child", "pK3", "--resend")["reset"] == 1
    assert holds(here, named("K3"))


def test_a_deleted_child_that_is_resent_is_purged(here: World) -> None:
    (row_id,) = here.stage(named("K3"))
    assert here.submit().code == 0
    here.delete(row_id)
    assert here.submit("--child", "K3", "--resend")["delete"] == 1
    assert there(here) == set()


def test_who_a_row_named_before_is_purged_after_its_child_was_sent_again_by_hand(here: World) -> None:
    (row_id,) = here.stage(named("OLD1"))
    assert here.submit().code == 0
    here.restage(row_id, named("NEW1"))
    assert here.submit("--child", "NEW1", "--resend").code == 0
    assert here.submit().code == 0
    assert there(here) == {"NEW1"}


@pytest.mark.parametrize(
    "words",
    [["--resend"], ["--purge"], ["--child", "A1", "--resend", "--purge"], ["--child", "A1", "--purge-orphans"]],
)
def test_words_that_exclude_each_other(here: World, words: list[str]) -> None:
    assert here.submit(*words).code == 2


# --- owed ------------------------------------------------------------------------------------------------------------


def test_a_rename_that_comes_back_before_its_purge_is_forgotten(here: World) -> None:
    rows = here.stage(*(named(f"OLD{n}") for n in range(12)))
    assert here.submit().code == 0
    for n, row_id in enumerate(rows):
        here.restage(row_id, named(f"NEW{n}"))
    assert here.submit()["held_back"] == 12
    for n, row_id in enumerate(rows):
        here.restage(row_id, named(f"OLD{n}"))
    ran = here.submit("--allow-mass-delete")
    assert (ran.code, ran["delete"]) == (0, 12)
    assert there(here) == {f"OLD{n}" for n in range(12)}
    assert set(purges(here)) == {f"NEW{n}" for n in range(12)}


def test_a_purge_that_is_owed_outlives_its_evidence(here: World) -> None:
    (row_id,) = here.stage(named("OLD1"))
    assert here.submit().code == 0
    here.restage(row_id, named("NEW1"))
    here.box.receiver.faults.set(refuse_ids=["OLD1"])
    assert here.submit().code == 3
    here.box.receiver.faults.clear()
    here.change(row_id, previous_json_payload=None, person_id=None, api_response=None, submission_status="Sent")
    ran = here.submit()
    assert (ran.code, ran["rows"], ran["delete"], there(here)) == (0, 0, 1, {"NEW1"})
    assert here.submit()["delete"] == 0


def test_a_dry_run_owes_nothing(here: World) -> None:
    (row_id,) = here.stage(named("OLD1"))
    assert here.submit().code == 0
    here.restage(row_id, named("NEW1"))
    ran = here.submit("--dry-run")
    assert (ran["full"], ran["delete"]) == (1, 1)
    here.restage(row_id, named("OLD1"))
    journal = Journal.open(here.folder / "data")
    with journal.reading() as db:
        assert db.execute("SELECT count(*) FROM csc_children WHERE owed IS NOT NULL").fetchone() == (0,)
    journal.close()


def test_a_name_that_was_only_staged_is_not_purged(here: World) -> None:
    (row_id,) = here.stage(named("OLD1"))
    here.restage(row_id, named("NEW1"), overwrite_previous=True)
    ran = here.submit()
    assert (ran.code, ran["sent"], purges(here)) == (0, 1, [])


def test_the_loader_brings_a_child_back_just_before_its_purge(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataflows.flows.csc.planning import Planner

    (row_id,) = here.stage(named("A1"))
    assert here.submit().code == 0
    here.delete(row_id)
    ask = Planner.still_right

    def asked(planner: Planner, batch: object) -> list[bool]:
        monkeypatch.undo()
        here.restage(row_id, named("A1", mis_child_id="m-back"))
        return ask(planner, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Planner, "still_right", asked)
    ran = here.submit()
    assert (ran.code, ran["sent"], purges(here)) == (3, 0, [])
    assert here.submit().code == 0
    assert holds(here, named("A1", mis_child_id="m-back"))


# --- orphans ---------------------------------------------------------------------------------------------------------


def test_orphans_are_counted_and_purged_only_when_asked_for(here: World) -> None:
    rows = here.stage(*(named(f"K{n}", social_care_episodes=[episode(f"e{n}")]) for n in range(40)))
    assert here.submit().code == 0
    remove(here, rows[7])
    here.restage(rows[0], named("K0", mis_child_id="m-2"))
    ran = here.submit()
    assert (ran.code, ran["orphaned"], purges(here)) == (3, 1, [])
    assert "--purge-orphans" in ran.err
    ran = here.submit()
    assert (ran.code, ran["orphaned"], ran["rows"]) == (3, 1, 0), "the last figure, with its date"
    ran = here.submit("--purge-orphans")
    assert (ran.code, purges(here)) == (0, ["K7"])
    assert here.submit().code == 0


def test_many_orphans_look_like_a_loader_that_failed(here: World) -> None:
    rows = here.stage(*(named(f"K{n}") for n in range(40)))
    assert here.submit().code == 0
    remove(here, *rows[:15])
    here.restage(rows[39], named("K39", mis_child_id="m-2"))
    ran = here.submit()
    assert (ran["orphaned"], "--purge-orphans" in ran.err) == (15, False)
    ran = here.submit("--purge-orphans")
    assert (ran.code, ran["held_back"], len(there(here))) == (3, 15, 40)


@pytest.mark.parametrize("why", ["a row that names nobody", "under half"])
def test_orphans_are_not_counted_where_the_table_is_not_as_it_should_be(here: World, why: str) -> None:
    rows = here.stage(*(named(f"K{n}") for n in range(40)))
    assert here.submit().code == 0
    remove(here, *(rows[:1] if why == "a row that names nobody" else rows[:25]))
    if why == "a row that names nobody":
        here.stage("{")
    here.restage(rows[39], named("K39", mis_child_id="m-2"))
    assert here.submit()["orphaned"] == 0
    ran = here.submit("--purge-orphans")
    assert (ran["orphaned"], ran["delete"]) == (0, 0)
    assert "no orphan was purged" in ran.err


def test_with_the_index_a_table_that_was_filled_again_is_walked_through(here: World) -> None:
    with here.engine.begin() as connection:
        for offered in indexes.offered(here.engine, here.table):
            for statement in offered.script.split("; "):
                connection.exec_driver_sql(statement)
    rows = here.stage(*(named(f"K{n}") for n in range(40)))
    assert here.submit().code == 0
    remove(here, *rows)
    here.stage(*(named(f"K{n}") for n in range(39)))
    ran = here.submit()
    assert (ran.code, ran["orphaned"], ran["unchanged"]) == (3, 1, 39)


# --- figures of the guard --------------------------------------------------------------------------------------------


def test_the_guard_counts_by_journal_and_table_together(here: World) -> None:
    """400 children, the journal is lost, 12 are deleted and 30 changed: 3 percent, and no reason to hold anything."""
    rows = here.stage(*(named(f"K{n}") for n in range(400)))
    assert here.submit().code == 0
    for file in (here.folder / "data").glob("journal.*"):
        file.unlink()
    here.delete(*rows[:12])
    for n in range(20, 50):
        here.restage(rows[n], named(f"K{n}", mis_child_id="m-2"))
    ran = here.submit("--takeover")
    assert (ran.code, ran["held_back"], ran["delete"]) == (0, 0, 12)
    here.delete(*rows[100:140])
    ran = here.submit()
    assert (ran.code, ran["held_back"]) == (3, 40)
    assert "40 of 388 children would be removed" in ran.err


def test_after_a_requeue_purges_that_were_acknowledged_are_not_repeated(here: World) -> None:
    rows = here.stage(*(named(f"K{n}") for n in range(30)))
    assert here.submit().code == 0
    here.delete(*rows[:15])
    assert here.submit("--allow-mass-delete").code == 0
    before = len(purges(here))
    ran = here.submit("--requeue")
    assert (ran.code, ran["held_back"], len(purges(here))) == (0, 0, before)


def test_what_the_guard_holds_back_does_not_hold_back_the_new_name(here: World) -> None:
    rows = here.stage(*(named(f"OLD{n}") for n in range(15)))
    assert here.submit().code == 0
    for n, row_id in enumerate(rows):
        here.restage(row_id, named(f"NEW{n}"))
    ran = here.submit()
    assert (ran.code, ran["held_back"], ran["untrusted"]) == (3, 15, 0)
    assert there(here) >= {f"NEW{n}" for n in range(15)}
    assert {row.submission_status for row in here.rows()} == {"sent"}
