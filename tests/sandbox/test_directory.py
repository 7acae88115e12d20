"""The stand-in Hospital Directory does what was measured at the real one, row by row of the table in its spec page."""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from dataflows.sandbox.directory import KINDS, DirectoryFaults, SandboxDirectory
from dataflows.sandbox.faults import Fate
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Request
from tests.processes import until
from tests.sandbox.client import Reply, ask

BATCH = "6b1f3f0e-5d0c-5c7e-9a57-0d5a1c1f0a01"
OTHER = "0c6a7f1c-2f5d-5d0e-8a51-7f6f1b0c0a02"
HOUR = 3_600_000.0  # milliseconds
ANY = Request("GET", "/", "", {}, b"")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A sandbox whose Directory is quick and without limits."""
    quick = {"create_ms": 0, "creates_per_minute": 0, "calls_per_minute": 0}
    with Sandbox(seed=1, faults={"directory": quick}) as running:
        yield running


def call(box: Sandbox, method: str, path: str, body: object = None, timeout: float = 5) -> Reply:
    """One call to the Directory."""
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return ask(box, method, f"/directory{path}", sent, timeout=timeout)


def create(
    box: Sandbox, name: str = "Synthetic A", batch: str | None = BATCH, timeout: float = 5, **more: Any
) -> Reply:
    """One create."""
    body = {"name": name, "address": "1 Example Street", "creation_batch_id": batch, **more}
    return call(box, "POST", "/hospitals/", body, timeout)


def look(box: Sandbox, batch: str = BATCH) -> Reply:
    """All of one batch."""
    return call(box, "GET", f"/hospitals/batch/{batch}")


def activate(box: Sandbox, batch: str = BATCH) -> Reply:
    """Activate one batch."""
    return call(box, "PATCH", f"/hospitals/batch/{batch}/activate")


def names(box: Sandbox) -> list[str]:
    """What is stored."""
    return [one["name"] for one in box.directory.records]


def test_it_is_awake(box: Sandbox) -> None:
    reply = call(box, "GET", "/")

    assert (reply.status, reply.json) == (200, {"status": "OK"})


def test_without_the_slash_a_create_is_sent_to_it(box: Sandbox) -> None:
    reply = call(box, "POST", "/hospitals", {"name": "Synthetic", "address": "1 Example Street"})

    assert (reply.status, reply.headers["Location"]) == (307, f"{box.url}/directory/hospitals/")
    assert names(box) == []


def test_a_create_gives_the_whole_record_its_text_exactly_as_sent(box: Sandbox) -> None:
    reply = create(box, "  Synthetic Krankenhaus Ä ", address="\tx", phone="01632 960001 ")

    record = reply.json
    assert reply.status == 200
    assert record.pop("created_at")
    assert record == {
        "id": 1,
        "name": "  Synthetic Krankenhaus Ä ",
        "address": "\tx",
        "phone": "01632 960001 ",
        "creation_batch_id": BATCH,
        "active": False,
    }


def test_the_same_create_twice_makes_two_records(box: Sandbox) -> None:
    assert [create(box).json["id"], create(box).json["id"]] == [1, 2]


def test_a_record_without_a_batch_is_active_at_once(box: Sandbox) -> None:
    record = create(box, batch=None).json

    assert (record["active"], record["creation_batch_id"]) == (True, None)


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"address": "x"}, [("missing", ["body", "name"])]),
        ({"name": "x"}, [("missing", ["body", "address"])]),
        ({}, [("missing", ["body", "name"]), ("missing", ["body", "address"])]),
        ({"name": 1, "address": None}, [("string_type", ["body", "name"]), ("string_type", ["body", "address"])]),
        ({"name": "x", "address": "x", "phone": 5}, [("string_type", ["body", "phone"])]),
        (
            {"name": "x", "address": "x", "creation_batch_id": "17"},
            [("uuid_parsing", ["body", "creation_batch_id"])],
        ),
        ({"name": "x", "address": "x", "creation_batch_id": 17}, [("uuid_type", ["body", "creation_batch_id"])]),
        (["x"], [("model_attributes_type", ["body"])]),
        (b"{", [("json_invalid", ["body", 0])]),
        (b"null", [("model_attributes_type", ["body"])]),
        (b"", [("missing", ["body"])]),
    ],
    ids=lambda value: json.dumps(value) if not isinstance(value, bytes) else value.decode() or "nothing",
)
def test_what_is_not_a_hospital_gets_422(box: Sandbox, body: object, problems: list[tuple[str, list[Any]]]) -> None:
    reply = call(box, "POST", "/hospitals/", body)

    assert reply.status == 422
    assert [(one["type"], one["loc"]) for one in reply.json["detail"]] == problems
    assert names(box) == []


def test_a_refusal_comes_at_once_and_does_not_count(box: Sandbox) -> None:
    box.directory.faults.set(create_ms=HOUR, creates_per_minute=1)
    assert [create(box, batch="no uuid").status for _ in range(3)] == [422] * 3

    box.directory.faults.set(create_ms=0)
    assert [create(box).status for _ in range(2)] == [200, 429]


def test_names_can_be_refused(box: Sandbox) -> None:
    box.directory.faults.set(refuse_names=["Unwanted"])

    assert [create(box, name).status for name in ("Synthetic Unwanted 3", "Synthetic 4")] == [422, 200]
    assert names(box) == ["Synthetic 4"]


def test_a_batch_holds_twenty(box: Sandbox) -> None:
    for n in range(20):
        assert create(box, f"Synthetic {n}").status == 200

    reply = create(box)
    assert (reply.status, reply.json) == (400, {"detail": "Batch cannot exceed 20 hospitals"})
    assert create(box, batch=OTHER).status == 200
    assert create(box, batch=None).status == 200


def test_creates_under_way_together_pass_the_cap_and_a_retry_does_not(box: Sandbox) -> None:
    for n in range(19):
        create(box, f"Synthetic {n}")
    both = threading.Barrier(2, timeout=5)
    with patch("dataflows.sandbox.wire.RequestHandler.wait", lambda *_: both.wait()):
        callers = [threading.Thread(target=create, args=(box,)) for _ in range(2)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    assert len(look(box).json) == 21
    assert create(box).status == 400


def test_a_full_batch_says_so_at_once(box: Sandbox) -> None:
    for n in range(20):
        create(box, f"Synthetic {n}")
    box.directory.faults.set(create_ms=HOUR)

    assert create(box).status == 400


def test_a_batch_is_listed_in_order_of_arrival(box: Sandbox) -> None:
    for name in ("Synthetic B", "Synthetic A", "Synthetic C"):
        create(box, name)
    create(box, "Synthetic D", batch=OTHER)

    assert [one["name"] for one in look(box).json] == ["Synthetic B", "Synthetic A", "Synthetic C"]
    assert look(box).json == look(box, BATCH.upper()).json == box.directory.records[:3]


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("PATCH", "/activate"), ("DELETE", "")])
def test_an_empty_batch_is_404_and_what_is_no_uuid_422(box: Sandbox, method: str, end: str) -> None:
    assert call(box, method, f"/hospitals/batch/{BATCH}{end}").status == 404
    assert call(box, method, f"/hospitals/batch/17{end}").status == 422


def test_a_batch_is_activated_once(box: Sandbox) -> None:
    create(box)
    create(box)

    assert activate(box).json == {"activated_count": 2}
    assert all(one["active"] for one in look(box).json)
    assert activate(box).status == 400


def test_a_late_landing_stays_inactive_and_stands_in_the_way(box: Sandbox) -> None:
    create(box)
    activate(box)
    late = create(box).json

    assert activate(box).status == 400
    assert [one["active"] for one in look(box).json] == [True, False]
    assert call(box, "DELETE", f"/hospitals/{late['id']}").status == 204


def test_a_batch_is_deleted_as_a_whole(box: Sandbox) -> None:
    create(box)
    create(box)
    create(box, "Synthetic other", batch=OTHER)

    assert call(box, "DELETE", f"/hospitals/batch/{BATCH}").json == {"deleted_count": 2}
    assert look(box).status == 404
    assert names(box) == ["Synthetic other"]
    assert box.directory.figures()["batches"] == 1


def test_a_record_by_its_id(box: Sandbox) -> None:
    record = create(box).json

    assert call(box, "GET", "/hospitals/1").json == record
    assert call(box, "DELETE", "/hospitals/1").status == 204
    assert look(box).status == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_id_is_404_and_what_is_no_id_422(box: Sandbox, method: str) -> None:
    assert call(box, method, "/hospitals/7").status == 404
    assert call(box, method, "/hospitals/seven").status == 422


def test_beyond_the_most_the_oldest_go(box: Sandbox) -> None:
    assert DirectoryFaults().most_records == 10_000
    box.directory.faults.set(most_records=3)
    create(box, "Synthetic 0", batch=OTHER)
    for n in range(1, 5):
        create(box, f"Synthetic {n}")

    assert names(box) == ["Synthetic 2", "Synthetic 3", "Synthetic 4"]
    assert (look(box, OTHER).status, len(look(box).json)) == (404, 3)


def test_thirty_creates_a_minute(box: Sandbox) -> None:
    box.directory.faults.set(creates_per_minute=DirectoryFaults().creates_per_minute, create_ms=0)
    statuses = [create(box, batch=str(uuid.UUID(int=n))).status for n in range(31)]

    reply = create(box)
    assert statuses == [200] * 30 + [429]
    assert reply.json == {"error": "Rate limit exceeded: 30 per 1 minute"}
    assert "Retry-After" not in reply.headers


def test_fifty_other_calls_a_minute_and_path(box: Sandbox) -> None:
    box.directory.faults.set(calls_per_minute=DirectoryFaults().calls_per_minute)
    create(box)
    statuses = [look(box).status for _ in range(51)]

    assert statuses == [200] * 50 + [429]
    assert look(box).json == {"error": "Rate limit exceeded: 50 per 1 minute"}
    assert call(box, "DELETE", f"/hospitals/batch/{BATCH}").status == 429
    assert look(box, OTHER).status == 404
    assert look(box, "17").status == 422
    assert activate(box).status == 200


def test_a_window_can_be_short(box: Sandbox) -> None:
    box.directory.faults.set(creates_per_minute=1, window_seconds=0.05)

    assert create(box).status == 200
    until(lambda: create(box).status == 200, "another window")


def test_a_stray_error_counts_and_a_dropped_call_does_not(box: Sandbox) -> None:
    box.directory.faults.set(creates_per_minute=2)
    box.directory.faults_of("create").set(error_next=1)
    assert create(box).status == 500
    box.directory.faults_of("create").set(drop_next=1)
    with pytest.raises(http.client.RemoteDisconnected):
        create(box)

    assert [create(box).status for _ in range(2)] == [200, 429]


def test_a_restart_loses_all_and_begins_at_1(box: Sandbox) -> None:
    box.directory.faults.set(creates_per_minute=1)
    create(box)
    assert create(box).status == 429

    box.directory.restart()
    assert look(box).status == 404
    assert create(box).json["id"] == 1


def test_a_create_under_way_dies_with_the_restart(box: Sandbox) -> None:
    box.directory.faults.set(create_ms=HOUR)
    with pytest.raises(TimeoutError):
        create(box, timeout=0.1)
    box.directory.restart()
    box.stop()  # ends the wait
    until(lambda: box.directory.counts["status_502"] == 1, "its end")

    assert names(box) == []


def test_a_client_that_gives_up_does_not_stop_the_create(box: Sandbox) -> None:
    box.directory.faults.set(create_ms=HOUR)
    with pytest.raises(TimeoutError):
        create(box, timeout=0.1)
    assert look(box).status == 404

    box.stop()  # ends the wait
    until(lambda: names(box) == ["Synthetic A"], "the landing")


@pytest.mark.parametrize(("lost_by", "error"), [("drop", http.client.RemoteDisconnected), ("silence", TimeoutError)])
def test_a_late_create_lands_after_a_look_that_said_404(box: Sandbox, lost_by: str, error: type[Exception]) -> None:
    box.directory.faults_of("create").set(late_next=1, late_ms=HOUR, lost_by=lost_by)
    with pytest.raises(error):
        create(box, timeout=0.2)
    assert look(box).status == 404

    create(box, "Synthetic B")
    box.stop()  # ends the wait
    until(lambda: names(box) == ["Synthetic B", "Synthetic A"], "the landing")


@pytest.mark.parametrize(("lost_by", "error"), [("drop", http.client.RemoteDisconnected), ("silence", TimeoutError)])
def test_a_lost_answer_was_committed(box: Sandbox, lost_by: str, error: type[Exception]) -> None:
    box.directory.faults_of("create").set(lost_next=1, lost_by=lost_by)
    with pytest.raises(error):
        create(box, timeout=0.2)

    assert names(box) == ["Synthetic A"]


def test_a_refusal_can_be_lost_too_and_never_lands(box: Sandbox) -> None:
    box.directory.faults_of("create").set(late_next=1, late_ms=0)
    with pytest.raises(http.client.RemoteDisconnected):
        create(box, batch="no uuid")

    create(box, "Synthetic B")
    assert names(box) == ["Synthetic B"]


@pytest.mark.parametrize("kind", KINDS)
def test_faults_strike_their_kind_only(box: Sandbox, kind: str) -> None:
    calls: dict[str, Callable[[], Reply]] = {
        "wake": lambda: call(box, "GET", "/"),
        "create": lambda: create(box),
        "look": lambda: look(box),
        "activate": lambda: activate(box),
        "record": lambda: call(box, "GET", "/hospitals/1"),
        "delete": lambda: call(box, "DELETE", f"/hospitals/batch/{BATCH}"),
    }
    create(box)
    box.directory.faults_of(kind).set(error_share=1)

    assert {name: one().status for name, one in calls.items()} == {name: 500 if name == kind else 200 for name in calls}


def test_an_error_strikes_what_would_be_refused_too(box: Sandbox) -> None:
    box.directory.faults_of("create").set(error_next=1)

    assert [create(box, batch="no uuid").status for _ in range(2)] == [500, 422]


def test_what_was_looked_at_does_not_change(box: Sandbox) -> None:
    create(box)
    before = box.directory.records
    activate(box)

    assert [one["active"] for one in (*before, *box.directory.records)] == [False, True]


def test_faults_of_every_call_strike_where_those_of_the_kind_do_not(box: Sandbox) -> None:
    box.directory.faults.set(error_share=1, error_status=503)
    box.directory.faults_of("look").set(error_next=1)

    assert [look(box).status, look(box).status, create(box).status] == [500, 503, 503]


def test_faults_are_the_same_for_a_seed_and_differ_between_kinds() -> None:
    def struck(seed: int, kind: str) -> list[bool]:
        directory = SandboxDirectory(seed=seed)
        directory.faults_of(kind).set(lost_share=0.5)
        return [directory.judge(ANY, kind).fate is Fate.LOST for _ in range(50)]

    assert struck(1, "create") == struck(1, "create") != struck(2, "create")
    assert struck(1, "create") != struck(1, "look")


def test_a_create_takes_five_seconds_and_what_is_added() -> None:
    directory = SandboxDirectory()
    directory.faults.set(latency_ms=100)
    directory.faults_of("create").set(jitter_ms=1_000)
    waits = [directory.judge(ANY, "create").wait for _ in range(100)]

    assert 5.1 <= min(waits) < 5.3 < 5.9 < max(waits) <= 6.1
    assert directory.judge(ANY, "look").wait == pytest.approx(0.1)


def test_asleep_every_call_waits_for_the_first_to_wake_it_up() -> None:
    now = [100.0]
    directory = SandboxDirectory(clock=lambda: now[0])
    directory.faults.set(wake_ms=60_000)

    now[0] = 500.0
    assert directory.judge(ANY, "wake").wait == 60
    now[0] = 520.0
    assert directory.judge(ANY, "look").wait == 40
    now[0] = 900.0
    assert directory.judge(ANY, "look").wait == 0


def test_the_back_door_shows_all_and_restarts(box: Sandbox) -> None:
    create(box)
    (request,) = ask(box, "GET", "/_sandbox/directory/requests").json
    (batch,) = ask(box, "GET", "/_sandbox/directory/batches").json
    figures = ask(box, "GET", "/_sandbox/directory/figures").json

    assert (request["path"], request["sent"]["name"]) == ("/directory/hospitals/", "Synthetic A")
    assert batch == {"batch_id": BATCH, "hospitals": 1, "active": 0}
    assert (figures["hospitals"], figures["active"], figures["calls_create"]) == (1, 0, 1)
    assert ask(box, "GET", "/_sandbox/directory/records").json == box.directory.records
    assert ask(box, "POST", "/_sandbox/directory/restart").status == 200
    assert box.directory.records == []
    assert ask(box, "POST", "/_sandbox/directory/records").status == 404


def test_the_back_door_changes_faults_of_a_kind(box: Sandbox) -> None:
    ask(box, "PUT", "/_sandbox/directory/create/faults", b'{"lost_next": 2}')
    state = ask(box, "PUT", "/_sandbox/faults", b'{"directory/look": {"error_next": 3}}').json

    assert (state["directory/create"]["lost_next"], state["directory/look"]["error_next"]) == (2, 3)
    assert box.directory.faults_of("create").as_dict() == state["directory/create"]
    assert ask(box, "PUT", "/_sandbox/directory/create/faults", b"[]").status == 400
    assert ask(box, "PUT", "/_sandbox/directory/nothing/faults", b"{}").status == 404


def test_reset_forgets_records_calls_and_faults_of_a_kind(box: Sandbox) -> None:
    create(box)
    box.directory.faults_of("look").set(error_share=1)
    box.reset()

    assert (box.directory.records, box.directory.requests) == ([], [])
    assert look(box).status == 404
    assert create(box).json["id"] == 1
    assert box.directory.calls == {"look": 1, "create": 1}


def test_lean_keeps_records_and_no_history() -> None:
    with Sandbox(lean=True, faults={"directory": {"create_ms": 0}}) as box:
        create(box)

        assert (names(box), box.directory.requests) == (["Synthetic A"], [])
