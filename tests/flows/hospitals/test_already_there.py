"""Which rows are new: files that people corrected, grew, reordered and renamed, judged by what the Directory holds.

What whole sequences of this come to is tried in ``test_people_stateful``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from dataflows.sandbox.service import Exchange, Request
from dataflows.sandbox.synthetic import SyntheticHospital, hospitals
from tests.flows.hospitals.world import Ran, World

WRONG = SyntheticHospital("Synthetic Tenth Clinic", "10 Sample Road, Exampleton", "call-me")


def creates(world: World) -> int:
    return world.directory.calls["create"]


def figures(ran: Ran) -> tuple[int, int]:
    """Rows that were created, and rows that were there already."""
    return ran["created_hospitals"], ran["already_there_hospitals"]


# --- corrected, grown, reordered --------------------------------------------------------------------------------------


def test_a_row_that_was_corrected_is_created_and_the_others_are_there(world: World) -> None:
    nine = list(hospitals(9))
    world.write([*nine, WRONG])
    first = world.send("--skip-invalid")
    assert (first.code, figures(first)) == (3, (9, 0))
    corrected = WRONG._replace(phone="01632 960123")
    world.write([*nine, corrected])
    second = world.send()
    assert (second.code, figures(second), creates(world)) == (0, (1, 9), 10)
    assert world.is_right([*nine, corrected])


def test_a_file_that_grew_brings_only_what_is_new(world: World) -> None:
    rows = list(hospitals(18))
    world.write(rows[:15])
    assert world.send().code == 0
    world.write(rows)
    ran = world.send()
    assert (ran.code, figures(ran), ran["counts"]["skipped"]) == (0, (3, 15), 15)
    assert world.is_right(rows)
    assert [one.get("already_there", False) for one in ran["hospitals"]] == [True] * 15 + [False] * 3
    assert {one["status"] for one in ran["hospitals"]} == {"created_and_activated"}
    assert all(isinstance(one["hospital_id"], int) for one in ran["hospitals"])
    assert ran["batches"] == [{"batch_id": ran["batch_id"], "rows": 3, "activated": True}]


@pytest.mark.parametrize("journal_lost", [False, True])
@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[::-1], lambda rows: rows[2:], lambda rows: rows[:4], lambda rows: [rows[5], *rows[:5]]],
    ids=["reversed", "second half", "first half", "moved"],
)
def test_the_same_hospitals_in_another_file_are_there(world: World, change: Any, journal_lost: bool) -> None:
    rows = world.write(6)
    assert world.send().code == 0
    if journal_lost:
        world.lose_the_journal()
    world.file = world.folder / "another name.csv"
    there = world.write(change(rows))
    ran = world.send()
    assert (ran.code, figures(ran), creates(world)) == (0, (0, len(there)), 6)
    assert world.is_right(rows)


def test_another_batch_size_without_the_journal(world: World) -> None:
    rows = world.write(6)
    assert world.send().code == 0
    world.lose_the_journal()
    assert (world.send("--batch-size", "4").code, creates(world)) == (0, 6)
    assert world.is_right(rows)


def test_another_machine(world: World) -> None:
    rows = world.write(6)
    assert world.send().code == 0
    elsewhere = {"DATA_DIR": str(world.folder / "elsewhere")}
    assert (world.send("--batch-size", "5", **elsewhere).code, creates(world)) == (0, 6)
    assert world.is_right(rows)


@pytest.mark.parametrize("spell", [lambda url: url.replace("127.0.0.1", "localhost"), lambda url: f"{url}/"])
def test_another_spelling_of_the_address(world: World, spell: Callable[[str], str]) -> None:
    rows = world.write(5)
    world.directory.faults_of("activate").set(error_next=100)
    unfinished = world.send()
    world.directory.faults_of("activate").set(error_next=0)
    spelt = {"EXTERNAL_API_BASE_URL": spell(world.environment["EXTERNAL_API_BASE_URL"])}
    ran = world.send(**spelt)
    assert (ran.code, ran["batch_id"], creates(world)) == (0, unfinished["batch_id"], 5)
    assert world.send().code == 0
    assert world.is_right(rows)


def test_rows_that_a_file_holds_more_often_are_created_as_often_as_that(world: World) -> None:
    one, two = hospitals(2)
    world.write([one, two])
    assert world.send().code == 0
    world.write([one, one, two, one])
    ran = world.send()
    assert (ran.code, figures(ran)) == (0, (2, 2))
    assert world.is_right([one, one, one, two])


def test_what_another_tool_created_is_there(world: World) -> None:
    one, two = world.write(2)
    spelt = {"name": f"  {one.name} ", "address": f"{one.address}\t", "phone": one.phone or ""}
    world.directory._memory.add({**spelt, "creation_batch_id": None}, 10_000)
    ran = world.send()
    assert (ran.code, figures(ran), ran["hospitals"][0]["hospital_id"]) == (0, (1, 1), 1)
    assert world.held(active=True).total() == 2
    assert world.held(active=True)[two] == 1


def test_what_is_not_active_is_not_there(world: World) -> None:
    [row] = world.write(1)
    stranger = {**row._asdict(), "creation_batch_id": "00000000-0000-4000-8000-000000000001"}
    world.directory._memory.add(stranger, 10_000)
    assert (world.send().code, world.held(active=True)[row]) == (0, 1)


def test_again_creates_all_the_same_when_rows_came_by_several_files(world: World) -> None:
    rows = list(hospitals(4))
    world.write(rows[:2])
    world.send()
    world.write(rows)
    world.send()
    ran = world.send("--again")
    assert (ran.code, figures(ran)) == (0, (4, 0))
    assert world.is_right([*rows, *rows])


def test_what_is_lost_of_an_active_batch_comes_in_a_new_one(world: World) -> None:
    rows = world.write(3)
    first = world.send()
    for record in list(world.directory.records):
        world.directory._memory.delete(record["id"])
    second = world.send()
    assert (second.code, figures(second)) == (0, (3, 0))
    assert second["batch_id"] != first["batch_id"]
    assert world.is_right(rows)


def test_more_than_the_directory_keeps_is_refused(world: World) -> None:
    world.write(3)
    for number in range(9_998):
        fields = {"name": f"Other {number}", "address": "1 Other Road", "phone": None, "creation_batch_id": None}
        world.directory._memory.add(fields, 10_000)
    ran = world.send()
    assert (ran.code, creates(world), len(world.directory.records)) == (14, 0, 9_998)
    assert "9,998" in ran["error"]["message"]


@pytest.mark.parametrize("fault", [{"error_share": 1.0}, {"drop_share": 1.0}, {"cut_share": 1.0}])
def test_without_a_first_look_nothing_is_created(world: World, fault: dict[str, float]) -> None:
    world.write(3)
    world.directory.faults_of("list").set(**fault)
    ran = world.send()
    assert (ran.code, ran["status"], ran["counts"]["pending"], creates(world)) == (13, "resumable", 3, 0)


# --- meanwhile ------------------------------------------------------------------------------------------------------


def at(world: World, method: str, path: str, number: int, act: Callable[[], None]) -> None:
    """Do something when the n-th such request arrives."""
    arrive, seen = world.directory.arrived, Counter[str]()

    def arrived(request: Request) -> Exchange:
        if request.method == method and request.path.endswith(path):
            seen["all"] += 1
            if seen["all"] == number:
                act()
        return arrive(request)

    world.directory.arrived = arrived  # type: ignore[method-assign]


def becomes_active(world: World, row: SyntheticHospital) -> None:
    world.directory._memory.add({**row._asdict(), "creation_batch_id": None}, 10_000)


def test_rows_that_became_active_elsewhere_meanwhile_leave_the_batch(world: World) -> None:
    rows = world.write(5)
    at(world, "POST", "/hospitals/", 5, lambda: becomes_active(world, rows[2]))
    ran = world.send()
    assert (ran.code, ran["surplus_deleted"], figures(ran)) == (0, 1, (4, 1))
    assert ran["hospitals"][2].get("already_there") is True
    assert world.is_right(rows)


def test_rows_that_became_active_before_a_run_was_resumed_leave_its_batch(world: World) -> None:
    rows = world.write(5)
    world.directory.faults_of("activate").set(error_next=100)
    unfinished = world.send()
    world.directory.faults_of("activate").set(error_next=0)
    for row in rows:
        becomes_active(world, row)
    ran = world.resume(unfinished["run_id"])
    assert (ran.code, figures(ran)) == (0, (0, 5))
    assert world.is_right(rows)


def test_two_in_the_same_moment_are_noticed_and_reported(world: World) -> None:
    rows = world.write(3)
    at(world, "PATCH", "/activate", 1, lambda: becomes_active(world, rows[1]))
    ran = world.send()
    assert (ran.code, ran["overlapping"]) == (0, [2])
    assert "somebody else" in ran.err


# --- removals ---------------------------------------------------------------------------------------------------------


def test_a_removal_never_hits_a_stranger_with_the_same_id(world: World) -> None:
    rows = world.write(3)
    stranger = SyntheticHospital("Synthetic Neighbour", "7 Other Road, Exampleton", None)
    becomes_active(world, stranger)
    world.directory.faults.set(same_id_next=1)
    world.put(rows[0], times=2)  # the first of them has the stranger's id, and one of the two is too many
    ran = world.send()
    assert ran.code == 0
    assert world.is_right([*rows, stranger])


def test_a_late_copy_with_a_strangers_id_in_an_active_batch_is_left_and_reported(world: World) -> None:
    rows = world.write(3)
    world.send()
    stranger = SyntheticHospital("Synthetic Neighbour", "7 Other Road, Exampleton", None)
    becomes_active(world, stranger)
    world.directory.faults.set(same_id_next=1)
    batch = world.directory.records[0]["creation_batch_id"]
    fields = {**rows[0]._asdict(), "creation_batch_id": batch}
    world.directory._memory.add(fields, 10_000, same_id=True)
    ran = world.send()
    assert (ran.code, ran["surplus_left"], ran["surplus_deleted"]) == (0, [4], 0)
    assert world.held(active=True) == Counter([*rows, stranger])


def test_one_list_for_each_clearing(world: World) -> None:
    rows = world.write(5)
    world.put(rows[0], times=6)
    assert (world.send().code, world.is_right(rows)) == (0, True)
    deletes = [one for one in world.directory.requests if one.method == "DELETE"]
    assert len(deletes) == 5
    assert world.directory.calls["list"] <= 5


# --- answers that do not come -----------------------------------------------------------------------------------------


def test_creates_that_fail_together_in_one_moment_are_no_outage(world: World) -> None:
    rows = world.write(20)
    world.directory.faults_of("create").set(error_next=5)
    assert world.send().code == 0
    assert world.is_right(rows)


def test_a_row_that_always_gets_the_same_error_is_named(world: World) -> None:
    rows = world.write(4)
    refused = rows[2].name.encode()
    judge = world.directory.judge

    def judging(request: Request, kind: str) -> Any:
        verdict = judge(request, kind)
        poison = kind == "create" and refused in request.body
        return type(verdict)(type(verdict.fate).ERROR, status=500) if poison else verdict

    world.directory.judge = judging  # type: ignore[method-assign]
    ran = world.send(HOSPITALS_SETTLE_SECONDS="0.1")
    assert (ran.code, ran["status"]) == (13, "resumable")
    assert "answers 500 whenever row 3 of the file is sent" in ran["error"]["message"]
    assert world.held(active=True).total() == 0


# --- files that are wrong ---------------------------------------------------------------------------------------------


def test_a_header_that_is_repeated_creates_no_hospital(world: World) -> None:
    rows = world.write(2)
    with world.file.open("a", encoding="utf-8") as file:
        file.write("name,address,\n")
    assert (world.send().code, creates(world)) == (14, 0)
    assert world.send("--skip-invalid").code == 3
    assert world.is_right(rows)


def test_when_every_row_is_wrong_and_may_be_left_out_all_have_failed(world: World) -> None:
    world.write([WRONG, WRONG])
    assert world.send().code == 14
    ran = world.send("--skip-invalid")
    assert (ran.code, ran["status"], ran["counts"]["failed"], ran["error"]) == (4, "failed", 2, None)
    assert world.directory.requests == []


# --- journals of an earlier version -----------------------------------------------------------------------------------


def to_the_earlier_version(world: World) -> None:
    """Bring the journal back to the form that it had before plans were kept."""
    with closing(sqlite3.connect(world.folder / "data" / "journal.db")) as db, db:
        db.execute("ALTER TABLE hospital_uploads DROP COLUMN plan")
        db.execute("DROP TABLE hospital_contents")
        db.execute("UPDATE parts SET version = 1 WHERE part = 'hospitals'")


@pytest.mark.parametrize("again", [False, True])
def test_a_run_of_an_earlier_version_is_resumed(world: World, again: bool) -> None:
    rows = world.write(7)
    if again:
        world.send("--batch-size", "4")
    world.directory.faults_of("activate").set(error_next=100)
    options = ("--batch-size", "4", *(["--again"] if again else []))
    unfinished = world.send(*options)
    world.directory.faults_of("activate").set(error_next=0)
    to_the_earlier_version(world)
    shown = world.call("runs", "show", unfinished["run_id"], "--json")
    assert [one["status"] for one in shown["progress"]["hospitals"]] == ["created"] * 7
    ran = world.resume(unfinished["run_id"])
    assert (ran.code, creates(world)) == (0, 14 if again else 7)
    assert [one["batch_id"] for one in ran["batches"]] == [one["batch_id"] for one in unfinished["batches"]]
    assert world.is_right(rows * (2 if again else 1))


def test_the_same_command_goes_on_with_a_run_of_an_earlier_version(world: World) -> None:
    rows = world.write(5)
    world.directory.faults_of("activate").set(error_next=100)
    unfinished = world.send()
    world.directory.faults_of("activate").set(error_next=0)
    to_the_earlier_version(world)
    ran = world.send()
    assert (ran.code, ran["batch_id"], creates(world)) == (0, unfinished["batch_id"], 5)
    assert world.is_right(rows)
