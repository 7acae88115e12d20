"""The one retry policy: what is tried again, how long it waits, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import AccessRefused, Interrupted, ServiceDown
from dataflows.events import Retrying
from dataflows.remote.failures import Blocked
from dataflows.remote.retry import RetryPolicy, parse_retry_after, raise_for_service
from dataflows.remote.session import Reply
from tests.remote.loopback import settings

NOON = 1_793_000_000.0


class Clockless(threading.Event):
    """A stop that notes how long each wait was to be, and lets it pass at once."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def failing(times: int, error: Exception | None = None) -> Callable[[], str]:
    """A call that fails so often before it succeeds."""
    left = [error or ServiceDown("down", reason="test")] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    return call


@pytest.fixture
def stop() -> Clockless:
    return Clockless()


@pytest.fixture
def policy(stop: Clockless) -> RetryPolicy:
    return RetryPolicy(attempts=8, deadline=300, max_wait=60, stop=stop)


def test_what_succeeds_is_called_once(policy: RetryPolicy, stop: Clockless) -> None:
    assert policy.call(failing(0), "service") == "done"
    assert stop.waits == []


def test_a_service_that_is_down_is_tried_again(policy: RetryPolicy) -> None:
    assert policy.call(failing(7), "service") == "done"


def test_the_last_failure_is_told_when_attempts_are_used_up(policy: RetryPolicy, stop: Clockless) -> None:
    with pytest.raises(ServiceDown, match="down"):
        policy.call(failing(8), "service")
    assert len(stop.waits) == 7


@pytest.mark.parametrize(
    "error",
    [
        AccessRefused("no", reason="test"),
        Blocked("no way", reason="test"),
        ValueError("bug"),
        Interrupted("stop", reason="test"),
    ],
)
def test_nothing_else_is_tried_again(policy: RetryPolicy, stop: Clockless, error: Exception) -> None:
    with pytest.raises(type(error)):
        policy.call(failing(1, error), "service")
    assert stop.waits == []


def test_waits_grow_and_stay_below_their_ceiling(stop: Clockless) -> None:
    RetryPolicy(attempts=12, deadline=1e6, max_wait=20, stop=stop).call(failing(11), "service")
    ceilings = [min(20, 2.0**n) for n in range(11)]
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(stop.waits, ceilings, strict=True))


def test_waits_are_spread_over_their_whole_range(stop: Clockless) -> None:
    policy = RetryPolicy(attempts=2, deadline=300, max_wait=60, stop=stop)
    for _ in range(200):
        policy.call(failing(1), "service")
    assert min(stop.waits) < 0.25
    assert max(stop.waits) > 0.75


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.0), (7.0, 7.0), (3600.0, 60.0), (float("inf"), 60.0)])
def test_the_service_is_obeyed_up_to_the_ceiling(
    policy: RetryPolicy, stop: Clockless, asked: float, waited: float
) -> None:
    policy.call(failing(1, ServiceDown("busy", reason="test", wait=asked)), "service")
    assert stop.waits == [waited]


def test_a_wait_that_would_pass_the_deadline_is_not_begun(stop: Clockless) -> None:
    policy = RetryPolicy(attempts=8, deadline=5, max_wait=60, stop=stop)
    with pytest.raises(ServiceDown):
        policy.call(failing(1, ServiceDown("busy", reason="test", wait=10)), "service")
    assert stop.waits == []


def test_a_stop_ends_the_wait(policy: RetryPolicy, stop: Clockless) -> None:
    stop.set()
    with pytest.raises(Interrupted):
        policy.call(failing(1), "service")


def test_a_stop_does_not_keep_from_a_first_attempt(policy: RetryPolicy, stop: Clockless) -> None:
    stop.set()
    assert policy.call(failing(0), "service") == "done"


def test_each_wait_is_told(stop: Clockless) -> None:
    told: list[Retrying] = []
    policy = RetryPolicy(8, 300, 60, stop, told.append)
    policy.call(failing(2, ServiceDown("service answered 503", reason="test", wait=2)), "DfE CSC API")
    assert told == [
        Retrying("DfE CSC API", 2, 2.0, "service answered 503"),
        Retrying("DfE CSC API", 3, 2.0, "service answered 503"),
    ]


def test_without_a_stop_it_just_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("dataflows.remote.retry.time.sleep", waits.append)
    down = ServiceDown("down", reason="test", wait=2)
    assert RetryPolicy(attempts=3, deadline=10, max_wait=60).call(failing(2, down), "service") == "done"
    assert waits == [2.0, 2.0]


def test_the_settings_make_the_policy(tmp_path: Path) -> None:
    made = RetryPolicy.of(settings(tmp_path, http_attempts=3, http_deadline_seconds=9.0, http_max_wait_seconds=2.0))
    assert (made.attempts, made.deadline, made.max_wait) == (3, 9.0, 2.0)


# --- statuses and Retry-After -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_not_now_is_service_down(status: int) -> None:
    with pytest.raises(ServiceDown, match=f"the API answered {status}") as raised:
        raise_for_service(Reply(status, {"Retry-After": "3"}, b"secret", 0.1), "the API")
    assert raised.value.wait == 3.0
    assert raised.value.sent


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 404, 413, 501, 505])
def test_every_other_status_is_left_to_the_caller(status: int) -> None:
    raise_for_service(Reply(status, {}, b"", 0.1), "the API")


def test_a_service_may_name_its_own_statuses() -> None:
    with pytest.raises(ServiceDown):
        raise_for_service(Reply(404, {}, b"", 0.1), "the API", retry_statuses=(404,))


def test_a_date_is_read_against_the_clock_of_the_service() -> None:
    there = {"Date": formatdate(NOON, usegmt=True), "Retry-After": formatdate(NOON + 90, usegmt=True)}
    with pytest.raises(ServiceDown) as raised:
        raise_for_service(Reply(503, there, b"", 0.1), "the API")
    assert raised.value.wait == 90.0


@pytest.mark.parametrize(
    "value", ["soon", "-5", "1.5", "", "  ", None, "+5", "٣", "1e3", "0x10", "5 s", "5,7", "tomorrow"]
)
def test_nonsense_is_no_wish(value: str | None) -> None:
    assert parse_retry_after(value, NOON) is None


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("007", 7.0)])
def test_seconds_are_understood(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOON) == seconds


@pytest.mark.parametrize(("ahead", "seconds"), [(30, 30.0), (0, 0.0), (-3600, 0.0)])
def test_a_date_is_understood(ahead: int, seconds: float) -> None:
    assert parse_retry_after(formatdate(NOON + ahead, usegmt=True), NOON) == seconds


@given(st.text() | st.integers().map(str))
def test_no_header_can_break_it(value: str) -> None:
    found = parse_retry_after(value, NOON)
    assert found is None or found >= 0
