"""Reading ahead: the same items in the same order, a few of them early, and no thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dataflows.runs.pool import ahead
from tests.processes import until


def counting(number: int, taken: list[int], ended: threading.Event | None = None) -> Iterator[int]:
    try:
        for n in range(number):
            taken.append(n)
            yield n
    finally:
        if ended is not None:
            ended.set()


@pytest.mark.parametrize("number", [0, 1, 7, 100])
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_all_items_come_in_order(number: int, batch: int) -> None:
    assert list(ahead(counting(number, []), batch)) == list(range(number))


def test_only_so_many_are_taken_ahead() -> None:
    taken: list[int] = []
    reading = ahead(counting(100, taken), 2)
    assert next(reading) == 0
    until(lambda: len(taken) == 8, "four batches: one in use, two that wait, one in hand")
    assert threading.Event().wait(0.05) is False
    assert len(taken) == 8
    reading.close()  # type: ignore[attr-defined]


def test_what_taking_them_raises_comes_behind_those_before() -> None:
    def breaking() -> Iterator[int]:
        yield from range(5)
        raise LookupError("broken")

    reading = ahead(breaking(), 2)
    assert [next(reading) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(LookupError, match="broken"):
        next(reading)


def test_closing_ends_the_thread_and_closes_the_source() -> None:
    before, ended = threading.active_count(), threading.Event()
    reading = ahead(counting(10_000, [], ended), 1)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    until(ended.is_set, "the end of the source")
    assert threading.active_count() == before
