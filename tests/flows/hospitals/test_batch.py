"""The judgement of a batch, tried against every mixture of faults, in thought: no network and no clock."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflows.flows.hospitals.rows import Hospital
from tests.flows.hospitals.model import FATES, SETTLE, World

TEXTS = [Hospital(f"Synthetic Clinic {letter}", f"{letter} Sample Road, Exampleton", None) for letter in "ABCDE"]
rows = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8)
fates = st.lists(st.sampled_from(FATES), max_size=30)


@settings(max_examples=400, deadline=None)
@given(rows=rows, fates=fates)
@example(rows=TEXTS[:3], fates=["later"] * 3)
def test_whatever_happens_the_end_is_every_row_once_and_active(rows: list[Hospital], fates: list[str]) -> None:
    world = World(rows, iter(fates))
    world.run()
    while world.batch.error is not None and world.lives < 60:
        world.advance(1.0)
        world.start_again()
        world.run()
    assert world.batch.error is None
    world.advance(10 * SETTLE)
    assert world.is_right()
