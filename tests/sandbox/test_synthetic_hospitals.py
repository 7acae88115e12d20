"""Synthetic hospitals are marked, all different, and the same for the same seed."""

from __future__ import annotations

import re

from dataflows.sandbox.synthetic import hospitals

PHONE = re.compile(r"01632 960\d{3}|\(020\) 7946 0\d{3}")


def test_they_are_marked_and_reach_nobody() -> None:
    for name, address, phone in hospitals(300):
        assert name.startswith("Synthetic ")
        assert "ZZ99" in address
        assert phone is None or PHONE.fullmatch(phone)


def test_they_are_all_different_and_some_need_quotes_umlauts_or_no_phone() -> None:
    found = list(hospitals(100))

    assert len({one.name for one in found}) == 100
    assert any("," in one.address for one in found)
    assert any(not one.address.isascii() for one in found)
    assert any(one.phone is None for one in found)


def test_the_same_seed_gives_the_same_and_a_longer_list_begins_the_same() -> None:
    assert list(hospitals(5, seed=3)) == list(hospitals(9, seed=3))[:5] != list(hospitals(5, seed=4))
