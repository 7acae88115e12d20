"""What JSON from outside may be made of, checked on its bytes before any parser builds objects from it.

Parsers that recurse end with the stack (``[`` × 100,000), and 16 MB of ``{}`` are 400 MB of objects. A file that is
read in pieces has its own way of keeping to the same depth (the therapists' ``bounded``).
"""

from __future__ import annotations

import re

DEEPEST = 64
"""Levels of objects and lists, the outermost one counted (contract.md, HTTP)."""
NUMBER = 100
"""The longest number, in characters."""
VALUES = 200_000
"""The most values, keys and brackets in one text (a page of 1,000 objects has 15,000)."""

_ALIKE, _NO_BRACKETS = bytes.maketrans(b"{}", b"[]"), bytes(set(range(256)) - set(b"[]{}"))
_NO_MARKS = bytes.maketrans(b",:[]{}", b" " * 6)
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*[\[{]")
_LONG = re.compile(rb"(?<![0-9])[0-9]{%d}" % NUMBER)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]|[-+.0-9eE]++|[tfn]', re.DOTALL)


class OutOfBounds(ValueError):
    """The text is nested too deeply, has too many values, or a number that is too long."""


def check(text: bytes) -> None:
    """Make sure that a text, if it is JSON at all, can be parsed by any parser; it is read in one pass at most.

    Raises:
        OutOfBounds: it is not, or stands in UTF-16 or UTF-32 (which some parsers would accept).
    """
    if text[:1] in (b"\xff", b"\xfe") or b"\0" in text[:4]:
        raise OutOfBounds
    if not _JSON.match(text):
        return
    opened = text.count(b"[") + text.count(b"{")
    if (opened > DEEPEST or text.count(b",") > VALUES // 2 or _LONG.search(text)) and not _is_surely_within(text):
        _scan(text)


def _is_surely_within(text: bytes) -> bool:
    """Whether a few steps over the whole text show it, which cost a tenth of a scan; where they do not, it may be."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    parts = plain.split(b'"')
    outside = b"".join(parts[::2])
    brackets, words = outside.translate(_ALIKE, _NO_BRACKETS), outside.translate(_NO_MARKS).split()
    most = len(parts) // 2 + len(brackets) + 2 * len(words)  # the scan takes a word such as true for two values
    if len(parts) % 2 == 0 or most > VALUES or any(len(word) > NUMBER for word in words):
        return False
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"")  # takes the innermost level away
    return not brackets


def _scan(text: bytes) -> None:
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(text)):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        elif first != 0x22 and token.end() - token.start() > NUMBER:
            raise OutOfBounds
        if depth > DEEPEST or number > VALUES:
            raise OutOfBounds
