"""Faults: when they strike, checked without a network; what they do to a request is in test_server."""

from __future__ import annotations

from typing import Any

import pytest

from dataflows.sandbox.faults import Fate, Faults
from dataflows.sandbox.receiver import ReceiverFaults


def fates(faults: Faults, requests: int) -> list[Fate]:
    """What becomes of the next requests."""
    return [faults.judge().fate for _ in range(requests)]


def test_without_faults_all_is_answered_at_once() -> None:
    verdict = Faults().judge()

    assert (verdict.fate, verdict.wait) == (Fate.ANSWERED, 0.0)


@pytest.mark.parametrize(
    ("name", "fate"),
    [
        ("silent", Fate.SILENT),
        ("drop", Fate.DROPPED),
        ("error", Fate.ERROR),
        ("late", Fate.LATE),
        ("lost", Fate.LOST),
        ("cut", Fate.CUT),
    ],
)
def test_the_next_requests_or_all(name: str, fate: Fate) -> None:
    faults = Faults()
    faults.set(**{f"{name}_next": 2})
    assert fates(faults, 4) == [fate, fate, Fate.ANSWERED, Fate.ANSWERED]

    faults.set(**{f"{name}_share": 1})
    assert fates(faults, 3) == [fate] * 3


def test_a_share_is_about_that_share_and_the_same_for_a_seed() -> None:
    def struck(seed: int) -> list[int]:
        faults = Faults(lost_share=0.3, seed=seed)
        return [n for n, fate in enumerate(fates(faults, 1000)) if fate is Fate.LOST]

    assert struck(1) == struck(1) != struck(2)
    assert 250 < len(struck(1)) < 350


def test_one_fault_does_not_move_another() -> None:
    lost = [one is Fate.LOST for one in fates(Faults(lost_share=0.2, seed=3), 200)]
    both = fates(Faults(lost_share=0.2, cut_share=0.2, seed=3), 200)

    assert [one is Fate.LOST for one in both] == lost
    assert Fate.CUT in both


def test_errors_for_some_seconds() -> None:
    now = [50.0]
    faults = Faults(clock=lambda: now[0])
    faults.set(error_seconds=20, error_status=503, retry_after="soon")

    now[0] = 69.9
    verdict = faults.judge()
    assert (verdict.fate, verdict.status, verdict.retry_after) == (Fate.ERROR, 503, "soon")
    now[0] = 70.0
    assert faults.judge().fate is Fate.ANSWERED


def test_a_rate_limit_lets_so_many_per_second_pass() -> None:
    now = [0.0]
    faults = Faults(rate_limit=3.0, clock=lambda: now[0])

    assert [one.value for one in fates(faults, 5)] == ["answered"] * 3 + ["error"] * 2
    verdict = faults.judge()
    assert (verdict.status, verdict.retry_after) == (429, "1")
    now[0] = 0.5
    assert [one.value for one in fates(faults, 2)] == ["answered", "error"]


def test_latency_lies_between_its_bounds() -> None:
    faults = Faults(latency_ms=100, jitter_ms=50)
    waits = [faults.judge().wait for _ in range(200)]

    assert 0.100 <= min(waits) < 0.110
    assert 0.140 < max(waits) <= 0.150


def test_forbid_is_for_everyone() -> None:
    verdict = Faults(forbid=True, silent_share=1.0).judge()

    assert (verdict.fate, verdict.status) == (Fate.ERROR, 403)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eror_next": 1}, "did you mean error_next"),
        ({"seed": 1}, "no fault is called"),
        ({"error_next": 1.5}, "error_next needs a int"),
        ({"error_next": True}, "error_next needs a int"),
        ({"error_next": -1}, "out of range"),
        ({"error_share": 1.1}, "out of range"),
        ({"forbid": 1}, "forbid needs a bool"),
        ({"receipts": "odd"}, "receipts is one of array, short"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(changes: dict[str, Any], words: str) -> None:
    faults = ReceiverFaults()
    before = faults.as_dict()

    with pytest.raises(ValueError, match=words):
        faults.set(latency_ms=7, **changes)
    assert faults.as_dict() == before


def test_clear_goes_back_to_the_start() -> None:
    faults = ReceiverFaults()
    faults.begin_with(latency_ms=5)
    faults.set(latency_ms=9, error_next=3, refuse_ids=["SYN1"])

    faults.clear()

    assert faults.as_dict() == {**ReceiverFaults().as_dict(), "latency_ms": 5.0}


def test_bad_receipts_for_the_next_answers() -> None:
    faults = ReceiverFaults()
    faults.set(receipts="short", receipts_next=2)

    assert [faults.next_receipts() for _ in range(3)] == ["short", "short", "array"]
