"""One large answer, streamed: handed on piece by piece, its length and its gzip checked, never longer than a deadline.

A redirect is followed on the same host only, and never from https to http. Trying again is the caller's business
(``RetryPolicy``): a body that breaks off has to begin anew, since exports are generated and have no fixed bytes.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from dataflows.errors import DataflowsError, ExitCode, Interrupted, ServiceDown
from dataflows.hints import RESUME
from dataflows.remote.adapter import reading
from dataflows.remote.connections import RequestBounds, Stopped, TooLarge
from dataflows.remote.retry import raise_for_service
from dataflows.remote.route import shown
from dataflows.remote.session import Reply, opened

if TYPE_CHECKING:
    import requests
    from urllib3 import BaseHTTPResponse

    from dataflows.remote.session import Session

Taker = Callable[[bytes], object]

_PIECE = 256 * 1024
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_GZIP = ("gzip", "x-gzip")


class BrokenOff(ServiceDown):
    """The file did not come to its end: another attempt, from the start, may bring it whole."""

    code = "broken_off"


class NotFollowed(DataflowsError):
    """The service sends us to another host, or off https, where we do not go."""

    exit_code = ExitCode.BAD_INPUT
    code = "redirected"


class Oversized(DataflowsError):
    """The file is larger than the setting allows."""

    exit_code = ExitCode.BAD_INPUT
    code = "too_large"


class UnknownEncoding(DataflowsError):
    """The body is packed in a way that nobody asked for."""

    exit_code = ExitCode.BAD_INPUT
    code = "encoding"


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """What is known of an answer besides its body: status, headers (without case), bytes handed on, seconds."""

    status: int
    headers: Mapping[str, str]
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """``until`` (monotonic seconds) ends the whole download; ``size`` is the largest file in bytes, unpacked."""

    until: float
    size: int
    broken_off: Callable[[], bool] | None = None


def download(
    session: Session, url: str, take: Taker, *, headers: Mapping[str, str], limits: DownloadLimits
) -> DownloadResult:
    """Get one file and hand its unpacked bytes to ``take`` as they come; what ``take`` raises ends the download.

    An answer other than 200 is not read: its status is the caller's to judge. Raises ServiceDown (also as BrokenOff)
    for what another attempt may mend, Blocked, NotFollowed, Oversized and UnknownEncoding for what it cannot,
    Interrupted when ``limits.broken_off`` says so. Messages name host and port only.
    """
    began = time.monotonic()
    silence = session.timeout[1]
    bounds = session.adapter.bounds((session.timeout[0], silence), limits.size, silence)
    bounds.total, bounds.until, bounds.broken_off = math.inf, limits.until, limits.broken_off
    try:
        response, final = _followed(session, url, headers, bounds)
        bounds.host = shown(final)
        try:
            size = _body(response.raw, take, bounds) if response.status_code == 200 else 0
        finally:
            response.raw.close()  # cheap, and an answer that was left unread must not go back to the pool
            response.raw.release_conn()
        return DownloadResult(response.status_code, response.headers, size, time.monotonic() - began)
    except Stopped:
        raise Interrupted(
            "the download was interrupted", reason="interrupted", hint=f"continue with: {RESUME}"
        ) from None
    except ServiceDown:
        if time.monotonic() < limits.until:
            raise
        spent = round(time.monotonic() - began, 1)
        raise ServiceDown(
            f"{shown(url)} did not send the whole file in time ({spent:g} s)",
            reason="cqc-incomplete",
            hint="try again later; CQC_DEADLINE_SECONDS is the limit",
        ) from None


def _followed(
    session: Session, url: str, headers: Mapping[str, str], bounds: RequestBounds
) -> tuple[requests.Response, str]:
    """The first answer that is no redirect, and the address that gave it."""
    for _ in range(_MOST_REDIRECTS + 1):
        response = opened(session, "GET", url, headers=headers, bounds=bounds)
        try:
            further = _further(url, response)
        except DataflowsError:
            response.raw.close()
            raise
        if further is None:
            return response, url
        response.raw.close()
        url = further
    raise NotFollowed(f"{shown(url)} redirects in a loop", reason="cqc-moved", hint="check the address of the source")


def _further(url: str, response: requests.Response) -> str | None:
    """Where an answer leads; None when it is no redirect. Raises ServiceDown for "not now"."""
    raise_for_service(Reply(response.status_code, response.headers, b"", 0.0), shown(url))
    return _next(url, response.headers.get("Location", "")) if response.status_code in _REDIRECTS else None


def _next(url: str, location: str) -> str:
    """Where a redirect leads, as long as that is the same scheme, host and port."""
    with suppress(ValueError):  # what is no address leads nowhere
        target = urljoin(url, location)
        here, there = urlsplit(url), urlsplit(target)
        if location and here.scheme == there.scheme and shown(url) == shown(target) and there.username is None:
            return target
    raise NotFollowed(
        f"{shown(url)} redirects to another host or off https, which is not followed",
        reason="cqc-moved",
        hint="open the address in a browser; if the file has moved, set its CQC_URL_<NAME>",
    )


def _body(response: BaseHTTPResponse, take: Taker, bounds: RequestBounds) -> int:
    """Hand on the whole body; returns its unpacked length."""
    host, limit = bounds.host, bounds.size
    declared = response.headers.get("Content-Length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit:
        raise _oversized(host, limit)
    size = 0
    for piece in _unpacked(response, _pieces(response, bounds), host):
        size += len(piece)
        if size > limit:
            raise _oversized(host, limit)
        take(piece)
    return size


def _pieces(response: BaseHTTPResponse, bounds: RequestBounds) -> Iterator[bytes]:
    """The body as it travels. That a declared length is reached, and a chunked body ended, is checked below us."""
    while True:
        try:
            with reading(response, bounds):
                bounds.wait()  # what has arrived already is read without asking the socket
                piece = response.read1(_PIECE, decode_content=False)
        except (Stopped, TooLarge):
            raise
        except ServiceDown as error:
            raise BrokenOff(error.message, reason=error.reason, hint=error.hint) from None
        if not piece:
            return
        yield piece


def _unpacked(response: BaseHTTPResponse, pieces: Iterator[bytes], host: str) -> Iterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return pieces
    if encoding in _GZIP:
        return _gunzipped(pieces, host)
    raise UnknownEncoding(
        f"{host} compressed the file in an unexpected way",
        reason="cqc-moved",
        hint="check the address of the source",
    )


def _gunzipped(pieces: Iterator[bytes], host: str) -> Iterator[bytes]:
    """Unpack gzip, bounded in every step. A stream without its end is an error, whatever the framing around it says."""
    member: zlib._Decompress | None = None
    try:
        for piece in pieces:
            packed = piece
            while packed:
                if member is None:
                    packed = packed.lstrip(b"\0")  # padding between members, as gzip itself takes it
                    member = zlib.decompressobj(wbits=31) if packed else None
                    continue
                yield from _some(member.decompress(packed, _PIECE))
                packed = member.unconsumed_tail or member.unused_data
                member = None if member.eof else member
    except zlib.error:
        raise BrokenOff(
            f"the gzip stream from {host} is damaged", reason="cqc-incomplete", hint="try again later"
        ) from None
    if member is not None:
        raise BrokenOff(f"the gzip stream from {host} is incomplete", reason="cqc-incomplete", hint="try again later")


def _some(piece: bytes) -> Iterator[bytes]:
    if piece:
        yield piece


def _oversized(host: str, limit: int) -> Oversized:
    return Oversized(
        f"the file of {host} is larger than {limit} bytes",
        reason="cqc-too-large",
        hint="if this is right, raise CQC_MAX_BYTES",
    )
