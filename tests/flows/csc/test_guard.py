"""The guard over purges of whole children: how many are let through, to the very number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import pytest

from dataflows.flows.csc.purges import FLOOR, Guard


class Acks:
    """The journal: it knows of so many children; the table shows others as sent."""

    def __init__(self, holds: int) -> None:
        self.known = holds

    def holds(self) -> int:
        return self.known

    def key(self, name: str) -> bytes:
        return name.encode()

    def holds_with(self, pages: Iterable[Sequence[bytes]]) -> int:
        return self.known + sum(map(len, pages))


class Names:
    """The table: names that it shows as sent."""

    def __init__(self, shown: int) -> None:
        self.shown, self.asked = shown, 0

    def shown_as_sent(self) -> Iterator[list[str]]:
        self.asked += 1
        yield [str(number) for number in range(self.shown)]


def guard(holds: int, shown: int, percent: float) -> tuple[Guard, Names]:
    names = Names(shown)
    return Guard(cast(Any, Acks(holds)), cast(Any, names), percent), names


@pytest.mark.parametrize(
    ("purges", "holds", "shown", "percent", "stops"),
    [
        (FLOOR, 1, 0, 0, False),  # so many always pass
        (FLOOR + 1, 0, 0, 10, True),
        (20, 200, 0, 10, False),  # just the share that is allowed
        (21, 200, 0, 10, True),
        (21, 0, 210, 10, False),  # the table alone shows that it is few
        (21, 199, 10, 10, True),
        (30, 30, 0, 100, False),
    ],
)
def test_more_than_the_share_is_stopped(purges: int, holds: int, shown: int, percent: float, stops: bool) -> None:
    assert guard(holds, shown, percent)[0].stops(purges) is stops


def test_the_table_is_asked_only_where_the_journal_alone_would_stop_and_once() -> None:
    one, names = guard(200, 10, 10)
    assert not one.stops(20)
    assert names.asked == 0
    assert one.stops(40) and one.stops(41)
    assert names.asked == 1
    assert one.held() == 210
