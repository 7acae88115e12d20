"""One batch and its answers, without a wire: what the CSC API says of it, and what becomes of each record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import responses

from dataflows.errors import AlreadyRunning, ServiceDown
from dataflows.flows.csc.answers import BatchAnswer, RecordVerdict
from dataflows.flows.csc.receiver import CscApi, RequestPacer
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from tests.remote.loopback import settings
from tests.remote.mocked import answering

URL = "https://csc.example.org/children_social_care_data/846/children"
RECEIPT = "2026-01-01T00:00:00_6d1f4f0e-0000-4000-8000-00000000000{}.json"


class Tokens:
    """Tokens that are counted."""

    def __init__(self) -> None:
        self.renewed = 0

    def token(self) -> str:
        return f"token-{self.renewed}"

    def renew(self, stale: str) -> str:
        self.renewed += 1
        return self.token()


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with answering() as mock:
        yield mock


@pytest.fixture
def deliver(tmp_path: Path) -> Iterator[Callable[[int], BatchAnswer]]:
    session = make_session(settings(tmp_path))
    receiver = CscApi(
        URL, "synthetic-key", session, Tokens(), RetryPolicy(3, 10, 0), (1, 1), RequestPacer(0, threading.Event())
    )
    yield lambda count: receiver.deliver([b'{"la_child_id":"%d"}' % number for number in range(count)])
    session.close()


Deliver = Callable[[int], BatchAnswer]


def verdicts(delivery: BatchAnswer) -> list[RecordVerdict]:
    return [answer.verdict for answer in delivery.answers]


def test_a_receipt_for_each(wire: responses.RequestsMock, deliver: Deliver) -> None:
    wire.post(URL, json.dumps([RECEIPT.format(1), RECEIPT.format(2)]))
    delivery = deliver(2)
    assert [answer.detail for answer in delivery.answers] == [RECEIPT.format(1), RECEIPT.format(2)]
    sent = wire.calls[0].request
    assert sent.headers["Authorization"] == "Bearer token-0"
    assert sent.headers["SupplierKey"] == "synthetic-key"
    assert json.loads(sent.body or b"") == [{"la_child_id": "0"}, {"la_child_id": "1"}]  # type: ignore[arg-type]


def test_a_refused_token_is_renewed_once(wire: responses.RequestsMock, deliver: Deliver) -> None:
    wire.post(URL, status=401)
    wire.post(URL, status=204)
    assert verdicts(deliver(1)) == [RecordVerdict.ACCEPTED]
    assert [call.request.headers["Authorization"] for call in wire.calls] == ["Bearer token-0", "Bearer token-1"]


def test_not_now_is_tried_again(wire: responses.RequestsMock, deliver: Deliver) -> None:
    wire.post(URL, status=503)
    wire.post(URL, status=429, headers={"Retry-After": "0"})
    wire.post(URL, status=204)
    assert verdicts(deliver(1)) == [RecordVerdict.ACCEPTED]


def test_a_named_record_is_taken_out(wire: responses.RequestsMock, deliver: Deliver) -> None:
    wire.post(URL, '{"errors": {"[1].sex": ["no"]}}', status=400)
    wire.post(URL, json.dumps([RECEIPT.format(0), RECEIPT.format(2)]))
    wire.post(URL, '{"errors": {"[0].sex": ["no"]}}', status=400)
    assert verdicts(deliver(3)) == [RecordVerdict.ACCEPTED, RecordVerdict.REFUSED, RecordVerdict.ACCEPTED]


def test_without_its_lock_nothing_more_leaves(wire: responses.RequestsMock, tmp_path: Path) -> None:
    """Asked before every request: a batch that is refused is not even taken apart."""
    session, asked = make_session(settings(tmp_path)), [None]

    def may_send() -> None:
        if not asked:
            raise AlreadyRunning("the lock was lost", reason="test")
        asked.pop()

    receiver = CscApi(
        URL, "synthetic-key", session, Tokens(), RetryPolicy(3, 10, 0), (1, 1), RequestPacer(0, threading.Event()),
        may_send,
    )  # fmt: skip
    wire.post(URL, '{"errors": ["no"]}', status=400)
    delivery = receiver.deliver([b'{"la_child_id":"1"}', b'{"la_child_id":"2"}'])
    session.close()
    assert len(wire.calls) == 1
    assert isinstance(delivery.stop, AlreadyRunning)
    assert verdicts(delivery) == [RecordVerdict.NOT_SENT] * 2


@pytest.mark.parametrize("sent", [True, False])
def test_what_never_left_is_told_from_what_may_have(wire: responses.RequestsMock, deliver: Deliver, sent: bool) -> None:
    wire.post(URL, body=ServiceDown("gone", reason="test", sent=sent))
    assert verdicts(deliver(1)) == [RecordVerdict.UNANSWERED if sent else RecordVerdict.NOT_SENT]


@pytest.mark.parametrize("body", ["[[1]]", '{"a": [[1]]}', "7", "null", "[1, 2]", "[" * 1000, "<html>", ""])
def test_receipts_of_any_shape_are_no_bug(wire: responses.RequestsMock, deliver: Deliver, body: str) -> None:
    wire.post(URL, body)
    assert verdicts(deliver(2)) == [RecordVerdict.UNANSWERED] * 2


@pytest.mark.parametrize("body", ["[[1]]", '{"errors": [[1]]}', "7", "[" * 1000, "<html>[7]</html>", ""])
def test_refusals_of_any_shape_are_refusals(wire: responses.RequestsMock, deliver: Deliver, body: str) -> None:
    wire.post(URL, body, status=400)
    assert verdicts(deliver(1)) == [RecordVerdict.REFUSED]


@pytest.mark.parametrize("status", [301, 302, 307, 404, 405])
def test_a_wrong_address_ends_the_run(wire: responses.RequestsMock, deliver: Deliver, status: int) -> None:
    wire.post(URL, status=status, headers={"Location": "http://elsewhere.example.org/"})
    delivery = deliver(2)
    assert delivery.stop is not None and delivery.stop.exit_code == 10
    assert verdicts(delivery) == [RecordVerdict.NOT_SENT] * 2
