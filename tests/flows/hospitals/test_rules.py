"""The rules for one hospital, each at its limits."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.hospitals import rules
from dataflows.flows.hospitals.rows import Hospital, HospitalRow, batches


def verdict(name: str = "Synthetic Hospital", address: str = "1 Example Street", phone: str = "") -> list[str]:
    """Column and code of what is wrong with a hospital."""
    hospital = rules.trimmed(name, address, phone)
    return [f"{found.column} {found.code}" for found in rules.errors(hospital)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", ["name required"]),
        (" \t\u00a0\u3000", ["name required"]),
        ("\u200b\u2060", ["name required"]),
        ("A", ["name too_short"]),
        ("Ab", []),
        ("  Ab  ", []),
        ("  A  ", ["name too_short"]),
        ("x" * 255, []),
        ("x" * 256, ["name too_long"]),
        ("𝒳" * 255, []),
        ("A\u0000b", ["name control_character"]),
        ("Ab\n", ["name control_character"]),
        ("A\u0085b", ["name control_character"]),
        ("A\tb", ["name control_character"]),
        ("St. Jürgen’s 圣玛丽", []),
    ],
    ids=ascii,
)
def test_a_name(name: str, expected: list[str]) -> None:
    assert verdict(name=name) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, ["address required"]), (4, ["address too_short"]), (5, []), (500, []), (501, ["address too_long"])],
)
def test_an_address(length: int, expected: list[str]) -> None:
    assert verdict(address="x" * length) == expected


@pytest.mark.parametrize(
    "phone",
    [
        "", "   ", "555-0123", "+44 1632 960123", "(01632) 960.123", "01632/960123", "1234567", "123456789012345",
        "01632 960123 ext. 5", "01632 960123 EXT 1234567890", "01632960123x12", "01632 960123 x 12", " 555-0123\u00a0",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_phone_that_can_be_sent(phone: str) -> None:
    assert verdict(phone=phone) == []


@pytest.mark.parametrize(
    ("phone", "code"),
    [
        ("123456", "phone_digits"),
        ("1234567890123456", "phone_digits"),
        ("()-./", "phone_digits"),
        ("ext 1234567", "phone_digits"),
        ("555-0123 ext", "phone_characters"),
        ("555-0123 x5 x6", "phone_characters"),
        ("555-0123 extension 5", "phone_characters"),
        ("x5 555-0123", "phone_characters"),
        ("555-0123 x12345678901", "phone_characters"),
        ("unknown", "phone_characters"),
        ("٠١٦٣٢٩٦٠١٢٣", "phone_characters"),
        ("01632\u00a0960123", "phone_characters"),
        ("555\n0123", "control_character"),
    ],
    ids=ascii,
)
def test_a_phone_that_cannot(phone: str, code: str) -> None:
    assert verdict(phone=phone) == [f"phone {code}"]


@pytest.mark.timeout(10)
def test_a_phone_of_blanks_is_judged_at_once() -> None:
    # an extension could begin at each of them: tried one after the other, that takes half a minute
    assert verdict(phone="5" + " " * 60_000 + "5") == ["phone phone_digits"]


def test_every_column_is_judged() -> None:
    assert verdict("", "abc", "?") == ["name required", "address too_short", "phone phone_characters"]


def test_an_empty_phone_is_none() -> None:
    assert rules.trimmed(" A B ", "\t1 Example Street ", "  ") == Hospital("A B", "1 Example Street", None)


def test_what_nobody_sees_is_remarked_by_its_name() -> None:
    (remark,) = rules.remarks(Hospital("General\u200bHospital", "1 Example Street", None))
    assert (remark.column, remark.code) == ("name", "invisible_character")
    assert "U+200B (ZERO WIDTH SPACE)" in remark.message


def test_a_blank_of_another_kind_is_no_remark() -> None:
    assert list(rules.remarks(Hospital("General\u00a0Hospital", "1 Example Street", None))) == []


def test_the_classes_are_those_of_unicode() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    controls = {one for one in every if unicodedata.category(one) == "Cc"}
    assert {one for one in every if rules._CONTROL.match(one)} == controls
    assert set(rules.BLANKS) == {one for one in every if unicodedata.category(one) == "Zs"} | {"\t"}


@given(st.text(max_size=300))
def test_a_message_shows_a_bounded_printable_piece(text: str) -> None:
    shown = rules.shown(text)
    assert shown.isprintable()
    assert len(shown) <= 10 * 40 + 5


def test_batches_keep_the_order() -> None:
    rows = [HospitalRow(number, Hospital(f"Synthetic {number}", "1 Example Street", None)) for number in range(1, 6)]
    assert [[row.number for row in batch] for batch in batches(rows, 2)] == [[1, 2], [3, 4], [5]]
    assert batches([], 2) == []
