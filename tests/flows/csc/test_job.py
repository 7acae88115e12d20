"""`csc-submit` through the real program, over real HTTP: what arrives, and what the table says afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflows.errors import AlreadyRunning
from dataflows.store.database import DatabaseLock
from tests.flows.csc.children import child, episode, plan
from tests.flows.csc.world import World


def sent_once(world: World, *payloads: dict[str, Any]) -> list[int]:
    ids = world.stage(*payloads)
    assert world.submit().code == 0
    return ids


# --- new, changed, unchanged ---------------------------------------------------------------------------------------


def test_new_children_go_whole_and_the_table_says_so(world: World) -> None:
    ids = world.stage(child(1), child(2), current_hash=b"\x01" * 32)
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["full"], ran["batches"]) == (0, 2, 2, 1)
    assert world.held(child(1)) and world.held(child(2))
    row = world.row(ids[0])
    assert row.submission_status == "sent"
    assert row.row_state == "unchanged"
    assert row.api_response == world.box.receiver.receipt("SYN1")
    assert row.previous_json_payload == row.json_payload
    assert row.previous_hash == b"\x01" * 32
    assert row.partial_json_payload is None
    assert row.submission_timestamp is not None


def test_a_run_whose_lock_is_lost_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: DatabaseLock) -> None:
        raise AlreadyRunning("another run has taken over", reason="test")

    (row_id,) = world.stage(child(1))
    monkeypatch.setattr(DatabaseLock, "check", lost)
    assert world.submit().code == 11
    assert world.requests() == []
    assert world.row(row_id).submission_status.lower() == "pending"


def test_nothing_pending_is_a_good_night(world: World) -> None:
    assert world.submit().code == 0
    assert world.requests() == []


def test_a_changed_child_goes_as_a_delta(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    changed = child(1, social_care_episodes=[episode("e1", child_protection_plans=[plan("p2"), plan("p3")])])
    world.restage(row_id, changed)
    ran = world.submit()
    assert (ran.code, ran["delta"], ran["sent"]) == (0, 1, 1)
    [sent] = json.loads(world.requests()[-1])
    assert "child_details" not in sent
    assert sent["social_care_episodes"][0]["child_protection_plans"] == [
        plan("p3"),
        {"child_protection_plan_id": "p1", "purge": True},
    ]
    assert world.held(changed)
    assert json.loads(world.row(row_id).partial_json_payload) == sent


@pytest.mark.parametrize("how", [{"arguments": ["--mode", "full"]}, {"environment": {"USE_PARTIAL_PAYLOAD": "false"}}])
def test_full_mode_sends_the_whole_child_with_the_purges(world: World, how: dict[str, Any]) -> None:
    (row_id,) = sent_once(world, child(1))
    changed = child(1, social_care_episodes=[episode("e9")])
    world.restage(row_id, changed)
    ran = world.submit(*how.get("arguments", []), **how.get("environment", {}))
    assert (ran.code, ran["full"], ran["delta"]) == (0, 1, 0)
    [sent] = json.loads(world.requests()[-1])
    assert sent["child_details"] == changed["child_details"]
    assert sent["social_care_episodes"] == [episode("e9"), {"social_care_episode_id": "e1", "purge": True}]
    assert world.held(changed)
    assert world.row(row_id).partial_json_payload is None


def test_an_unchanged_child_is_not_sent(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    receipt = world.row(row_id).api_response
    before = len(world.requests())
    world.restage(row_id, json.dumps(child(1), indent=1))  # other text, same content
    ran = world.submit()
    assert (ran.code, ran["unchanged"], ran["sent"]) == (0, 1, 0)
    assert len(world.requests()) == before
    row = world.row(row_id)
    assert (row.submission_status, row.row_state, row.api_response) == ("sent", "unchanged", receipt)


def test_a_vanished_field_takes_two_ordered_requests(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    reopened = child(1, social_care_episodes=[episode("e1", closure_date=None)])
    world.restage(row_id, reopened)
    ran = world.submit()
    assert (ran.code, ran["reset"]) == (0, 1)
    first, second = (json.loads(body)[0] for body in world.requests()[-2:])
    assert first["social_care_episodes"] == [{"social_care_episode_id": "e1", "purge": True}]
    assert second["social_care_episodes"] == reopened["social_care_episodes"]
    assert world.held(reopened)


def test_reset_child_purges_the_whole_child(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    reopened = child(1, social_care_episodes=[episode("e1", closure_date=None)])
    world.restage(row_id, reopened)
    assert world.submit(CSC_RESET="child").code == 0
    first = json.loads(world.requests()[-2])[0]
    assert first == {"la_child_id": "SYN1", "mis_child_id": "m-1", "purge": True}
    assert world.held(reopened)


def test_reset_never_is_reported_and_sends_nothing(world: World) -> None:
    ids = sent_once(world, child(1), child(2))
    world.restage(ids[0], child(1, social_care_episodes=[episode("e1", closure_date=None)]))
    world.restage(ids[1], child(2, mis_child_id="m-3"))
    ran = world.submit(CSC_RESET="never")
    assert (ran.code, ran["invalid"], ran["withheld"], ran["failed"], ran["sent"]) == (3, 0, 1, 1, 1)
    assert world.held(child(1))
    assert "CSC_RESET" in world.row(ids[0]).api_response


# --- whose word counts ---------------------------------------------------------------------------------------------


def test_of_two_rows_of_one_child_only_the_newest_is_sent(world: World) -> None:
    old, new = world.stage(child(1), child(1, mis_child_id="m-2"))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["superseded"]) == (0, 1, 1)
    assert world.held(child(1, mis_child_id="m-2"))
    assert (world.row(old).submission_status, world.row(old).api_response) == (
        "error",
        f"error: superseded by row {new}",
    )


@pytest.mark.parametrize("journal_lost", [False, True])
def test_a_pending_row_does_not_overwrite_a_newer_one_that_was_sent(world: World, journal_lost: bool) -> None:
    (old,) = world.stage(child(1), submission_status="Held")
    (new,) = sent_once(world, child(1, mis_child_id="m-2"))
    world.change(old, submission_status="Pending")
    if journal_lost:
        (world.folder / "data" / "journal.db").unlink()
    ran = world.submit(*(["--takeover"] if journal_lost else []))
    assert (ran.code, ran["superseded"], ran["sent"]) == (0, 1, 0)
    assert world.row(old).api_response == f"error: superseded by row {new}"


def test_an_old_deleted_row_does_not_purge_a_child_that_lives_on_in_a_newer_row(world: World) -> None:
    (old,) = world.stage(child(1), submission_status="Held", person_id=None)
    (new,) = world.stage(child(1), person_id=None)
    assert world.submit().code == 0
    world.delete(old)
    ran = world.submit()
    assert (ran.code, ran["superseded"], ran["delete"]) == (0, 1, 0)
    assert world.row(old).api_response == f"error: superseded by row {new}"
    assert world.held(child(1))


def test_a_submission_of_another_host_is_noticed(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.change(row_id, api_response="2026-01-01_00:00:00.00_another-host.json")
    world.restage(row_id, child(1, mis_child_id="m-2"))
    ran = world.submit()
    assert (ran["full"], ran["delta"], ran["untrusted"]) == (1, 0, 1)


def test_what_was_staged_but_never_sent_is_no_baseline(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    changed = child(1, social_care_episodes=[episode("e1", child_protection_plans=[plan("p3")])])
    world.restage(row_id, child(1, social_care_episodes=[]), overwrite_previous=True)
    world.restage(row_id, changed, overwrite_previous=True)
    ran = world.submit()
    assert (ran["full"], ran["delta"], ran["untrusted"]) == (0, 1, 0)
    assert world.held(changed)


def test_status_words_are_compared_without_case(world: World) -> None:
    world.stage(child(1), submission_status="PENDING ")
    world.stage(child(2), submission_status="Error")
    world.stage(child(3), submission_status="Sent")
    assert world.submit()["sent"] == 2


def test_errors_are_left_alone_on_request(world: World) -> None:
    world.stage(child(1), submission_status="error")
    assert world.submit("--no-retry-errors")["rows"] == 0
    assert world.submit()["sent"] == 1


# --- deletions -----------------------------------------------------------------------------------------------------


def test_a_deletion_leaves_and_is_not_repeated(world: World) -> None:
    ids = sent_once(world, child(1), child(2))
    world.delete(ids[0])
    ran = world.submit()
    assert (ran.code, ran["delete"], ran["sent"]) == (0, 1, 1)
    assert json.loads(world.requests()[-1]) == [{"la_child_id": "SYN1", "mis_child_id": "m-1", "purge": True}]
    assert world.box.receiver.child("SYN1") is None
    row = world.row(ids[0])
    assert (row.row_state, row.submission_status) == ("Deleted", "sent")
    assert (row.previous_json_payload, row.previous_hash) == (None, None)
    before = len(world.requests())
    assert (world.submit().code, len(world.requests())) == (0, before)


def test_a_deleted_row_without_usable_payload_takes_its_ids_from_the_previous_one(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.change(row_id, json_payload="", row_state="Deleted")
    assert world.submit()["delete"] == 1
    assert world.box.receiver.child("SYN1") is None


def test_only_the_ids_of_a_deletion_are_judged(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.change(row_id, json_payload=json.dumps({"la_child_id": "SYN1", "mis_child_id": None, "nonsense": 1}))
    world.delete(row_id)
    assert world.submit().code == 0
    assert json.loads(world.requests()[-1]) == [{"la_child_id": "SYN1", "purge": True}]


def test_a_child_that_returns_has_no_baseline(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.delete(row_id)
    world.submit()
    world.restage(row_id, child(1))
    ran = world.submit()
    assert (ran["full"], ran["sent"]) == (1, 1)
    assert world.held(child(1))


def test_without_a_journal_a_purge_that_the_row_shows_is_not_repeated(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.delete(row_id)
    world.submit()
    for file in (world.folder / "data").glob("journal.*"):
        file.unlink()
    before = len(world.requests())
    ran = world.submit("--takeover")
    assert (ran.code, ran["delete"], len(world.requests())) == (0, 0, before)


def test_a_loader_that_marks_everything_deleted_removes_nobody(world: World) -> None:
    ids = sent_once(world, *(child(n) for n in range(30)))
    world.delete(*ids[:29])
    world.restage(ids[29], child(29, mis_child_id="m-new"))
    ran = world.submit()
    assert (ran.code, ran["held_back"], ran["sent"], ran["delete"]) == (3, 29, 1, 0)
    assert len(world.box.receiver.children) == 30
    assert "--allow-mass-delete" in ran.err
    ran = world.submit("--allow-mass-delete")
    assert (ran.code, ran["delete"]) == (0, 29)
    assert len(world.box.receiver.children) == 1


def test_the_guard_also_works_without_a_journal(world: World) -> None:
    ids = sent_once(world, *(child(n) for n in range(30)))
    for file in (world.folder / "data").glob("journal.*"):
        file.unlink()
    world.delete(*ids)
    assert world.submit("--takeover")["held_back"] == 30
    assert len(world.box.receiver.children) == 30


def test_ten_deletions_are_always_allowed(world: World) -> None:
    ids = sent_once(world, *(child(n) for n in range(10)))
    world.delete(*ids)
    assert world.submit().code == 0
    assert world.box.receiver.children == {}


def test_purge_at_the_top_of_a_payload_is_a_deletion(world: World) -> None:
    ids = sent_once(world, *(child(n) for n in range(20)))
    for number, row_id in enumerate(ids):
        world.restage(row_id, {**child(number), "purge": True})
    assert world.submit()["held_back"] == 20
    assert world.submit("--allow-mass-delete").code == 0
    assert world.box.receiver.children == {}
    assert world.submit()["rows"] == 0


def test_the_former_la_child_id_of_a_row_is_purged(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.restage(row_id, {**child(1), "la_child_id": "SYN9"}, overwrite_previous=True)
    world.restage(row_id, {**child(1), "la_child_id": "SYN9"}, overwrite_previous=True)
    assert world.submit().code == 0
    assert json.loads(world.requests()[-1]) == [{"la_child_id": "SYN1", "purge": True}]
    assert world.box.receiver.child("SYN1") is None
    assert world.held({**child(1), "la_child_id": "SYN9"})


def test_two_rows_that_swap_their_children_purge_nobody(world: World) -> None:
    one, two = sent_once(world, child(1), child(2))
    world.restage(one, child(2, mis_child_id="m-5"))
    world.restage(two, child(1, mis_child_id="m-6"))
    assert world.submit().code == 0
    assert world.held(child(2, mis_child_id="m-5"))
    assert world.held(child(1, mis_child_id="m-6"))


def test_a_refilled_table_is_not_taken_for_renamed_children(world: World) -> None:
    """The loader emptied the table: the ids start again, and belong to other people now."""
    sent_once(world, child(1), child(2))
    with world.engine.begin() as connection:
        connection.execute(world.table.delete())
    for number, row_id in ((7, 1), (8, 2)):
        world.stage(child(number), id=row_id)
    ran = world.submit()
    assert (ran.code, ran["orphaned"], ran["delete"]) == (3, 2, 0)
    assert {key[1] for key in world.box.receiver.children} == {"SYN1", "SYN2", "SYN7", "SYN8"}


# --- bad records ---------------------------------------------------------------------------------------------------


def test_one_bad_record_among_100_is_named_without_its_value(world: World) -> None:
    bad = child(50, child_details={"first_name": "Synthetic-Secret", "sex": "female"})
    ids = world.stage(*(child(n) if n != 50 else bad for n in range(100)))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["invalid"]) == (3, 99, 1)
    row = world.row(ids[50])
    assert row.submission_status == "error"
    assert "child_details.sex" in row.api_response and "1 character" in row.api_response
    assert "female" not in row.api_response + ran.err
    assert len(world.box.receiver.children) == 99


@pytest.mark.parametrize("names", ["all", "first", "none", "wrong"])
def test_a_record_that_the_receiver_refuses_stands_alone(world: World, names: str) -> None:
    world.box.receiver.faults.set(refuse_ids=["SYN17", "SYN80"], names=names)
    ids = world.stage(*(child(n) for n in range(100)))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["failed"]) == (3, 98, 2)
    assert [n for n, row_id in enumerate(ids) if world.row(row_id).submission_status == "error"] == [17, 80]
    assert world.row(ids[17]).api_response.startswith("API error (400): ")
    assert "not wanted" not in world.row(ids[17]).api_response


def test_a_firewall_403_for_one_record_ends_that_record_alone(world: World) -> None:
    ids = world.stage(child(1), child(2, mis_child_id="m0x2"), child(3))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["failed"]) == (3, 2, 1)
    assert "firewall" in world.row(ids[1]).api_response


def test_too_many_records_are_halved(world: World) -> None:
    world.box.receiver.faults.set(max_batch=10)
    world.stage(*(child(n) for n in range(40)))
    assert world.submit()["sent"] == 40


@pytest.mark.parametrize("payload", ["{", "[]", '"x"', "{}", '{"la_child_id": null}', '{"la_child_id": "a b"}'])
def test_unreadable_payloads_end_in_error(world: World, payload: str) -> None:
    (row_id,) = world.stage(payload)
    ran = world.submit()
    assert (ran.code, ran["invalid"]) == (4, 1)
    assert world.row(row_id).submission_status == "error"
    assert world.requests() == []


def test_a_known_error_is_told_apart_from_a_new_one(world: World) -> None:
    world.stage("{}")
    assert "(known)" not in world.submit().err
    world.stage('{"la_child_id": "a b"}')
    ran = world.submit()
    assert ran["invalid"] == 2
    assert (ran["new_errors"], ran["known_errors"]) == (1, 1)


# --- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["short", "long", "text", "nulls", "object"])
def test_receipts_that_do_not_fit_make_nothing_sent(world: World, kind: str) -> None:
    world.box.receiver.faults.set(receipts=kind)
    ids = world.stage(child(1), child(2))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["failed"], ran["in_doubt"]) == (4, 0, 2, 2)
    assert world.row(ids[0]).submission_status == "error"
    assert "for 2 records" in world.row(ids[0]).api_response
    world.box.receiver.faults.clear()
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["in_doubt"]) == (0, 2, 0)


@pytest.mark.parametrize("kind", ["single", "empty"])
def test_one_receipt_for_all_and_none_at_all_count_as_sent(world: World, kind: str) -> None:
    world.box.receiver.faults.set(receipts=kind)
    (row_id, _) = world.stage(child(1), child(2))
    assert world.submit().code == 0
    world.restage(row_id, child(1, mis_child_id="m-3"))
    assert world.submit()["delta"] == 1


def test_a_lost_answer_is_repeated_as_it_was(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.restage(row_id, child(1, mis_child_id="m-2"))
    world.box.receiver.faults.set(lost_next=99)
    ran = world.submit()
    assert (ran.code, ran["in_doubt"], world.row(row_id).submission_status) == (13, 1, "Pending")
    world.box.receiver.faults.clear()
    ran = world.submit()
    assert (ran.code, ran["delta"], ran["in_doubt"]) == (0, 1, 0)
    assert world.held(child(1, mis_child_id="m-2"))


def test_a_lost_answer_whose_content_changed_again_resets_the_child(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.restage(row_id, child(1, health_and_wellbeing={"sdq_assessments": [{"date": "2024-01-01", "score": 3}]}))
    world.box.receiver.faults.set(lost_next=99)
    assert world.submit().code == 13
    world.box.receiver.faults.clear()
    world.restage(row_id, child(1, mis_child_id="m-2"))
    ran = world.submit()
    assert (ran.code, ran["reset"]) == (0, 1)
    assert world.held(child(1, mis_child_id="m-2"))


def test_a_lost_first_request_of_a_reset_is_finished_by_the_next_run(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    world.restage(row_id, child(1, social_care_episodes=[episode("e1", closure_date=None)]))
    world.box.receiver.faults.set(lost_next=99)
    assert world.submit().code == 13
    assert not world.held(child(1))
    world.box.receiver.faults.clear()
    assert world.submit().code == 0
    assert world.held(child(1, social_care_episodes=[episode("e1", closure_date=None)]))


def test_a_reset_whose_second_half_is_refused_stays_pending_until_it_is_done(world: World) -> None:
    (row_id,) = sent_once(world, child(1))
    reopened = child(1, social_care_episodes=[episode("e1", closure_date=None, referral_source="0x")])
    world.restage(row_id, {**reopened, "mis_child_id": "m-1"})
    refused = {
        **reopened,
        "social_care_episodes": [episode("e1", closure_date=None, child_protection_plans=[plan("0x1")])],
    }
    world.restage(row_id, refused)
    assert world.submit().code == 4
    assert not world.held(child(1))
    world.restage(row_id, reopened)
    assert world.submit().code == 0
    assert world.held(reopened)


def test_dropped_connections_after_commit_lose_no_receipt(world: World) -> None:
    world.stage(*(child(n) for n in range(300)))
    world.box.receiver.faults.set(lost_share=0.4)
    ran = world.submit("--workers", "4", BATCH_SIZE="10", HTTP_ATTEMPTS="30")
    assert (ran.code, ran["sent"], ran["in_doubt"]) == (0, 300, 0)
    assert ran["retries"] > 0
    for row in world.rows():
        assert row.api_response == world.box.receiver.receipt(json.loads(row.json_payload)["la_child_id"])


@pytest.mark.parametrize("after", ["1", "soon", "-5", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_every_form_of_retry_after_leads_to_another_try(world: World, after: str) -> None:
    world.stage(child(1))
    world.box.receiver.faults.set(error_next=2, error_status=429, retry_after=after)
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["retries"], ran["in_doubt"]) == (0, 1, 2, 0)


def test_a_silent_receiver_ends_the_run_after_few_batches(world: World) -> None:
    world.stage(*(child(n) for n in range(200)))
    world.box.receiver.faults.set(drop_share=1.0)
    ran = world.submit("--workers", "1", BATCH_SIZE="10")
    assert (ran.code, ran["sent"], ran["batches"]) == (13, 0, 5)
    assert set(world.statuses()) == {"Pending"}
    assert ran["error"]["code"] == "service_down"


def test_an_expired_token_is_renewed_once_for_all_threads(world: World) -> None:
    world.stage(*(child(n) for n in range(400)))
    world.box.receiver.faults.set(latency_ms=5)
    ran = world.submit("--workers", "8", BATCH_SIZE="5")
    assert (ran.code, ran["sent"]) == (0, 400)


def test_no_child_is_under_way_twice(world: World) -> None:
    world.stage(*(child(n) for n in range(100)))
    world.box.receiver.faults.set(lost_share=0.3, latency_ms=2)
    assert world.submit("--workers", "8", BATCH_SIZE="5", HTTP_ATTEMPTS="30").code == 0
    assert world.box.receiver.overlaps == 0


# --- the table moves meanwhile -------------------------------------------------------------------------------------


def test_a_row_reloaded_in_flight_stays_pending(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = world.stage(child(1), child(2), child(3))
    upper = child(2, child_details={"first_name": "SYNTHETIC-2", "sex": "F", "date_of_birth": "2015-05-05"})

    def reload() -> None:
        world.restage(ids[0], child(1, mis_child_id="m-9"))
        world.restage(ids[1], upper)

    meanwhile(world, monkeypatch, reload)
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["reloaded"]) == (0, 3, 2)
    assert world.statuses() == ["Pending", "Pending", "sent"]
    assert world.row(ids[0]).api_response is None
    ran = world.submit()
    assert (ran.code, ran["sent"]) == (0, 2)
    assert world.held(child(1, mis_child_id="m-9"))
    assert world.held(upper)


def test_a_row_reloaded_with_the_same_content_is_known_to_be_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row_id,) = world.stage(child(1))
    meanwhile(world, monkeypatch, lambda: world.change(row_id, row_state="Updated"))
    assert world.submit()["reloaded"] == 1
    ran = world.submit()
    assert (ran.code, ran["unchanged"], ran["sent"]) == (0, 1, 0)
    row = world.row(row_id)
    assert (row.submission_status, row.api_response) == ("sent", world.box.receiver.receipt("SYN1"))
    assert row.previous_json_payload == row.json_payload


def meanwhile(world: World, monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """Do something once, between the receiver's commit and its answer."""
    receive = world.box.receiver._committed
    done: list[bool] = []

    def committed(la_code: str, records: Any) -> Any:
        answer = receive(la_code, records)
        if not done:
            done.append(True)
            what()
        return answer

    monkeypatch.setattr(world.box.receiver, "_committed", committed)


# --- where to ------------------------------------------------------------------------------------------------------


def test_another_receiver_stops_the_run_until_everything_is_requeued(world: World) -> None:
    sent_once(world, child(1), child(2))
    ran = world.submit(LA_CODE="998")
    assert ran.code == 10
    assert "--requeue" in ran["error"]["hint"]
    ran = world.submit("--requeue", LA_CODE="998")
    assert (ran.code, ran["sent"], ran["full"]) == (0, 2, 2)
    assert world.box.receiver.child("SYN1", "998") is not None
    assert world.submit(LA_CODE="998").code == 0


def test_a_rehearsal_writes_nothing_back(world: World) -> None:
    (row_id, _) = world.stage(child(1), "{}")
    before = world.rows()
    ran = world.submit("--rehearsal")
    assert (ran.code, ran["sent"], ran["invalid"]) == (3, 1, 1)
    assert world.held(child(1))
    assert world.rows() == before
    ran = world.submit()
    assert (ran["full"], ran["sent"]) == (1, 1)
    assert world.row(row_id).submission_status == "sent"


def test_a_dry_run_writes_batches_and_changes_nothing(world: World, tmp_path: Path) -> None:
    ids = sent_once(world, child(1), child(2), child(3))
    world.restage(ids[0], child(1, social_care_episodes=[episode("e1", closure_date=None)]))
    world.restage(ids[1], child(2, mis_child_id="m-5"))
    world.delete(ids[2])
    world.stage("{}")
    before, arrived = world.rows(), len(world.requests())
    out = tmp_path / "preview"
    ran = world.submit("--dry-run", "--out", str(out), CLIENT_SECRET="")
    assert (ran.code, ran["delta"], ran["reset"], ran["delete"], ran["invalid"]) == (3, 1, 1, 1, 1)
    assert (world.rows(), len(world.requests())) == (before, arrived)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"batch-{n:05}.json" for n in range(1, 5)]
    records = [record for file in files for record in json.loads(file.read_text(encoding="utf-8"))]
    assert len(records) == 4


def test_limit_and_child(world: World) -> None:
    world.stage(*(child(n) for n in range(1, 13)))
    assert world.submit("--limit", "3")["sent"] == 3
    assert world.submit("--child", "SYN1")["sent"] == 1
    assert world.submit("--child", "pSYN2")["sent"] == 1
    assert world.held(child(1)) and world.held(child(2))


def test_child_means_the_identifier_and_not_any_mention_of_it(world: World) -> None:
    world.stage(child(1), child(2, mis_child_id="SYN1"))
    world.stage(child(3), person_id="SYN2")
    assert world.submit("--child", "SYN1")["sent"] == 1
    assert world.submit("--child", "SYN2")["sent"] == 1
    assert world.statuses() == ["sent", "sent", "Pending"]


def test_nothing_is_touched_when_access_is_refused(world: World) -> None:
    world.stage(child(1), "{}")
    before = world.rows()
    ran = world.submit(CLIENT_SECRET="wrong")
    assert ran.code == 12
    assert world.rows() == before
    assert world.box.receiver.children == {}


def test_refused_access_in_mid_run_keeps_what_was_done(world: World) -> None:
    world.stage(*(child(n) for n in range(20)))
    world.box.receiver.faults.set(latency_ms=1)
    sent = 0

    ran = world.submit("--limit", "10", "--workers", "1", BATCH_SIZE="5")
    sent += ran["sent"]
    world.box.receiver.faults.set(forbid=True)
    ran = world.submit("--workers", "1", BATCH_SIZE="5")
    assert (ran.code, ran["sent"], ran["in_doubt"]) == (12, 0, 0)
    assert sorted(world.statuses()) == ["Pending"] * 10 + ["sent"] * 10


def test_an_unknown_address_is_a_matter_of_settings(world: World) -> None:
    world.stage(child(1))
    ran = world.submit(API_ENDPOINT=f"{world.box.url}/elsewhere")
    assert (ran.code, world.statuses()) == (10, ["Pending"])
