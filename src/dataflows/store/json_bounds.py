"""What JSON from outside may be made of, checked on its bytes before any parser builds objects from it.

Parsers that recurse end with the stack (``[`` × 100,000), and 16 MB of ``{}`` are 400 MB of objects. A text that comes
whole is refused as a whole (``check``). In one that is read in pieces (``BoundedText``) a mark takes the place of what
is beyond all bounds: nested deeper than 64 levels, or longer than a million characters; half of a surrogate pair, which
would come out as a question mark. The entry that holds a mark is refused (``mark_in``), and the others go on. Numbers
of thousands of digits, which would end the process in the parser, are kept as texts.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

DEEPEST = 64
"""Levels of objects and lists, the outermost one counted (contract.md, HTTP)."""
NUMBER = 100
"""The longest number, in characters."""
VALUES = 200_000
"""The most values, keys and brackets in one text (a page of 1,000 objects has 15,000)."""

_ALIKE, _NO_BRACKETS = bytes.maketrans(b"{}", b"[]"), bytes(set(range(256)) - set(b"[]{}"))
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_AS_DIGITS = bytes(0x30 if byte in b"-+.0123456789eE" else 0x20 for byte in range(256))
_LONG_NUMBER = b"0" * (NUMBER + 1)
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
    """Whether a few steps over the whole text show it, a tenth of a scan's; where they do not, it still may be.

    Of each string the two marks are left, next to each other unless there are brackets in it.
    """
    plain = _without_escapes(text)
    brackets = plain.translate(_ALIKE, _NO_MARKS).replace(b'""', b"")
    strings = plain.count(b'"') // 2
    scalars = plain.count(b",") + 1 - (strings - plain.count(b":"))  # at most: not each comma and colon separates
    if b'"' in brackets or strings + len(brackets) + scalars > VALUES or _LONG_NUMBER in plain.translate(_AS_DIGITS):
        return False
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"")  # takes the innermost level away
    return not brackets


def _without_escapes(text: bytes) -> bytes:
    """The same, so that every quotation mark begins or ends a string."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text


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


# --- text that comes in pieces ----------------------------------------------------------------------------------------


LONGEST = 1_000_000
"""Bytes of one string or number."""

_SECRET = secrets.token_hex(16)  # nobody can write it into a file
_MARKS = {code: f"{_SECRET} {code}" for code in ("too_deep", "too_long", "unstorable")}
_ODD_DIGITS = 1000  # digits; the parser makes exact numbers up to 4,300 of them, and crashes above
_NUMBER = b"0123456789+-.eE"

_STRING_END = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_PART = re.compile(
    rb'(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<number>[0-9+\-.eE]++)'
    rb'|[^"\[\]{}0-9+\-.eE]++',
    re.DOTALL,
)
_ODD_NUMBER = re.compile(rb"[0-9+\-.eE]{%d}|[0-9.][eE][+-]?[0-9]{6}" % _ODD_DIGITS)
_NO_NUMBERS = bytes.maketrans(bytes(set(range(256)) - set(_NUMBER)), b" " * (256 - len(set(_NUMBER))))
_SHORT = 8  # no number of fewer characters is odd
_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_PAIRS = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\xed[\xa0-\xbf][\x80-\xbf])|\\.",
    re.DOTALL,
)

_WHOLE = re.compile(rb'[^"]*+(?:"(?:[^"\\]++|\\.)*+"[^"]*+)*+', re.DOTALL)
_STEP = {ord("["): 1, ord("]"): -1}


class BoundedText:
    """Reads on from ``read``, which gives the next bytes of a file and nothing at its end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._depths = _Depths()
        self._rest = b""  # the beginning of a string or number whose end has not come yet
        self._skipping: Callable[[bytes], bytes] | None = None
        self.has_marks = False
        """Whether anything was taken out so far."""

    def read(self, size: int) -> bytes:
        """The next bytes, perhaps more or fewer than ``size``; none at the end of the file."""
        while block := self._read(size):
            if piece := self._passed(block):
                return piece
        rest, self._rest = self._rest, b""
        return rest if rest.startswith(b'"') else self._within_bounds(rest, rest)

    def _passed(self, block: bytes) -> bytes:
        data = self._rest + block
        if self._skipping is not None:
            data = self._skipping(data)
            if self._skipping is not None:
                return b""
        end, outside = _outside_strings(data)
        if end == len(data):
            end = len(data.rstrip(_NUMBER))
        head, self._rest = data[:end], data[end:]
        passed = self._within_bounds(head, outside)
        return passed + self._cut_off() if len(self._rest) > LONGEST else passed

    def _cut_off(self) -> bytes:
        """Put a mark in the place of a string or number that does not end, and skip what comes of it."""
        self._skipping = self._to_string_end if self._rest.startswith(b'"') else self._to_number_end
        backslashes = len(self._rest) - len(self._rest.rstrip(b"\\"))
        self._rest = b"\\" if backslashes % 2 else b""
        return self._mark("too_long") if self._depths.now <= DEEPEST else b""

    def _to_string_end(self, data: bytes) -> bytes:
        found = _STRING_END.match(data)
        end = found.end() if found else 0
        if data[end : end + 1] == b'"':
            self._skipping, self._rest = None, b""
            return data[end + 1 :]
        self._rest = data[end:]  # a backslash at most
        return b""

    def _to_number_end(self, data: bytes) -> bytes:
        left = data.lstrip(_NUMBER)
        self._rest = b""
        if left:
            self._skipping = None
        return left

    def _within_bounds(self, data: bytes, outside: bytes) -> bytes:
        """The same bytes, as a rule. ``data`` begins and ends outside of strings and numbers."""
        before = self._depths.now
        deepest = self._depths.take(outside)
        if before > DEEPEST and self._depths.highest > DEEPEST:
            return b""
        if deepest <= DEEPEST and not _has_odd_numbers(outside) and not _has_halves(data):
            return data
        return b"".join(self._mended(data, before))

    def _mended(self, data: bytes, depth: int) -> Iterator[bytes]:
        for token in _PART.finditer(data):
            text, kind = token[0], token.lastgroup
            if kind == "open":
                depth += 1
                if depth == DEEPEST + 1:
                    yield self._mark("too_deep")
            if depth <= DEEPEST:
                yield self._token(text, kind)
            depth -= kind == "close"

    def _token(self, text: bytes, kind: str | None) -> bytes:
        if kind == "string" and _HALF.search(text):
            return _PAIRS.sub(self._half, text)
        if kind == "number" and _ODD_NUMBER.search(text):
            return b'"' + text + b'"'
        return text

    def _half(self, found: re.Match[bytes]) -> bytes:
        if found["half"] is None:
            return found[0]
        self.has_marks = True
        return _MARKS["unstorable"].encode()

    def _mark(self, code: str) -> bytes:
        self.has_marks = True
        return b'"' + _MARKS[code].encode() + b'"'


def _outside_strings(data: bytes) -> tuple[int, bytes]:
    """Where the last string begins if it has no end (else the length), and what stands outside of strings before that.

    ``data`` has to begin outside of strings.
    """
    parts = _without_escapes(data).split(b'"')
    return len(data) if len(parts) % 2 else _last_mark(data), b"".join(parts[::2])


def _last_mark(data: bytes) -> int:
    """Where the string begins that has no end."""
    if b'\\"' not in data:
        return data.rfind(b'"')
    found = _WHOLE.match(data)
    return found.end() if found else 0


class _Depths:
    """Follows the depth through a text that comes in pieces: ``now``, and the least deep level of the last piece."""

    def __init__(self) -> None:
        self.now = 0
        self.highest = 0

    def take(self, outside: bytes) -> int:
        """Go through a piece, given without its strings; returns its deepest level."""
        brackets = outside.translate(_ALIKE, _NO_BRACKETS)
        levels = list(accumulate(map(_STEP.__getitem__, brackets), initial=self.now))
        self.now, self.highest = levels[-1], min(levels)
        return max(levels)


def _has_odd_numbers(outside: bytes) -> bool:
    numbers = outside.translate(_NO_NUMBERS).split()
    return any(len(one) >= _SHORT and _ODD_NUMBER.search(one) for one in numbers)


def _has_halves(data: bytes) -> bool:
    return (b"\\u" in data or b"\xed" in data) and _HALF.search(data) is not None


def mark_in(value: Any) -> str | None:
    """Why a value cannot be taken: too_deep, too_long or unstorable; None when it holds no mark."""
    if isinstance(value, str):
        return next((code for code, mark in _MARKS.items() if mark in value), None) if _SECRET in value else None
    if isinstance(value, dict):
        return next((code for pair in value.items() for one in pair if (code := mark_in(one))), None)
    if isinstance(value, list):
        return next((code for one in value if (code := mark_in(one))), None)
    return None
