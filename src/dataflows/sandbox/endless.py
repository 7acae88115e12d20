"""Answers that have no end, or that take a reader's time, memory or stack: pieces, and the pause after each."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

_PAUSE: Final = 0.2  # seconds: far below any timeout between two bytes
_GIGABYTE: Final = 1 << 30
_BLOCK: Final = 1 << 20
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

Pieces = Iterator[tuple[bytes, float]]


def endless(how: str, path: str) -> Pieces:
    """The pieces of such an answer to a request for ``path`` (see ``Faults.endless_by``)."""
    if how == "bomb":
        return chain([(_OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 0.0)], _bomb())
    if how == "redirects":
        moved = f"HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return iter([(moved.encode("latin-1", "replace"), 0.0)])
    return _PLAIN[how]()


def whole(body: bytes) -> Pieces:
    """An answer of this body."""
    return iter([(_OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, 0.0)])


def _bomb() -> Pieces:
    """1 GB of zeros in 1 MB of gzip."""
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(_BLOCK)
    for _ in range(_GIGABYTE // _BLOCK):
        yield _chunk(packer.compress(zeros)), 0.0
    yield _chunk(packer.flush()) + b"0\r\n\r\n", 0.0


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _beginning(first: bytes, then: bytes, pause: float = 0.0, times: int | None = None) -> Pieces:
    more = repeat((then, pause)) if times is None else repeat((then, pause), times)
    return chain([(first, pause)], more)


_LONG: Final = _CHUNKED + b"%x\r\n" % _GIGABYTE  # a length that is declared would be refused before the first byte
_PLAIN: Final = {
    "interim": lambda: _beginning(b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", _PAUSE),
    "status": lambda: _beginning(b"HTTP/1.1 200 ", b"O" * 4096),
    "headers": lambda: _beginning(_OK, b"X-Synthetic: " + b"x" * 4096 + b"\r\n"),
    "slow headers": lambda: _beginning(_OK + b"X: ", b"x", _PAUSE),
    "trailers": lambda: _beginning(_CHUNKED + b"2\r\n[]\r\n0\r\n", b"X-Synthetic: x\r\n" * 100),
    "drip": lambda: _beginning(_LONG, b"x", _PAUSE),
    "flood": lambda: _beginning(_LONG, b" " * _BLOCK, times=_GIGABYTE // _BLOCK),
    "deep": lambda: whole(b"[" * 100_000),
    "wrong": lambda: whole(b'{"kind": [[1]], "items": [[1]], "error_codes": [[1]], "access_token": {}, "detail": 7}'),
}
