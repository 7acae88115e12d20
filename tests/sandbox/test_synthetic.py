"""Synthetic children are valid, marked, of real size, and the same for the same seed."""

from __future__ import annotations

from random import Random
from statistics import mean

from dataflows.flows.csc.schema import canonical, problems
from dataflows.sandbox.synthetic import synthetic_child


def test_they_are_valid_and_marked() -> None:
    rng = Random(1)
    for n in range(200):
        child = synthetic_child(rng, n)

        assert problems(child) == []
        assert child["la_child_id"].startswith("SYN")
        assert child["child_details"]["surname"].startswith("Synthetic-")


def test_they_are_about_three_kilobytes() -> None:
    rng = Random(2)

    assert 2_500 < mean(len(canonical(synthetic_child(rng, n))) for n in range(300)) < 3_700


def test_the_same_seed_gives_the_same_children() -> None:
    assert [synthetic_child(Random(3), n) for n in range(5)] == [synthetic_child(Random(3), n) for n in range(5)]
