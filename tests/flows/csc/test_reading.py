"""A key that stands twice at the top of a payload names nobody, however it is written; others are read at once."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc import reading
from dataflows.flows.csc.reading import Reading, read_child, read_row
from dataflows.flows.csc.schema import built_in
from dataflows.flows.csc.table import StagedRow
from dataflows.sandbox.synthetic import synthetic_child

_KEYS = st.sampled_from(["la_child_id", "purge", "a/b", "a\tb", 'a"b', "ł", "", "é"])
_ESCAPES = st.sampled_from([("", ""), ("/", "\\/"), ("p", "\\u0070"), ('\\"', "\\u0022")])


@st.composite
def objects(draw: st.DrawFn, depth: int = 0) -> str:
    """JSON text of an object in which keys may stand twice, spelled in different ways."""
    pairs = []
    for _ in range(draw(st.integers(0, 4))):
        plain, escaped = draw(_ESCAPES)
        key = json.dumps(draw(_KEYS), ensure_ascii=draw(st.booleans()))
        key = key.replace(plain, escaped) if plain else key
        value = draw(objects(depth + 1)) if depth < 2 and draw(st.booleans()) else json.dumps(draw(_KEYS))
        pairs.append(f"{key}:{draw(st.sampled_from(['', ' ']))}{value}")
    return "{" + ",".join(pairs) + "}"


def repeats(text: str) -> bool:
    """Whether a key stands twice at the top, by the standard library."""
    top: list[Any] = []
    json.loads(text, object_pairs_hook=top.append)
    return len({key for key, _ in top[-1]}) != len(top[-1])


@given(objects())
def test_a_key_twice_at_the_top_is_found_however_it_is_spelled(text: str) -> None:
    if repeats(text):
        with pytest.raises(ValueError, match="has a key twice at its top level"):
            read_child(text)
    else:
        assert read_child(text) == json.loads(text)


def test_an_ordinary_child_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object of a real one says ``purge``, which is no reason to read it a second time."""
    monkeypatch.setattr(reading, "_repeats_a_key", lambda _: pytest.fail("it was read twice"))
    for number in range(20):
        child = synthetic_child(random.Random(number), number)
        assert read_child(json.dumps({**child, "purge": False}, ensure_ascii=False, indent=1))


@pytest.mark.parametrize("state", ["New", "Deleted"])
def test_what_is_nested_too_deeply_names_nobody(state: str) -> None:
    text = json.dumps({"la_child_id": "A1", "x": 0}).replace("0", "[" * 300 + "]" * 300)
    row = StagedRow(1, None, text, None, None, "Pending", state)
    assert read_row(row, built_in()) == Reading(row, problem="json_payload is nested too deeply")
