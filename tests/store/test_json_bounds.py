"""What passes the check can be parsed by any parser; what does not is refused before anything is built."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.store import json_bounds
from dataflows.store.json_bounds import DEEPEST, NUMBER, OutOfBounds, check

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=40,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_usual_json_passes(value: object, ascii_only: bool, indent: int | None) -> None:
    check(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_brackets_and_digits_in_texts_do_not_count(text: str) -> None:
    check(json.dumps({"a": text + "[{" * 100 + "1" * 500, "b": [text + '"' * 100]}).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300), st.integers(0, 300))
def test_what_passes_dies_in_no_parser(noise: bytes, depth: int) -> None:
    text = b"[" * depth + noise
    try:
        check(text)
    except OutOfBounds:
        return
    with suppress(ValueError):
        json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * (DEEPEST + 1),
        b" \n\t[" + b"[" * DEEPEST + b"]" * DEEPEST + b"]",
        b'["\\"", ' + b"[" * DEEPEST,
        b"\xef\xbb\xbf" + b"[" * 100,
        b"[1, -" + b"1" * (NUMBER + 1) + b"]",
        b"[0." + b"1" * (NUMBER + 1) + b"]",
        b"[" + b"{}," * 300_000 + b"{}]",
        ("[" * 100).encode("utf-16"),
        ("[" * 100).encode("utf-16-le"),
        ("[" * 100).encode("utf-32-be"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_monsters_are_refused(text: bytes) -> None:
    with pytest.raises(OutOfBounds):
        check(text)


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b'\\"' * 2_000_000,
        b"[" * 65 + b'"' * 4_000_001,
        b"[" * 64 + b"1" * 99 + b" ," + b"1" * 4_000_000,
        b"[" + b"9" * 99 + b"x" + (b"9" * 99 + b",") * 40_000,
        b"<html>" + b"[" * 4_000_000,
    ],
    ids=["quotes", "strings", "digits", "runs", "html"],
)
def test_the_check_itself_does_not_take_long(text: bytes) -> None:
    began = time.process_time()
    with suppress(OutOfBounds):
        check(text)
    assert time.process_time() - began < 5  # a quadratic one takes hours


def _scanned(text: bytes) -> bool:
    try:
        json_bounds._scan(text)
    except OutOfBounds:
        return False
    return True


@given(VALUES, st.integers(60, 68), st.integers(NUMBER - 2, NUMBER + 2), st.sampled_from([b"", b'\\"', b"\\\\", b"[{"]))
def test_a_long_list_is_judged_as_value_by_value(value: object, depth: int, digits: int, text: bytes) -> None:
    number = b"1." + b"1" * (digits - 2)
    inner = b", ".join([json.dumps(value).encode(), b'"' + text + b'"', number, *[b"{}"] * DEEPEST])
    whole = b"[" * depth + inner + b"]" * depth
    assert _scanned(whole) or not json_bounds._is_surely_within(whole)


@pytest.mark.parametrize("rows", [100, 10_000])
def test_the_list_of_a_directory_needs_no_scan(rows: int) -> None:
    row = {"id": 1, "name": 'The "Clinic"', "address": "1, High St", "phone": None, "active": True}
    row |= {"creation_batch_id": "5b1f0f4e", "created_at": "2026-03-01T10:00:00"}
    assert json_bounds._is_surely_within(json.dumps([row] * rows).encode())
    assert not json_bounds._is_surely_within(json.dumps([row] * 2 * 10_000).encode())
