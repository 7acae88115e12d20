"""How deep JSON may be, found out before any parser builds objects from it: 20 KB of brackets can cost 1 GB.

Nothing is parsed here; text that is no JSON has some depth too, and is left to the parser to refuse.
"""

from __future__ import annotations

import re
from itertools import accumulate

__all__ = ["DEEPEST", "Depths", "depth", "is_too_deep", "outside_strings"]

DEEPEST = 64
"""Levels of objects and lists, the outermost one counted (contract.md, HTTP)."""

_ALIKE = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))
_WHOLE = re.compile(rb'[^"]*+(?:"(?:[^"\\]++|\\.)*+"[^"]*+)*+', re.DOTALL)
_STEP = {ord("["): 1, ord("]"): -1}


def depth(data: bytes) -> int:
    """How many levels of brackets a document has at its deepest; those inside strings do not count."""
    return Depths().take(outside_strings(data)[1])


def is_too_deep(data: bytes, deepest: int = DEEPEST) -> bool:
    """Whether a document has more levels than that; where there are few brackets at all, they are only counted."""
    return data.count(b"[") + data.count(b"{") > deepest and depth(data) > deepest


def outside_strings(data: bytes) -> tuple[int, bytes]:
    """Where the last string begins if it has no end (else the length), and what stands outside of strings before that.

    ``data`` has to begin outside of strings.
    """
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    parts = plain.split(b'"')
    return len(data) if len(parts) % 2 else _last_mark(data), b"".join(parts[::2])


def _last_mark(data: bytes) -> int:
    """Where the string begins that has no end."""
    if b'\\"' not in data:
        return data.rfind(b'"')
    found = _WHOLE.match(data)
    return found.end() if found else 0


class Depths:
    """Follows the depth through a text that comes in pieces: ``now``, and the least deep level of the last piece."""

    def __init__(self) -> None:
        self.now = 0
        self.highest = 0

    def take(self, outside: bytes) -> int:
        """Go through a piece, given without its strings; returns its deepest level."""
        brackets = outside.translate(_ALIKE, _OTHERS)
        levels = list(accumulate(map(_STEP.__getitem__, brackets), initial=self.now))
        self.now, self.highest = levels[-1], min(levels)
        return max(levels)
