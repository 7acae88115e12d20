"""What the faults do to real requests, and the back door."""

from __future__ import annotations

import http.client
import threading
from typing import Any
from unittest.mock import patch

import pytest

from dataflows.sandbox.server import Sandbox
from tests.sandbox.client import Reply, ask, ask_token, child, post, token_of


def control(box: Sandbox, method: str, path: str, body: bytes | None = None) -> Any:
    """What the back door says."""
    reply = ask(box, method, f"/_sandbox{path}", body)
    assert reply.status == 200, reply.body
    return reply.json


def test_an_error_commits_nothing_and_carries_retry_after(box: Sandbox) -> None:
    token = token_of(box)
    box.receiver.faults.set(error_next=1, error_status=429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")
    reply = post(box, [child()], token)

    assert reply.status == 429
    assert reply.headers["Retry-After"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert box.receiver.children == {}
    assert post(box, [child()], token).status == 200


def test_faults_of_one_service_leave_the_others_alone(box: Sandbox) -> None:
    box.token.faults.set(error_share=1)

    assert ask_token(box).status == 503
    box.token.faults.set(error_share=0)
    box.receiver.faults.set(error_share=1)
    assert ask_token(box).status == 200


@pytest.mark.parametrize(("fault", "stored"), [("drop_next", False), ("lost_next", True)])
def test_the_connection_ends_before_or_after_the_commit(box: Sandbox, fault: str, stored: bool) -> None:
    box.receiver.faults.set(**{fault: 1})
    with pytest.raises(http.client.RemoteDisconnected):
        post(box, [child()])

    assert (box.receiver.child("SYN1") is not None) == stored
    assert (box.receiver.receipt("SYN1") is not None) == stored


def test_a_cut_answer_was_committed(box: Sandbox) -> None:
    box.receiver.faults.set(cut_next=1)
    with pytest.raises(http.client.IncompleteRead):
        post(box, [child()])

    assert box.receiver.child("SYN1") == child()


def test_a_late_commit_comes_after_the_end_of_the_connection(box: Sandbox) -> None:
    box.receiver.faults.set(late_next=1, late_ms=60_000)
    token = token_of(box)
    with pytest.raises(http.client.RemoteDisconnected):
        post(box, [child(mis_child_id="syn-old")], token)
    assert box.receiver.children == {}

    post(box, [child(mis_child_id="syn-new")], token)
    committed = threading.Event()
    answer = box.receiver._committed

    def tell(*given: Any) -> Any:
        result = answer(*given)
        committed.set()
        return result

    with patch.object(box.receiver, "_committed", tell):
        box.stop()  # ends the wait
        assert committed.wait(5)
    assert box.receiver.child("SYN1") == child(mis_child_id="syn-old")


@pytest.mark.parametrize(
    ("faults", "stored"), [({"silent_next": 1}, False), ({"lost_next": 1, "lost_by": "silence"}, True)]
)
def test_silence_is_only_ended_by_the_client(box: Sandbox, faults: dict[str, Any], stored: bool) -> None:
    token = token_of(box)
    box.receiver.faults.set(**faults)
    with pytest.raises(TimeoutError):
        post(box, [child()], token, timeout=0.3)

    assert (box.receiver.child("SYN1") is not None) == stored


def test_stopping_ends_silence_too(box: Sandbox) -> None:
    token = token_of(box)
    box.receiver.faults.set(silent_next=1)
    ended: list[type] = []

    def call() -> None:
        try:
            post(box, [child()], token)
        except OSError as error:
            ended.append(type(error))

    caller = threading.Thread(target=call)
    caller.start()
    while not box.receiver.counts["silent"]:
        caller.join(0.01)
    box.stop()
    caller.join(5)

    assert len(ended) == 1


def test_history_tells_what_struck(box: Sandbox) -> None:
    token = token_of(box)
    for fault in ("error_next", "lost_next", "cut_next", "drop_next"):
        box.receiver.faults.set(**{fault: 1})
        with pytest.raises((http.client.HTTPException, AssertionError)):
            assert post(box, [child()], token).status == 200

    assert [(one.fate, one.status, one.committed) for one in box.receiver.requests] == [
        ("error", 503, False),
        ("lost", None, True),
        ("cut", 200, True),
        ("dropped", None, False),
    ]


def test_two_requests_for_one_child_at_once_are_noticed(box: Sandbox) -> None:
    token = token_of(box)
    both = threading.Barrier(2, timeout=5)
    replies: list[Reply] = []
    with patch("dataflows.sandbox.wire.RequestHandler.wait", lambda *_: both.wait()):
        callers = [
            threading.Thread(target=lambda: replies.append(post(box, [child(1), child(2)], token))) for _ in range(2)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    assert [one.status for one in replies] == [200, 200]
    assert (box.receiver.overlaps, box.receiver.most_in_flight) == (1, 2)
    post(box, [child(1)], token)
    assert box.receiver.overlaps == 1


def test_connections_are_kept(box: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(box.url.rpartition(":")[2]), timeout=5)
    connection.request("GET", "/_sandbox")
    connection.getresponse().read()
    first = connection.sock
    connection.request("GET", "/nowhere")
    answer = connection.getresponse()

    assert (answer.status, connection.sock) == (404, first)
    answer.close()
    connection.close()


def test_a_body_without_a_length_is_turned_away(box: Sandbox) -> None:
    assert (
        ask(box, "POST", "/children_social_care_data/999/children", b"", {"Transfer-Encoding": "chunked"}).status == 411
    )


def test_it_comes_back_at_the_same_address_with_what_it_held(box: Sandbox) -> None:
    token = token_of(box)
    post(box, [child()], token)
    url = box.url

    box.stop()
    with pytest.raises(ConnectionRefusedError):
        post(box, [child()], token)
    box.start()

    assert box.url == url
    assert post(box, [child(mis_child_id="syn-m")], token).status == 200


def test_a_taken_port_is_an_error(box: Sandbox) -> None:
    with pytest.raises(OSError):
        Sandbox(port=int(box.url.rpartition(":")[2])).start()


def test_its_own_failure_is_not_hidden() -> None:
    box = Sandbox().start()
    with patch.object(box.receiver, "_judged", side_effect=ZeroDivisionError):
        assert post(box, [child()]).status == 500

    with pytest.raises(ZeroDivisionError):
        box.stop()


def test_the_back_door_shows_children_requests_and_figures(box: Sandbox) -> None:
    post(box, [child()])

    (stored,) = control(box, "GET", "/receiver/children")
    (request,) = control(box, "GET", "/receiver/requests")
    assert stored == {
        "la_code": "999",
        "la_child_id": "SYN1",
        "receipt": box.receiver.receipt("SYN1"),
        "payload": child(),
    }
    assert (request["status"], request["fate"], request["records"]) == (200, "answered", [child()])
    assert control(box, "GET", "")["receiver"]["figures"]["children"] == 1
    assert control(box, "GET", "/token/figures")["requests"] == 1


def test_the_back_door_changes_faults(box: Sandbox) -> None:
    state = control(box, "PUT", "/faults", b'{"receiver": {"error_next": 2}, "token": {"token_seconds": 60}}')

    assert state == control(box, "GET", "/faults")
    assert (box.receiver.faults.error_next, box.token.faults.token_seconds) == (2, 60)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"receiver": 1}', b'{"post": {}}', b'{"receiver": {"eror_next": 1}}'])
def test_the_back_door_refuses_nonsense(box: Sandbox, body: bytes) -> None:
    assert ask(box, "PUT", "/_sandbox/faults", body).status == 400


def test_the_back_door_opens_by_a_loopback_name_only(box: Sandbox) -> None:
    assert ask(box, "GET", "/_sandbox", headers={"Host": "attacker.example.org"}).status == 403
    assert ask(box, "GET", "/_sandbox", headers={"Host": "localhost:80"}).status == 200
    assert ask(box, "GET", "/_sandbox/nowhere").status == 404


def test_reset_forgets_everything_but_the_faults_at_the_start() -> None:
    with Sandbox(faults={"receiver": {"max_batch": 50}}) as box:
        token = token_of(box)
        post(box, [child()], token)
        box.receiver.faults.set(max_batch=7)
        control(box, "POST", "/reset")

        assert box.receiver.children == {}
        assert box.receiver.requests == []
        assert box.receiver.faults.max_batch == 50
        assert post(box, [child()], token).status == 401


def test_the_settings_point_at_it(box: Sandbox) -> None:
    settings = box.settings()

    assert settings["API_ENDPOINT"] == box.url
    assert settings["TOKEN_ENDPOINT"].startswith(box.url)
    assert set(settings) == {
        "TOKEN_ENDPOINT",
        "API_ENDPOINT",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "SCOPE",
        "SUPPLIER_KEY",
        "LA_CODE",
        "EXTERNAL_API_BASE_URL",
        "STORAGE_EMULATOR_HOST",
        "GCS_BUCKET",
        "SMTP_HOST",
        "SMTP_PORT",
        "SMTP_STARTTLS",
        "MAIL_FROM",
        "NOTIFY_EMAIL",
        "CQC_URL_HOMECARE",
        "CQC_URL_CAREHOMES",
        "CQC_URL_DIRECTORY",
    }
