from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dataflows.runs import pool


def test_every_item_is_worked_on_once() -> None:
    assert sorted(pool.each(lambda n: n * 2, range(500), workers=8, stop=threading.Event())) == list(range(0, 1000, 2))


def test_one_worker_means_no_threads() -> None:
    here = threading.get_ident()
    found = set(pool.each(lambda _: threading.get_ident(), range(5), workers=1, stop=threading.Event()))
    assert found == {here}


def test_items_are_taken_only_as_workers_become_free() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, 10_001):  # noqa: UP028 - the count must be seen from outside
            yield taken

    results = pool.each(lambda n: n, source(), workers=2, stop=threading.Event())
    next(results)
    assert taken <= 10
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", [1, 4])
def test_after_stop_no_further_item_is_begun(workers: int) -> None:
    stop = threading.Event()
    done: list[int] = []

    def work(number: int) -> int:
        done.append(number)
        stop.set()
        return number

    results = list(pool.each(work, range(1000), workers=workers, stop=stop))
    assert sorted(results) == sorted(done)
    assert len(done) <= workers


def test_what_work_raises_arrives_after_the_results_of_the_others() -> None:
    both_at_work = threading.Barrier(2)

    def work(number: int) -> int:
        both_at_work.wait(10)
        if number == 0:
            raise ValueError
        return number

    seen: list[int] = []
    with pytest.raises(ValueError):
        seen.extend(pool.each(work, range(2), workers=2, stop=threading.Event()))
    # list.extend loses what came before the error, so look item by item
    results = pool.each(work, range(2), workers=2, stop=threading.Event())
    assert next(results) == 1
    with pytest.raises(ValueError):
        next(results)


def test_a_worker_that_hangs_is_left_after_the_grace() -> None:
    stop, never = threading.Event(), threading.Event()

    def work(_: int) -> None:
        stop.set()
        never.wait(60)

    assert list(pool.each(work, range(2), workers=2, stop=stop, grace=0.05)) == []
    never.set()


def test_long_work_goes_on_in_the_grace_and_breaks_off_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = pool.Stop()
    assert not stop.grace_is_over()
    stop.set()
    assert not stop.grace_is_over()
    monkeypatch.setattr(pool, "GRACE_SECONDS", 0.0)
    assert stop.grace_is_over()


def test_asked_twice_there_is_no_grace() -> None:
    stop = pool.Stop()
    stop.set()
    stop.hurry = True
    assert stop.grace_is_over()


@pytest.mark.parametrize("workers", [1, 4])
def test_an_item_that_is_not_there_yet_is_asked_for_again(workers: int) -> None:
    done: list[int] = []

    def source() -> Iterator[int | pool.TryLater]:
        yield 1
        while not done:  # the second follows from the first
            yield pool.TryLater(0.01)
        yield done[0] + 1

    for result in pool.each(lambda n: n, source(), workers=workers, stop=threading.Event()):
        done.append(result)
    assert done == [1, 2]


@pytest.mark.parametrize("workers", [1, 4])
def test_waiting_for_an_item_ends_with_a_stop(workers: int) -> None:
    stop = threading.Event()

    def source() -> Iterator[int | pool.TryLater]:
        stop.set()
        while True:
            yield pool.TryLater(60.0)

    assert list(pool.each(lambda n: n, source(), workers=workers, stop=stop)) == []
