"""``hospitals-bulk`` against the sandbox's Directory, judged by what the Directory then holds."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

import pytest

from dataflows.sandbox.service import Exchange, Request
from dataflows.sandbox.synthetic import hospitals
from tests.flows.hospitals.world import World

WHOLE = 20


# --- all is well --------------------------------------------------------------------------------------------------


def test_every_row_is_created_once_and_active(world: World) -> None:
    rows = world.write(WHOLE)
    ran = world.send()
    assert (ran.code, ran["batch_activated"]) == (0, True), ran.err
    assert world.is_right(rows)
    assert [one["status"] for one in ran["hospitals"]] == ["created_and_activated"] * WHOLE
    assert world.directory.calls == {"wake": 1, "list": 3, "create": WHOLE, "activate": 1}


def test_the_answer_has_the_shape_of_seed_003(world: World) -> None:
    [row] = world.write(1)
    ran = world.send()
    assert ran["hospitals"] == [{"row": 1, "hospital_id": 1, "name": row.name, "status": "created_and_activated"}]
    assert ran["batches"] == [{"batch_id": ran["batch_id"], "rows": 1, "activated": True}]
    figures = ("total_hospitals", "processed_hospitals", "failed_hospitals")
    assert [ran[name] for name in figures] == [1, 1, 0]
    assert ran["error"] is None


def test_a_long_file_goes_in_several_batches(world: World) -> None:
    rows = world.write(45)
    ran = world.send("--max-rows", "0", "--batch-size", "10")
    assert (ran.code, [one["rows"] for one in ran["batches"]]) == (0, [10, 10, 10, 10, 5])
    assert world.is_right(rows)
    found = [world.call("runs", "show", one["batch_id"][:13], "--json")["run_id"] for one in ran["batches"]]
    assert found == [ran["run_id"]] * 5


def test_one_worker_is_enough(world: World) -> None:
    rows = world.write(5)
    assert world.send("--workers", "1").code == 0
    assert world.is_right(rows)
    assert world.directory.most_in_flight == 1


def test_no_more_creates_than_workers_are_under_way(world: World) -> None:
    world.write(60)
    under_way = _most_creates_under_way(world)
    assert world.send("--max-rows", "0", "--workers", "4").code == 0
    assert under_way() == 4


def test_the_same_rows_again_are_already_there(world: World) -> None:
    rows = world.write(WHOLE)
    first, second = world.send(), world.send()
    assert (second.code, second["counts"]["skipped"], second["batch_id"]) == (0, WHOLE, first["batch_id"])
    assert world.is_right(rows)
    assert world.directory.calls["create"] == WHOLE


def test_the_same_rows_are_known_without_a_journal_too(world: World) -> None:
    rows = world.write(WHOLE)
    world.send()
    world.lose_the_journal()
    assert (world.send().code, world.directory.calls["create"]) == (0, WHOLE)
    assert world.is_right(rows)


def test_again_creates_the_same_rows_once_more(world: World) -> None:
    rows = world.write(3)
    ids = [world.send(*arguments)["batch_id"] for arguments in ((), ("--again",), ("--again",), ())]
    assert (len(set(ids)), ids[0]) == (3, ids[3])
    assert world.held(active=True) == Counter(rows * 3)


def test_again_goes_on_with_an_unfinished_again(world: World) -> None:
    rows = world.write(3)
    world.send()
    world.directory.faults_of("activate").set(error_next=100)
    unfinished = world.send("--again")
    world.directory.faults_of("activate").set(error_next=0)
    assert (unfinished["status"], world.send("--again").code) == ("resumable", 0)
    assert world.held(active=True) == world.held() == Counter(rows * 2)


def test_identical_rows_are_created_as_often_as_they_are_written(world: World) -> None:
    one, two = hospitals(2)
    rows = world.write([one, two, one, one, two])
    world.directory.faults_of("create").set(lost_next=2)
    assert world.send().code == 0
    assert world.is_right(rows)


def test_identical_batches_of_a_file_are_different_batches(world: World) -> None:
    rows = world.write(list(hospitals(2)) * 3)
    ran = world.send("--batch-size", "2")
    assert (ran.code, len({one["batch_id"] for one in ran["batches"]})) == (0, 3)
    assert world.is_right(rows)


# --- answers that do not come -------------------------------------------------------------------------------------


def test_a_lost_answer_is_looked_up_and_not_repeated(world: World) -> None:
    rows = world.write(WHOLE)
    world.directory.faults_of("create").set(lost_next=1)
    assert world.send().code == 0
    assert world.is_right(rows)
    assert world.directory.calls["create"] == WHOLE


def test_lost_answers_on_all_creates(world: World) -> None:
    rows = world.write(WHOLE)
    world.directory.faults_of("create").set(lost_next=WHOLE)
    assert world.send().code == 0
    assert world.is_right(rows)
    assert world.directory.calls["create"] == WHOLE


def test_a_create_that_lands_long_after_the_look(world: World) -> None:
    rows = world.write(WHOLE)
    world.directory.faults_of("create").set(late_next=2, late_ms=250)
    assert world.send().code == 0
    assert world.is_right(rows)


@pytest.mark.parametrize("fate", ["lost_next", "silent_next", "late_next"])
def test_a_read_timeout_with_a_landing_without_and_with_a_late_one(world: World, fate: str) -> None:
    rows = world.write(5)
    world.directory.faults_of("create").set(**{fate: 1}, lost_by="silence", late_ms=450)
    assert world.send(HTTP_TIMEOUT_SECONDS="0.3").code == 0
    assert world.is_right(rows)


@pytest.mark.parametrize("fate", ["drop_next", "cut_next", "error_next"])
def test_a_create_that_breaks_off_or_meets_an_error(world: World, fate: str) -> None:
    rows = world.write(5)
    world.directory.faults_of("create").set(**{fate: 1})
    assert world.send().code == 0
    assert world.is_right(rows)


@pytest.mark.parametrize("fate", ["lost_next", "drop_next", "error_next", "cut_next"])
def test_an_activation_whose_answer_is_lost(world: World, fate: str) -> None:
    rows = world.write(5)
    world.directory.faults_of("activate").set(**{fate: 1})
    assert world.send().code == 0
    assert world.is_right(rows)


def test_stray_errors_on_looks(world: World) -> None:
    rows = world.write(WHOLE)
    world.directory.faults_of("look").set(error_share=0.5)
    assert world.send(HTTP_ATTEMPTS="12").code == 0
    assert world.is_right(rows)


def test_a_full_batch_is_looked_at_before_a_row_is_sent_again(world: World) -> None:
    rows = world.write(5)
    world.directory.faults_of("create").set(error_next=1, error_status=400)
    assert world.send().code == 0
    assert world.is_right(rows)


def test_surplus_copies_that_fill_the_batch_go_before_rows_are_sent(world: World) -> None:
    rows = world.write(WHOLE)
    world.put(rows[0], times=WHOLE)
    assert world.send().code == 0
    assert world.is_right(rows)


# --- a Directory that is away -------------------------------------------------------------------------------------


def test_a_directory_that_sleeps_is_woken_up(world: World) -> None:
    rows = world.write(5)
    world.directory.faults.set(wake_ms=400)
    assert world.send(HTTP_TIMEOUT_SECONDS="0.2", HOSPITALS_WAKE_SECONDS="3").code == 0
    assert world.is_right(rows)


def test_connections_refused_at_the_start(world: World) -> None:
    rows = world.write(5)
    world.box.stop()
    timer = threading.Timer(0.3, world.box.start)
    timer.start()
    ran = world.send(HTTP_ATTEMPTS="60")
    timer.join()
    assert ran.code == 0
    assert world.is_right(rows)


def test_a_directory_that_is_down_is_left_for_later(world: World) -> None:
    rows = world.write(5)
    world.box.stop()
    ran = world.send()
    assert (ran.code, ran["status"], ran["error"]["code"]) == (13, "resumable", "service_down")
    assert [one["status"] for one in ran["hospitals"]] == ["pending"] * 5
    world.box.start()
    assert world.resume(ran["batch_id"][:8]).code == 0
    assert world.is_right(rows)


def test_five_creates_in_a_row_without_an_answer_end_the_run(world: World) -> None:
    world.write(200)
    world.directory.faults_of("create").set(error_share=1.0)
    ran = world.send("--max-rows", "0", "--workers", "2")
    assert (ran.code, ran["counts"]["pending"]) == (13, 200)
    assert world.directory.calls["create"] < 50


def test_a_directory_that_restarts_in_between_and_begins_at_one_again(world: World) -> None:
    rows = world.write(WHOLE)
    _at_create(world, 12, world.directory.restart)
    ran = world.send("--workers", "3")
    assert ran.code == 0, ran.err
    assert world.is_right(rows)


def test_a_restart_between_activation_and_the_last_look(world: World) -> None:
    rows = world.write(5)
    _at(world, "PATCH", 1, world.directory.restart)
    assert world.send().code == 0
    assert world.is_right(rows)


def test_another_address_is_no_directory(world: World) -> None:
    world.write(5)
    ran = world.send(EXTERNAL_API_BASE_URL=f"{world.box.url}/cqc")
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")


def test_a_closed_door_ends_the_run_with_nothing_changed(world: World) -> None:
    world.write(5)
    world.directory.faults.set(forbid=True)
    assert world.send().code == 12
    assert world.directory.calls["create"] == 0


# --- limits -------------------------------------------------------------------------------------------------------


def test_two_files_in_a_row_keep_to_the_limit(world: World) -> None:
    world.directory.faults.set(creates_per_minute=30, window_seconds=1.0)
    first = world.write(WHOLE)
    pace = {"HOSPITALS_CREATES_PER_MINUTE": "30", "HOSPITALS_WINDOW_SECONDS": "1.1"}
    assert world.send(**pace).code == 0
    second = world.write(list(hospitals(40))[WHOLE:])
    assert world.send(**pace).code == 0
    assert world.is_right([*first, *second])
    assert world.directory.calls["create"] == 2 * WHOLE


def test_a_429_waits_the_window_out(world: World) -> None:
    world.directory.faults.set(creates_per_minute=15, window_seconds=0.6)
    rows = world.write(WHOLE)
    assert world.send(HOSPITALS_WINDOW_SECONDS="0.7").code == 0
    assert world.is_right(rows)


def test_looks_keep_their_distance(world: World) -> None:
    rows = world.write(5)
    world.directory.faults_of("create").set(lost_next=1)
    assert world.send(HOSPITALS_LOOK_EVERY_SECONDS="0.2").code == 0
    assert world.is_right(rows)
    looks = [one.started for one in world.directory.requests if one.method == "GET" and "/batch/" in one.path]
    assert all(later - earlier >= 0.5 for earlier, later in zip(looks, looks[3:], strict=False))


# --- rows that the Directory does not take ------------------------------------------------------------------------


def test_a_refused_row_keeps_its_batch_from_becoming_active(world: World) -> None:
    rows = world.write(5)
    world.directory.faults.set(refuse_names=[rows[2].name])
    ran = world.send()
    assert (ran.code, ran["status"], ran["error"]["code"]) == (3, "resumable", "rows_refused")
    assert [one["status"] for one in ran["hospitals"]] == ["created", "created", "failed", "created", "created"]
    assert ran["hospitals"][2]["error"] == "the Hospital Directory refuses name (422)"
    assert world.held(active=True).total() == 0
    world.directory.faults.set(refuse_names=[])
    assert world.resume(ran["run_id"]).code == 0
    assert world.is_right(rows)


def test_with_skip_invalid_the_others_are_activated(world: World) -> None:
    rows = world.write(5)
    world.directory.faults.set(refuse_names=[rows[2].name])
    unfinished = world.send()
    ran = world.send("--skip-invalid")
    assert (ran.code, ran["failed_hospitals"], ran["batch_id"]) == (3, 1, unfinished["batch_id"])
    assert world.is_right([*rows[:2], *rows[3:]])


def test_rows_that_are_wrong_in_the_file_are_left_out_when_that_is_wanted(world: World) -> None:
    rows = world.write([*hospitals(4), next(hospitals(1))._replace(name="x")])
    assert world.send().code == 14
    assert world.directory.requests == []
    ran = world.send("--skip-invalid")
    assert (ran.code, ran["total_hospitals"], ran["processed_hospitals"], ran["failed_hospitals"]) == (3, 5, 4, 1)
    assert (ran["hospitals"][4]["row"], ran["hospitals"][4]["status"]) == (5, "failed")
    assert world.is_right(rows[:4])


def test_when_every_row_is_refused_there_is_nothing_to_activate(world: World) -> None:
    rows = world.write(3)
    world.directory.faults.set(refuse_names=[row.name for row in rows])
    ran = world.send("--skip-invalid")
    assert (ran.code, ran["batch_activated"], world.directory.calls["activate"]) == (4, False, 0)


# --- others at work, and what was there before --------------------------------------------------------------------


def test_a_foreign_record_in_the_batch_is_named_and_left_alone(world: World) -> None:
    rows = world.write(5)
    world.put(list(hospitals(6))[5])
    ran = world.send()
    assert (ran.code, ran["status"], ran["error"]["code"]) == (3, "resumable", "foreign_record")
    assert "not rows of this file: 1" in ran["error"]["message"]
    assert (world.held().total(), world.directory.calls["create"]) == (1, 0)
    world.directory.restart()
    assert world.resume(ran["run_id"]).code == 0
    assert world.is_right(rows)


def test_records_of_an_earlier_life_are_adopted(world: World) -> None:
    rows = world.write(5)
    world.put(rows[1])
    world.put(rows[3], times=2)
    ran = world.send()
    assert (ran.code, ran["surplus_deleted"], world.directory.calls["create"]) == (0, 1, 3)
    assert world.is_right(rows)


def test_records_that_we_did_not_send_mean_another_client(world: World) -> None:
    rows = world.write(5)
    _at_create(world, 5, lambda: world.put(rows[0]))
    ran = world.send("--workers", "1")
    assert (ran.code, ran["status"], ran["error"]["code"]) == (11, "resumable", "another_client")
    assert world.held(active=True).total() == 0
    assert world.resume(ran["run_id"]).code == 0
    assert world.is_right(rows)


def test_a_landing_later_than_promised_stays_inactive_and_is_found(world: World) -> None:
    rows = world.write(5)
    ran = world.send()
    world.put(rows[0])
    checked = world.call("runs", "show", ran["run_id"], "--check", "--json")
    assert (checked.code, checked["check"][0]["late"]) == (3, [6])
    assert (world.held(active=True).total(), world.held().total()) == (5, 6)
    again = world.send()
    assert (again.code, again["surplus_deleted"]) == (0, 1)
    assert world.is_right(rows)
    assert world.call("runs", "show", ran["batch_id"], "--check", "--json").code == 0


def test_a_row_that_was_lost_after_activation_gets_a_batch_of_its_own(world: World) -> None:
    rows = world.write(5)
    first = world.send()
    world.directory._memory.delete(3)
    ran = world.send()
    assert ran.code == 0
    assert world.is_right(rows)
    [repaired] = ran["repaired"]
    [lost] = [one["row"] for one in first["hospitals"] if one["hospital_id"] == 3]
    assert (repaired["row"], repaired["lost_hospital_id"], repaired["hospital_id"]) == (lost, 3, 6)
    assert repaired["batch_id"] != first["batch_id"]
    last = world.send()
    assert (last.code, last["counts"]["skipped"], world.directory.calls["create"]) == (0, 5, 6)


# --- another version of the file ----------------------------------------------------------------------------------


def unfinished(world: World, **settings: Any) -> str:
    """A run of five rows whose activation was never done; returns its id."""
    world.write(5)
    world.directory.faults_of("activate").set(error_next=100)
    run_id = world.send(**settings)["run_id"]
    world.directory.faults_of("activate").set(error_next=0)
    return str(run_id)


def test_a_corrected_file_waits_for_the_unfinished_run(world: World) -> None:
    run_id = unfinished(world)
    world.write(6)
    ran = world.send()
    assert (ran.code, ran["error"]["code"]) == (14, "bad_input")
    assert run_id[:8] in ran["error"]["message"]
    assert world.directory.calls["create"] == 5


def test_replace_leaves_no_orphans(world: World) -> None:
    run_id = unfinished(world)
    rows = world.write(list(hospitals(8))[4:])
    assert world.send("--replace").code == 0
    assert world.is_right(rows)
    assert world.call("runs", "show", run_id, "--json")["status"] == "abandoned"


def test_another_batch_size_is_another_version(world: World) -> None:
    unfinished(world)
    rows = world.write(5)
    assert world.send("--batch-size", "3").code == 14
    assert world.send("--batch-size", "3", "--replace").code == 0
    assert world.is_right(rows)


def test_rows_that_are_there_in_batches_of_another_size_are_there(world: World) -> None:
    rows = world.write(5)
    first = world.send()
    ran = world.send("--batch-size", "2")
    assert (ran.code, ran["batch_id"], ran["counts"]["skipped"]) == (0, first["batch_id"], 5)
    assert world.is_right(rows)


def test_what_is_active_is_not_replaced(world: World) -> None:
    world.write(5)
    world.directory.faults_of("activate").set(lost_next=1)
    _at(world, "PATCH", 1, lambda: _fail_looks(world, 100))
    assert world.send().code == 13
    _fail_looks(world, 0)
    world.write(6)
    ran = world.send("--replace")
    assert (ran.code, world.held(active=True).total(), world.directory.calls["create"]) == (14, 5, 5)
    assert "--delete-active" in ran["error"]["hint"]


# --- abandoning ---------------------------------------------------------------------------------------------------


def test_abandon_leaves_nothing(world: World) -> None:
    world.write(WHOLE)
    world.directory.faults_of("create").set(late_next=3, late_ms=250, error_share=0.5)
    ran = world.send(HOSPITALS_SETTLE_SECONDS="0.5")
    assert (ran.code, ran["status"]) == (13, "resumable")
    done = world.call("runs", "abandon", ran["run_id"], "--json", HOSPITALS_SETTLE_SECONDS="0.5")
    assert (done.code, done["status"]) == (0, "abandoned")
    assert world.held().total() == 0
    assert world.call("runs", "show", ran["run_id"], "--check", "--json").code == 0


def test_abandon_deletes_nothing_that_is_live(world: World) -> None:
    rows = world.write(5)
    _at(world, "PATCH", 1, lambda: _fail_looks(world, 100))
    world.directory.faults_of("activate").set(lost_next=1)
    ran = world.send()
    _fail_looks(world, 0)
    assert ran["status"] == "resumable"
    done = world.call("runs", "abandon", ran["run_id"], "--json")
    assert (done.code, done["status"], done["left_active"]) == (0, "done", [ran["batch_id"]])
    assert world.is_right(rows)
    assert world.call("runs", "abandon", ran["run_id"], "--delete-active").code == 0
    assert world.held().total() == 0


def test_a_batch_that_comes_to_life_while_others_are_taken_back_stays(world: World) -> None:
    world.write(4)
    world.directory.faults_of("activate").set(error_next=1000)
    ran = world.send("--batch-size", "2")
    assert (ran["status"], world.held().total()) == ("resumable", 4)
    last = ran["batches"][1]["batch_id"]
    _at(world, "DELETE", 1, lambda: world.directory._memory.activate(last))
    done = world.call("runs", "abandon", ran["run_id"], "--json", MAX_CONCURRENT_REQUESTS="1")
    assert done["left_active"] == [last]
    assert [one["creation_batch_id"] for one in world.directory.records] == [last, last]


def test_after_abandoning_the_same_file_starts_anew(world: World) -> None:
    run_id = unfinished(world)
    assert world.call("runs", "abandon", run_id).code == 0
    rows = world.write(5)
    assert world.send().code == 0
    assert world.is_right(rows)


# --- what is told -------------------------------------------------------------------------------------------------


def test_the_progress_document_is_that_of_seed_003(world: World) -> None:
    rows = world.write(5)
    world.directory.faults.set(refuse_names=[rows[4].name])
    ran = world.send()
    progress = world.call("runs", "show", ran["run_id"], "--json")["progress"]
    assert (progress["status"], progress["progress_percentage"], progress["is_completed"]) == (
        "resumable",
        100.0,
        False,
    )
    assert [one["status"] for one in progress["hospitals"]] == ["created"] * 4 + ["failed"]
    assert progress["hospitals"][0]["name"] == rows[0].name
    assert progress["hospitals"][0]["processing_time"] >= 0.01


def test_a_dry_run_reports_and_sends_nothing(world: World) -> None:
    world.write(5)
    ran = world.send("--dry-run")
    assert (ran.code, ran["is_valid"], ran["valid_rows"], len(ran["preview_hospitals"])) == (0, True, 5, 5)
    assert world.directory.requests == []


def test_a_file_that_is_too_long_is_refused_whole(world: World) -> None:
    world.write(21)
    ran = world.send()
    assert (ran.code, ran["status"], ran["errors"][0]["code"]) == (14, "failed", "too_many_rows")
    assert world.directory.requests == []


def test_the_kept_copy_is_enough_to_resume(world: World) -> None:
    run_id = unfinished(world)
    rows = list(hospitals(5))
    world.file.unlink()
    assert world.resume(run_id).code == 0
    assert world.is_right(rows)


@pytest.mark.skipif(sys.platform == "win32", reason="there the folder's rights decide")
def test_the_kept_copy_is_its_owners_alone(world: World) -> None:
    unfinished(world)
    [copy] = (world.folder / "data" / "batches").iterdir()
    assert copy.stat().st_mode & 0o077 == 0


def test_people_get_a_short_table(world: World) -> None:
    world.write(3)
    ran = world.call("hospitals-bulk", str(world.file))
    assert ran.code == 0
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert "3 of 3 hospitals created, 1 of 1 batch active" in ran.out


def test_a_second_lookup_of_the_run_by_its_batch_finds_the_latest(world: World) -> None:
    world.write(3)
    world.send()
    ran = world.send()
    assert world.call("runs", "show", ran["batch_id"], "--json")["run_id"] == ran["run_id"]


# --- helpers ------------------------------------------------------------------------------------------------------


def _at(world: World, method: str, number: int, act: Any) -> None:
    """Do something when the n-th request of a method arrives at the Directory."""
    arrive, seen = world.directory.arrived, Counter[str]()

    def arrived(request: Request) -> Exchange:
        seen[request.method] += 1
        if request.method == method and seen[method] == number:
            act()
        return arrive(request)

    world.directory.arrived = arrived  # type: ignore[method-assign]


def _fail_looks(world: World, times: int) -> None:
    """Let the next looks fail, at a batch and at everything."""
    for kind in ("look", "list"):
        world.directory.faults_of(kind).set(error_next=times)


def _at_create(world: World, number: int, act: Any) -> None:
    _at(world, "POST", number, act)


def _most_creates_under_way(world: World) -> Any:
    """Count creates between their arrival and their answer; returns how to ask for the most."""
    arrive, leave, lock = world.directory.arrived, world.directory.leaves, threading.Lock()
    state = {"now": 0, "most": 0}

    def arrived(request: Request) -> Exchange:
        with lock:
            state["now"] += request.method == "POST"
            state["most"] = max(state["most"], state["now"])
        return arrive(request)

    def leaves(request: Request, *rest: Any) -> None:
        with lock:
            state["now"] -= request.method == "POST"
        leave(request, *rest)

    world.directory.arrived = arrived  # type: ignore[method-assign]
    world.directory.leaves = leaves  # type: ignore[method-assign, assignment]
    return lambda: state["most"]
