"""Names of columns, as people and their programs write them."""

from __future__ import annotations

import time

import pytest

from dataflows.flows.cqc.layout import plain


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Location ID", "cqc location id"),
        (" CQC  Location ", "cqc location id"),
        ("Location Name (for office use only)", "name"),
        ("Location Name\t (its end was lost", "name"),
        ("Care home?", "care home?"),
        ("", ""),
    ],
)
def test_one_name_for_each_column(name: str, known: str) -> None:
    assert plain(name) == known


@pytest.mark.parametrize("name", [" " * 200_000 + "x", "(" * 200_000, "\t (" * 100_000])
def test_a_long_name_takes_no_time(name: str) -> None:
    began = time.process_time()
    plain(name)
    assert time.process_time() - began < 2  # a pattern that tries again from every blank takes minutes
