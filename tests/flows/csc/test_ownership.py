"""Whose table: a journal sends a table that it knows, wherever it was moved, and no other; and what a takeover does."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dataflows.runs.keys import KEY_FILE
from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import child, episode, plan
from tests.flows.csc.world import Ran, World

FOREIGN = "rows of this table have receipts from another machine or program"


def sent(world: World, *numbers: int) -> list[int]:
    ids = world.stage(*(child(number) for number in numbers))
    assert world.submit().code == 0
    return ids


def data(world: World) -> Path:
    return world.folder / "data"


def lose(world: World, *patterns: str) -> None:
    for pattern in patterns:
        for path in data(world).glob(pattern):
            path.unlink()


def lose_the_journal(world: World) -> None:
    lose(world, "journal.db*", KEY_FILE)


def snapshot(world: World) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in world.rows()]


def refused(ran: Ran, words: str) -> None:
    assert ran.code == 10
    assert words in ran["error"]["message"]


def older(world: World, *statements: str) -> None:
    """Change the journal to what an earlier version would have left."""
    with sqlite3.connect(data(world) / "journal.db") as db:
        for statement in statements:
            db.execute(statement)
    db.close()


# --- a table that this journal does not know -----------------------------------------------------------------------


def test_a_test_machine_on_the_live_table_takes_nothing_from_it(world: World) -> None:
    """With its own DATA_DIR and another LA_CODE it took live's pending child, and live never sent it."""
    sent(world, 1)
    world.stage(child(2))
    before, posted = snapshot(world), len(world.requests())

    ran = world.submit(DATA_DIR=str(world.folder / "test"), LA_CODE="998")
    refused(ran, FOREIGN)
    for way in ("--takeover", "--requeue", "--rehearsal"):
        assert way in ran["error"]["hint"]
    assert (snapshot(world), len(world.requests())) == (before, posted)

    assert world.submit()["sent"] == 1
    assert world.held(child(2))


def test_a_test_machine_that_comes_first_is_noticed_by_live_before_anything_is_lost(world: World) -> None:
    """Before any row shows a receipt nothing tells whose table it is; what was sent by mistake is found next time."""
    world.stage(child(1), child(2))
    tester = {"DATA_DIR": str(world.folder / "test"), "LA_CODE": "998"}
    assert world.submit(**tester)["sent"] == 2
    world.stage(child(3))
    before, posted = snapshot(world), len(world.requests())

    ran = world.submit()
    refused(ran, FOREIGN)
    assert "if this receiver is new: --requeue" in ran["error"]["hint"]
    assert (snapshot(world), len(world.requests())) == (before, posted)

    ran = world.submit("--requeue")
    assert (ran.code, ran["sent"], ran["full"]) == (0, 3, 3)
    assert all(world.held(child(number)) for number in (1, 2, 3))


def test_a_lost_journal_is_a_foreign_one_until_it_takes_over(world: World) -> None:
    first, second = sent(world, 1, 2)
    lose_the_journal(world)
    changed = child(1, mis_child_id="m-9")
    world.restage(first, changed)
    refused(world.submit(), FOREIGN)

    ran = world.submit("--takeover")
    assert (ran.code, ran["full"], ran["sent"]) == (0, 1, 1)
    assert world.held(changed)
    assert world.row(second).submission_status == "sent"

    world.restage(second, changed := child(2, mis_child_id="m-9"))
    assert world.submit().code == 0  # it is known from now on
    assert world.held(changed)


def test_a_takeover_that_finds_nothing_to_send_counts_as_one(here: World) -> None:
    sent(here, 1)
    lose_the_journal(here)
    assert here.submit("--takeover").code == 0
    here.stage(child(2))
    assert here.submit()["sent"] == 1


def test_a_dry_run_says_what_would_stop_a_real_one(here: World) -> None:
    sent(here, 1)
    lose_the_journal(here)
    here.stage(child(2))
    ran = here.submit("--dry-run")
    assert ran.code == 0
    assert f"without --dry-run this would end with exit code 10: {FOREIGN}" in ran.err
    refused(here.submit(), FOREIGN)


def test_a_rehearsal_needs_no_table_of_its_own(here: World) -> None:
    sent(here, 1)
    lose_the_journal(here)
    here.stage(child(2))
    assert here.submit("--rehearsal").code == 0


@pytest.mark.parametrize(
    "response", [None, "", " ", "Validation error: la_child_id is required", "Response count mismatch"]
)
def test_rows_that_nobody_sent_are_no_reason_to_stop(here: World, response: str | None) -> None:
    here.stage(child(1), submission_status="error", api_response=response)
    assert here.submit()["sent"] == 1


def test_the_newest_thousand_rows_do_not_decide_alone(here: World) -> None:
    """A table that is ours, with many rows of another tool above: one receipt that we know is enough."""
    (own,) = sent(here, 1)
    here.stage(*(child(n) for n in range(2, 1500)), submission_status="Sent", api_response="another tool's receipt")
    forget_the_table(here)
    here.restage(own, changed := child(1, mis_child_id="m-9"))
    ran = here.submit("--child", "SYN1")
    assert (ran.code, ran["sent"]) == (0, 1)
    assert here.held(changed)


@pytest.mark.parametrize("options", [("--requeue",), ("--rehearsal",)])
def test_takeover_stands_alone(here: World, options: tuple[str, ...]) -> None:
    assert here.submit("--takeover", *options).code == 2


# --- a table that was copied, renumbered or moved ------------------------------------------------------------------


def forget_the_table(world: World) -> None:
    older(world, "UPDATE csc_tables SET name = 'elsewhere', receiver = NULL")


def copied(world: World, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> World:
    """The table in another database, its rows in other order under other ids; journal and key stay where they are."""
    folder.mkdir()
    other = World(folder, box, capsys)
    other.environment["DATA_DIR"] = str(data(world))
    rows = [dict(row._mapping) for row in reversed(world.rows())]
    with other.engine.begin() as connection:
        for number, row in enumerate(rows):
            connection.execute(other.table.insert().values({**row, "id": 5000 + 7 * number}))
    return other


def test_a_copied_and_renumbered_table_is_recognised_by_its_receipts(
    here: World, tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(here, 1, 2, 3)
    other = copied(here, tmp_path / "neue Ablage", box, capsys)
    posted = len(other.requests())
    row_id = next(row.id for row in other.rows() if "SYN2" in row.json_payload)
    without_plan = child(2, social_care_episodes=[episode("e2", child_protection_plans=[plan("p1")])])
    other.restage(row_id, without_plan, overwrite_previous=True)

    ran = other.submit()
    assert (ran.code, ran["delta"], ran["sent"], ran["untrusted"]) == (0, 1, 1, 0)
    assert len(other.requests()) == posted + 1
    assert other.held(without_plan)
    other.engine.dispose()


def test_a_copy_for_another_receiver_is_told_by_which_one_it_was_sent_to(
    here: World, tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(here, 1)
    other = copied(here, tmp_path / "copy", box, capsys)
    other.stage(child(2))
    refused(other.submit(LA_CODE="998"), "this table was last sent to another receiver: ")
    other.engine.dispose()


def test_scheme_and_host_may_be_written_in_capitals(world: World) -> None:
    (row_id,) = sent(world, 1)
    shouted = world.environment["API_ENDPOINT"].replace("http://", "HTTP://")
    world.restage(row_id, child(1, mis_child_id="m-9"))
    ran = world.submit(API_ENDPOINT=shouted)
    assert (ran.code, ran["sent"], ran["untrusted"]) == (0, 1, 0)


def test_an_address_that_an_earlier_version_kept_as_it_was_typed_is_the_same(here: World) -> None:
    (row_id,) = sent(here, 1)
    older(here, "UPDATE csc_receivers SET address = replace(address, 'http://', 'HTTP://')")
    here.restage(row_id, child(1, mis_child_id="m-9"))
    ran = here.submit()
    assert (ran.code, ran["sent"], ran["untrusted"]) == (0, 1, 0)


# --- the key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["missing", "foreign", "missing, of an earlier version", "foreign, of an earlier version"]
)
def test_a_lost_key_is_no_renaming_of_everybody(here: World, how: str) -> None:
    """It was: every child seemed to be renamed, all were held back, and the hint let real deletions through."""
    ids = sent(here, *range(1, 31))
    key = (data(here) / KEY_FILE).read_bytes()
    if "earlier version" in how:
        older(here, "DROP TABLE csc_keys", "DELETE FROM parts WHERE part = 'csc key'")
    lose(here, KEY_FILE)
    if how.startswith("foreign"):
        (data(here) / KEY_FILE).write_bytes(b"another key of 32 bytes, made up")
    for number, row_id in enumerate(ids, 1):
        here.restage(row_id, child(number, mis_child_id="m-new"))
    posted = len(here.requests())

    for options in ((), ("--allow-mass-delete",), ("--requeue",), ("--dry-run",)):
        ran = here.submit(*options)
        refused(ran, "key")
        assert "--takeover" in ran["error"]["hint"] and "restore it" in ran["error"]["hint"]
    assert (data(here) / KEY_FILE).exists() is how.startswith("foreign")
    assert len(here.requests()) == posted

    (data(here) / KEY_FILE).write_bytes(key)
    ran = here.submit()
    assert (ran.code, ran["sent"], ran["held_back"], ran["untrusted"]) == (0, 30, 0, 0)


def test_a_takeover_with_another_key_puts_the_children_of_the_old_one_away(here: World) -> None:
    ids = sent(here, *range(1, 31))
    lose(here, KEY_FILE)
    for number, row_id in enumerate(ids, 1):
        here.restage(row_id, child(number, mis_child_id="m-new"))
    here.delete(*ids[:2])

    ran = here.submit("--takeover")
    assert (ran.code, ran["sent"], ran["delete"], ran["held_back"]) == (0, 30, 2, 0)
    held = {name for _, name in here.box.receiver.children}
    assert held == {f"SYN{number}" for number in range(3, 31)}

    here.restage(ids[5], child(6, mis_child_id="m-newer"))
    ran = here.submit()
    assert (ran.code, ran["delta"] + ran["full"] + ran["reset"], ran["untrusted"]) == (0, 1, 0)


def test_a_takeover_with_a_new_key_asks_for_every_table_of_the_journal(
    here: World, tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(here, 1)
    other = copied(here, tmp_path / "second", box, capsys)
    other.stage(child(2))
    assert other.submit()["sent"] == 1
    lose(here, KEY_FILE)
    assert here.submit("--takeover").code == 0
    other.stage(child(3))
    refused(other.submit(), FOREIGN)
    assert other.submit("--takeover")["sent"] == 1
    other.engine.dispose()


def test_a_damaged_key_says_what_to_do(here: World) -> None:
    sent(here, 1)
    (data(here) / KEY_FILE).write_bytes(b"short")
    ran = here.submit()
    refused(ran, "the key of the journal cannot be used")
    assert "--takeover" in ran["error"]["hint"]


def test_show_needs_the_key_too(here: World) -> None:
    sent(here, 1)
    lose(here, KEY_FILE)
    assert not (data(here) / KEY_FILE).exists()
    refused(here.submit(), "the key of the journal is missing")


# --- what a takeover repeats, and what it does not ------------------------------------------------------------------


def test_a_table_that_the_other_tool_filled_is_taken_over(world: World) -> None:
    """Nothing that it shows as purged is purged again, and every pending child goes whole once."""
    receipt = "2026-02-01_02:00:00.12_0c6a1f3e-6c1f-4f5e-9a53-0d4f6f0e1a2b.json"
    world.stage(child(1), submission_status="Sent", row_state="Unchanged", api_response=receipt)
    gone = {"la_child_id": "SYN2", "purge": True}
    world.stage(
        child(2), submission_status="Sent", row_state="Deleted", api_response=receipt,
        previous_json_payload=json.dumps(child(2)), partial_json_payload=json.dumps(gone),
    )  # fmt: skip
    world.stage(
        child(3, mis_child_id="m-9"), row_state="Updated", api_response=receipt,
        previous_json_payload=json.dumps(child(3)),
    )  # fmt: skip
    world.stage(child(4))
    refused(world.submit(), FOREIGN)
    assert world.requests() == []

    ran = world.submit("--takeover")
    assert (ran.code, ran["full"], ran["delete"], ran["held_back"]) == (0, 2, 0, 0)
    assert {one["la_child_id"] for body in world.requests() for one in json.loads(body)} == {"SYN3", "SYN4"}
    assert world.submit()["sent"] == 0


def test_after_a_takeover_the_guard_counts_what_the_table_shows(here: World) -> None:
    """400 children, the journal lost, 12 deleted and 30 changed: it said 12 of 30 children would be removed."""
    ids = sent(here, *range(1, 401))
    lose_the_journal(here)
    here.delete(*ids[:12])
    for number in range(13, 43):
        here.restage(ids[number - 1], child(number, mis_child_id="m-9"))
    ran = here.submit("--takeover")
    assert (ran.code, ran["held_back"], ran["delete"], ran["sent"]) == (0, 0, 12, 42)
    assert (ran := here.submit()).code == 0
    assert ran["sent"] == 0


@pytest.mark.parametrize("reset", ["child", "object"])
def test_what_another_machine_sent_in_between_is_no_baseline_after_a_takeover(here: World, reset: str) -> None:
    (row_id,) = sent(here, 1)
    other = str(here.folder / "standby")
    with_more = child(1, social_care_episodes=[episode("e1"), episode("e2")])
    here.restage(row_id, with_more)
    assert here.submit("--takeover", DATA_DIR=other)["sent"] == 1
    here.restage(row_id, child(1), overwrite_previous=True)
    here.change(row_id, api_response=None, previous_json_payload=json.dumps(child(1)))  # a loader that clears it

    ran = here.submit("--takeover", CSC_RESET=reset)
    assert (ran.code, ran["sent"]) == (0, 1)
    assert (here.held(child(1)), ran["untrusted"]) == ((True, 0) if reset == "child" else (False, 1))


# --- a loader that overwrites previous_json_payload ------------------------------------------------------------------


def test_a_loader_that_stores_what_was_staged_leaves_baselines_trusted(world: World) -> None:
    """After one bad night, what vanished stayed at DfE with exit 0: 31 of 460 sends."""
    (row_id,) = sent(world, 1)
    bad_night = child(1, social_care_episodes=[episode("e1", child_protection_plans=[plan("p1")])])
    world.restage(row_id, bad_night, overwrite_previous=True)
    world.box.faults["token"].set(error_share=1.0)
    assert world.submit().code == 13
    world.box.faults["token"].set(error_share=0.0)
    now = child(1, social_care_episodes=[episode("e1", child_protection_plans=[])])
    world.restage(row_id, now, overwrite_previous=True)

    ran = world.submit()
    assert (ran.code, ran["untrusted"]) == (0, 0)
    assert "child_protection_plans" not in (world.box.receiver.child("SYN1") or {})["social_care_episodes"][0]


def test_the_journal_is_continued_after_a_move_of_data_dir(here: World, tmp_path: Path) -> None:
    (row_id,) = sent(here, 1)
    shutil.copytree(data(here), tmp_path / "neuer Rechner")
    here.environment["DATA_DIR"] = str(tmp_path / "neuer Rechner")
    here.restage(row_id, child(1, mis_child_id="m-9"))
    assert here.submit()["untrusted"] == 0


# --- a machine that comes back to its table ---------------------------------------------------------------------------


def elsewhere(world: World) -> dict[str, str]:
    """The settings of another machine that sends the same table to the same receiver."""
    return {"DATA_DIR": str(world.folder / "other host")}


def test_a_machine_that_comes_back_after_another_one_asks_before_it_believes_its_journal(world: World) -> None:
    """Its journal held B2; the other machine had purged it, and what was staged since would have counted as held."""
    (first,) = sent(world, 2)
    world.restage(first, child(1))
    assert world.submit("--takeover", **elsewhere(world)).code == 0
    assert not world.held(child(2))
    world.stage(child(2))
    refused(world.submit(), FOREIGN)

    assert world.submit("--takeover").code == 0
    assert world.held(child(1))
    assert world.held(child(2))
    assert world.submit().code == 0


def test_what_another_tool_sent_and_nobody_sent_again_is_asked_about_once(world: World) -> None:
    ids = sent(world, 1, 2)
    lose_the_journal(world)
    refused(world.submit(), FOREIGN)
    assert world.submit("--takeover").code == 0
    for _ in range(2):
        assert world.submit().code == 0
    world.restage(ids[0], child(1, mis_child_id="m-9"))
    assert world.submit()["sent"] == 1


def test_a_new_receiver_that_gets_its_children_bit_by_bit_is_asked_about_once(world: World) -> None:
    sent(world, 1, 2, 3)
    assert world.submit("--requeue", "--limit", "1", LA_CODE="998").code == 0
    for _ in range(3):
        assert world.submit("--limit", "1", LA_CODE="998").code == 0


def test_a_journal_that_an_earlier_version_wrote_after_a_takeover_goes_on(world: World) -> None:
    sent(world, 1, 2)
    lose_the_journal(world)
    assert world.submit("--takeover").code == 0
    older(world, "UPDATE csc_tables SET watched = NULL", "DELETE FROM csc_adopted")
    for _ in range(2):
        assert world.submit().code == 0


def test_a_dry_run_of_a_machine_that_comes_back_says_so_and_notes_nothing(world: World) -> None:
    (first,) = sent(world, 2)
    world.restage(first, child(1))
    assert world.submit("--takeover", **elsewhere(world)).code == 0
    ran = world.submit("--dry-run")
    assert "without --dry-run this would end with exit code 10" in ran.err
    refused(world.submit(), FOREIGN)
