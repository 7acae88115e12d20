"""No far side can hold a run up, fill its memory or end it as a bug: every far side × every endless behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.far_sides import FAR_SIDES, WAITS, FarSide, Measured, measured

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by Linux's /proc")

CHOSEN = {
    ("token", "interim"),
    ("csc", "trailers"),
    ("csc", "deep"),
    ("directory", "slow headers"),
    ("bucket", "bomb"),
    ("bucket", "redirects"),
    ("cqc", "flood"),
    ("mail", "lines"),
}
GRACE = 30


def cells() -> list[tuple[FarSide, str]]:
    return [(far, behaviour) for far in FAR_SIDES for behaviour in far.behaviours]


def run(
    folder: Path, chosen: Iterable[tuple[FarSide, str]], *, at_once: int, terminate: bool = False
) -> list[Measured]:
    def one(numbered: tuple[int, tuple[FarSide, str]]) -> Measured:
        number, (far, behaviour) = numbered
        return measured(folder / str(number), far, behaviour, terminate=terminate)

    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(one, enumerate(chosen)))
    print("\n| far side | behaviour | exit | seconds | memory |\n| --- | --- | --- | --- | --- |")
    print("\n".join(one.row() for one in found))
    return found


def test_some_of_the_table(tmp_path: Path) -> None:
    chosen = [(far, behaviour) for far, behaviour in cells() if (far.name, behaviour) in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    assert [one for one in (cell.wrong() for cell in run(tmp_path, chosen, at_once=4)) if one] == []


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_the_whole_table(tmp_path: Path) -> None:
    assert [one for one in (cell.wrong() for cell in run(tmp_path, cells(), at_once=4)) if one] == []


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_sigterm_ends_every_wait_within_the_grace(tmp_path: Path) -> None:
    waits = [(far, behaviour) for far, behaviour in cells() if behaviour in WAITS]
    found = run(tmp_path, waits, at_once=8, terminate=True)
    assert [one.row() for one in found if one.seconds > GRACE + 5 or one.code not in (130, -15)] == []
