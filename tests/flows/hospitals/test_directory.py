"""The client: what each answer of the Directory means, and that nothing of its own words is repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dataflows.errors import AccessRefused, ServiceDown, SettingUnusable
from dataflows.flows.hospitals.directory import DirectoryApi
from dataflows.flows.hospitals.records import Created, HospitalRefused, NotSent, Unknown
from dataflows.flows.hospitals.rows import Hospital
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Settings

BATCH = "550e8400-e29b-41d4-a716-446655440000"
CLINIC = Hospital("Klinik Süd, \u201eA\u201c", "1 Road\nExampleton", None)


@pytest.fixture
def directory(box: Sandbox) -> Iterator[DirectoryApi]:
    box.directory.faults.set(create_ms=0, creates_per_minute=0, calls_per_minute=0)
    session = make_session(Settings(http_timeout_seconds=0.5, http_connect_timeout_seconds=0.5))
    yield DirectoryApi(box.settings()["EXTERNAL_API_BASE_URL"], session, RetryPolicy(3, 5.0, 0.01))
    session.close()


def fault(box: Sandbox, kind: str, **faults: Any) -> None:
    box.directory.faults_of(kind).set(**faults)


def test_a_create_is_answered_with_exactly_what_was_sent(box: Sandbox, directory: DirectoryApi) -> None:
    outcome = directory.create(BATCH, CLINIC)
    assert isinstance(outcome, Created)
    [record] = directory.look(BATCH)
    assert (record.id, record.hospital, record.active) == (outcome.id, CLINIC, False)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"error_next": 1, "error_status": 500}, "answered_500"),
        ({"error_next": 1, "error_status": 408}, "answered_408"),
        ({"error_next": 1, "error_status": 200}, "unreadable_answer"),
        ({"lost_next": 1}, "no_answer"),
        ({"cut_next": 1}, "no_answer"),
        ({"silent_next": 1}, "no_answer"),
    ],
)
def test_without_a_sure_answer_a_create_is_unknown(
    box: Sandbox, directory: DirectoryApi, faults: dict[str, Any], expected: str
) -> None:
    fault(box, "create", **faults)
    outcome = directory.create(BATCH, CLINIC)
    assert isinstance(outcome, Unknown)
    assert (outcome.code, outcome.lasting) == (expected, True)


def test_a_full_batch_says_look_first_and_nothing_can_land_any_more(box: Sandbox, directory: DirectoryApi) -> None:
    for _ in range(20):
        directory.create(BATCH, CLINIC)
    assert directory.create(BATCH, CLINIC) == Unknown("batch_full", lasting=False)


def test_what_did_not_leave_may_be_sent_again(box: Sandbox, directory: DirectoryApi) -> None:
    box.directory.faults.set(creates_per_minute=1)
    directory.create(BATCH, CLINIC)
    assert directory.create(BATCH, CLINIC) == NotSent("rate_limit", limited=True)
    box.stop()
    outcome = directory.create(BATCH, CLINIC)
    assert isinstance(outcome, (NotSent, Unknown))  # a connection that was kept may have been cut just now
    assert isinstance(directory.create(BATCH, CLINIC), NotSent)
    box.start()


def test_a_refusal_names_our_field_and_nothing_else(box: Sandbox, directory: DirectoryApi) -> None:
    box.directory.faults.set(refuse_names=["Klinik"])
    assert directory.create(BATCH, CLINIC) == HospitalRefused("the Hospital Directory refuses name (422)")


@pytest.mark.parametrize(("status", "error"), [(401, AccessRefused), (404, SettingUnusable), (307, SettingUnusable)])
def test_answers_that_no_row_would_escape_are_raised(
    box: Sandbox, directory: DirectoryApi, status: int, error: type[Exception]
) -> None:
    box.directory.faults.set(forbid=status == 401)
    if status != 401:
        directory = DirectoryApi(box.url, directory._session, directory._policy)
    with pytest.raises(error):
        directory.create(BATCH, CLINIC)


def test_a_look_is_repeated_and_an_empty_batch_is_empty(box: Sandbox, directory: DirectoryApi) -> None:
    fault(box, "look", error_next=2)
    assert directory.look(BATCH) == []
    assert box.directory.calls["look"] == 3


@pytest.mark.parametrize("faults", [{"error_status": 404}, {"error_status": 200}, {"error_status": 503}])
def test_a_look_that_cannot_be_read_says_nothing(box: Sandbox, directory: DirectoryApi, faults: dict[str, Any]) -> None:
    """A 404 that is not the Directory's own would else mean that nothing is there."""
    fault(box, "look", error_share=1.0, **faults)
    with pytest.raises(ServiceDown):
        directory.look(BATCH)


@pytest.mark.parametrize("faults", [{"lost_next": 1}, {"drop_next": 1}, {"silent_next": 1}])
def test_an_activation_is_asked_for_once(box: Sandbox, directory: DirectoryApi, faults: dict[str, Any]) -> None:
    directory.create(BATCH, CLINIC)
    fault(box, "activate", **faults)
    assert directory.activate(BATCH) is None
    assert box.directory.calls["activate"] == 1
