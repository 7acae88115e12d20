"""What is handed over: valid samples that were spoiled, and documents that nobody would write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

TOKENS = [
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"\r", b"\n", b"\r\n", b'"', b"'", b",", b";",
    b"=", b"\\", b"{", b"}", b"[", b"]", b"[" * 500, b'{"a":' * 500, b"9" * 400, b"-1e999", b"1e-999", b"NaN",
    b"Infinity", b"null", b"true", b'"a"', b"0x", b"\xe2\x80\xae", b"\xc2\x9b", b" " * 300, b"\t",
    b"x" * 5_000, b"2020-02-30", b"9999-12-31", b"<html>", b"%00", b"${x}", b"\x1f\x8b", b"PK\x03\x04",
]  # fmt: skip

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=30),
    st.sampled_from(["", " ", "0", "2020-01-01", "9999-12-31T23:59:59Z", "\ud800", "\x00", "x" * 3_000]),
)  # fmt: skip


def documents(keys: Sequence[str]) -> st.SearchStrategy[Any]:
    """JSON values whose objects mostly have these keys."""
    names = st.one_of(st.sampled_from(list(keys)), st.text(max_size=10))
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(names, inner, max_size=6)),
        max_leaves=20,
    )


def spoiled(*samples: bytes) -> st.SearchStrategy[bytes]:
    """One of these, with some pieces cut, doubled or replaced."""
    edits = st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8))),
        max_size=6,
    )
    return st.builds(_edited, st.sampled_from(samples), edits)


def spoiled_json(*samples: Any) -> st.SearchStrategy[bytes]:
    """The text of a document: a sample with values exchanged, one nobody would write, or broken text."""
    texts = [
        json.dumps(sample, ensure_ascii=False, indent=indent).encode() for sample in samples for indent in (None, 2)
    ]
    keys = sorted({key for sample in samples for key in _keys(sample)})
    changed = st.builds(_exchanged, st.sampled_from(samples), st.integers(0, 200), documents(keys)).map(_text)
    return st.one_of(spoiled(*texts), changed, documents(keys).map(_text))


def _edited(sample: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    for where, length, token in edits:
        place = int(where * len(sample))
        sample = sample[:place] + token + sample[place + length :]
    return sample


def _text(document: Any) -> bytes:
    return json.dumps(document).encode()


def _keys(document: Any) -> set[str]:
    if isinstance(document, dict):
        return {*document, *(key for value in document.values() for key in _keys(value))}
    return {key for value in document for key in _keys(value)} if isinstance(document, list) else set()


def _exchanged(document: Any, number: int, value: Any) -> Any:
    """The document with the value at the place of this number (of all there are) exchanged."""
    places = list(_places(document))
    if not places:
        return value
    copy = json.loads(json.dumps(document))
    *way, last = places[number % len(places)]
    inner = copy
    for step in way:
        inner = inner[step]
    inner[last] = value
    return copy


def _places(document: Any) -> list[list[Any]]:
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [place for key, value in inside for place in ([key], *([key, *rest] for rest in _places(value)))]
