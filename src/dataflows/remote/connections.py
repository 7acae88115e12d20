"""Connections that tell "never left" from "left": whatever fails before a request's first byte is NotConnected."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class NotConnected(Exception):
    """Connecting failed (name, TCP, proxy tunnel, TLS handshake): no byte of the request left. The cause says why."""


@dataclass(slots=True)
class Way:
    """How one scheme, host and port are reached: its pool, its proxy (``host:port``), the certificate shown (DER)."""

    pool: HTTPConnectionPool
    host: str
    proxy: str | None
    whole_url: bool
    certificate: bytes | None = None


class OutOfTime(Exception):
    """The end of an answer's patience came before the end of the answer."""


class Stopped(Exception):
    """The run is to stop, so an answer is not waited for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one answer may take, headers included: to the monotonic second ``until``, with no pause longer than
    ``silence`` seconds, and no longer than ``broken_off`` says no.
    """

    until: float
    silence: float
    broken_off: Callable[[], bool] | None = None


PATIENCE: ContextVar[Patience | None] = ContextVar("PATIENCE", default=None)
"""Set around a request whose answer may take long. Without it each read has the timeout of the request."""

_TICK = 0.5


class _Patiently(io.RawIOBase):
    """What comes in over a socket, as long as there is patience. A socket's own timeout starts anew with each byte."""

    def __init__(self, line: socket.socket, below: Any, patience: Patience) -> None:
        self._line, self._below, self._patience = line, below, patience

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._line.fileno()

    def readinto(self, buffer: Any) -> int:
        patience = self._patience
        quiet = time.monotonic() + patience.silence
        while True:
            if patience.broken_off is not None and patience.broken_off():
                raise Stopped
            now = time.monotonic()
            if now >= patience.until:
                raise OutOfTime
            if now >= quiet:
                raise TimeoutError
            self._line.settimeout(min(patience.until - now, quiet - now, _TICK))
            try:
                return self._line.recv_into(buffer)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._below.close()
        super().close()


def patient(line: socket.socket, patience: Patience) -> io.BufferedReader:
    """What comes in over ``line``, to be read under ``patience``; reading raises OutOfTime, TimeoutError, Stopped."""
    below: Any = line.makefile("rb", buffering=0)
    return io.BufferedReader(_Patiently(line, below, patience))


class Answer(http.client.HTTPResponse):
    """An answer that is read under ``PATIENCE``, from its first byte on."""

    def __init__(self, sock: socket.socket, *args: Any, **rest: Any) -> None:
        super().__init__(sock, *args, **rest)
        patience = PATIENCE.get()
        if patience is not None and isinstance(sock, socket.socket):  # TLS inside TLS is no socket
            below: Any = self.fp
            self.fp = io.BufferedReader(_Patiently(sock, below.detach(), patience))


class Plain(HTTPConnection):
    response_class = Answer

    def __init__(self, *args: Any, way: Way, patience: float, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._patience = patience

    def connect(self) -> None:
        with _connecting():
            super().connect()
        self.sock.settimeout(self._patience)


class Tls(HTTPSConnection):
    response_class = Answer

    def __init__(self, *args: Any, way: Way, patience: float, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._way, self._patience = way, patience

    def connect(self) -> None:
        with _connecting():
            super().connect()
        self.sock.settimeout(self._patience)
        if isinstance(self.sock, ssl.SSLSocket):
            self._way.certificate = self.sock.getpeercert(binary_form=True)


class PlainPool(HTTPConnectionPool):
    ConnectionCls = Plain


class TlsPool(HTTPSConnectionPool):
    ConnectionCls = Tls


@contextmanager
def _connecting() -> Iterator[None]:
    """Whatever fails in here fails before the first byte of the request, so it may safely be repeated."""
    try:
        yield
    except Exception as error:
        raise NotConnected from error
