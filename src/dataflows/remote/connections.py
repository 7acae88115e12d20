"""Connections that tell "never left" from "left": whatever fails before a request's first byte is NotConnected."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
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


class Plain(HTTPConnection):
    def __init__(self, *args: Any, way: Way, patience: float, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._patience = patience

    def connect(self) -> None:
        with _connecting():
            super().connect()
        self.sock.settimeout(self._patience)


class Tls(HTTPSConnection):
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
