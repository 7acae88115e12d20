"""The one transport adapter of requests sessions: bounded, verified, proxies and certificates looked up once.

It is lean, because requests' own costs more than the request: the pool of a host is looked for once, no cookies are
read, no redirect is prepared. What it raises is ours, so that every flow and every library above it says the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3.exceptions import HTTPError

from dataflows.errors import SettingUnusable
from dataflows.remote import failures, route
from dataflows.remote.connections import BOUNDS, HostConnection, NotConnected, PlainPool, RequestBounds, TlsPool
from dataflows.store import json_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflows.settings import Settings

MAX_ANSWER = 8 * 1024 * 1024
"""The largest answer that is taken unless the caller says otherwise, in bytes."""

_PART = 64 * 1024
_ONCE = Retry(total=False, redirect=False)  # how often to try is decided in retry.py and nowhere else
_UNPACKED = ("gzip", "x-gzip", "deflate")


class Response(requests.Response):
    """requests' response without what no flow asks for: a cookie jar is made for those who look, and is empty."""

    def __init__(self, request: requests.PreparedRequest, raw: BaseHTTPResponse) -> None:
        self.request, self.raw = request, raw
        self.url = request.url or ""
        self.status_code, self.reason = raw.status, raw.reason or ""
        self.headers = raw.headers  # type: ignore[assignment]  # looked up without case too
        self.encoding = "utf-8"  # JSON has no other, and guessing costs more than the request
        self.history: list[requests.Response] = []
        self._content: Any = False
        self._content_consumed = False
        self._next = None

    @property
    def cookies(self) -> RequestsCookieJar:  # type: ignore[override]
        """No cookies."""
        return RequestsCookieJar()


class BoundedAdapter(HTTPAdapter):
    """Sends requests within bounds, through pools as large as the number of ``workers``. Safe to share by threads.

    ``broken_off`` is asked while waiting; when it says yes the wait ends (``Stopped``).
    Raises SettingUnusable for an unreadable REQUESTS_CA_BUNDLE.
    """

    def __init__(self, settings: Settings, workers: int = 1, broken_off: Callable[[], bool] | None = None) -> None:
        self.timeout = (settings.http_connect_timeout_seconds, settings.http_timeout_seconds)
        self.largest = MAX_ANSWER
        self._broken_off = broken_off
        self._context = route.trusted(settings.requests_ca_bundle)
        self._proxies = route.proxies()
        self._hosts: dict[tuple[str, str], HostConnection] = {}
        self._lock = threading.Lock()
        super().__init__(pool_maxsize=workers, max_retries=_ONCE)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **_: Any) -> None:
        """Make the pools of hosts that are reached without a proxy."""
        self.poolmanager = _ours(PoolManager(connections, maxsize=maxsize, block=block, ssl_context=self._context))

    def proxy_manager_for(self, proxy: str, **_: Any) -> ProxyManager:
        """The pools of hosts that are reached by a proxy."""
        if proxy not in self.proxy_manager:
            login = make_headers(proxy_basic_auth=route.proxy_login(proxy))
            self.proxy_manager[proxy] = _ours(
                ProxyManager(
                    proxy,
                    proxy_headers=login,
                    proxy_ssl_context=self._context,
                    maxsize=self._pool_maxsize,
                    ssl_context=self._context,
                )
            )
        manager: ProxyManager = self.proxy_manager[proxy]
        return manager

    def host_connection(self, url: str) -> HostConnection:
        """How a URL's host is reached, found at the first call. Raises SettingUnusable for what is no web address."""
        parts = urlsplit(url)
        key = (parts.scheme, parts.netloc)
        known = self._hosts.get(key)
        if known is not None:
            return known
        with self._lock:
            return self._hosts.get(key) or self._hosts.setdefault(key, self._found(url))

    def _found(self, url: str) -> HostConnection:
        scheme, host, port = _target(url)
        proxy = route.proxy_for(scheme, host, port, self._proxies)
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        pool = manager.connection_from_host(host, port, scheme)
        shown = route.shown(proxy) if proxy else None
        connection = HostConnection(pool, route.shown(url), shown, bool(proxy) and scheme == "http")
        pool.conn_kw["host_connection"] = connection
        return connection

    def bounds(self, timeout: Any = None, size: int | None = None, silence: float | None = None) -> RequestBounds:
        """The bounds of one request; ``timeout`` as requests takes it (the second of two is for the whole answer)."""
        connect, total = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        return RequestBounds(
            self.timeout[0] if connect is None else connect,
            self.timeout[1] if total is None else total,
            self.largest if size is None else size,
            silence,
            self._broken_off,
        )

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Send one request once. ``timeout`` may be ``RequestBounds``; certificates and proxy are decided already.

        With ``stream`` the body is left unread, and whoever reads it does so under the same bounds; else it is read,
        unpacked, and no deeper JSON than can be parsed. Raises ServiceDown (``sent=False`` only where the request
        provably never left), its subclasses Blocked, TooLarge and Stopped, and SettingUnusable.
        """
        url = request.url or ""
        connection = self.host_connection(url)
        bounds = timeout if isinstance(timeout, RequestBounds) else self.bounds(timeout)
        bounds.host = connection.host
        token = BOUNDS.set(bounds)
        try:
            raw = _opened(connection, request, url if connection.whole_url else _path(url), bounds)
            response = Response(request, raw)
            if not stream:
                response._content = _whole(raw, bounds)
                response._content_consumed = True
        finally:
            BOUNDS.reset(token)
        if raw.status == 407:
            raw.close()
            raise failures.proxy_wants_login(connection.proxy)
        response.connection = self
        return response

    def close(self) -> None:
        """Close every idle connection: the managers only forget their pools, and leave the sockets to the collector."""
        with self._lock:
            for connection in self._hosts.values():
                connection.pool.close()
            self._hosts.clear()
        super().close()


def _ours(manager: Any) -> Any:
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return manager


def _opened(
    connection: HostConnection, request: requests.PreparedRequest, target: str, bounds: RequestBounds
) -> BaseHTTPResponse:
    """The answer with its body unread."""
    headers, body = cast("Mapping[str, str]", request.headers), cast("bytes | None", request.body)
    began = time.monotonic()
    try:
        return connection.pool.urlopen(
            request.method or "GET",
            target,
            body=body,
            headers=headers,
            timeout=Timeout(connect=bounds.connect, read=bounds.connect),  # reading has the bounds alone
            retries=_ONCE,
            redirect=False,
            assert_same_host=False,  # a proxy is asked by the whole address
            preload_content=False,
            decode_content=False,
        )
    except NotConnected as error:
        raise failures.not_connected(error, connection.host, connection.proxy, bounds.connect) from None
    except (HTTPError, HTTPException, OSError) as error:
        waited = min(bounds.silence or bounds.total, round(time.monotonic() - began, 1))  # less near a deadline
        raise failures.no_answer(error, connection.host, waited) from None
    except ValueError:
        raise failures.unsendable(connection.host) from None


def _whole(raw: BaseHTTPResponse, bounds: RequestBounds) -> bytes:
    """The body, unpacked, read part by part so that it is never much larger than wanted."""
    with reading(raw, bounds):
        parts, size, packed = [], 0, raw.headers.get("Content-Encoding", "").strip().lower() in _UNPACKED
        while part := raw.read1(_PART, decode_content=packed):
            parts.append(part)
            size += len(part)
            if size > bounds.size:
                raise bounds.too_large(bounds.size)
            if packed:
                bounds.wait()  # what is unpacked comes from memory, past the socket's bounds
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        _refuse_monsters(body, bounds)
    raw.release_conn()
    return body


@contextmanager
def reading(raw: BaseHTTPResponse, bounds: RequestBounds) -> Iterator[None]:
    """Around the reading of a body: a connection whose answer was not read to its end is not used again.

    Raises ServiceDown where it breaks off.
    """
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        raw.close()
        raw.release_conn()
        if isinstance(error, HTTPError | HTTPException | OSError):
            waited = round(time.monotonic() - began, 1)  # near a deadline that is less than the settings allow
            raise failures.broken_answer(error, bounds.host, waited) from None
        raise


def _refuse_monsters(body: bytes, bounds: RequestBounds) -> None:
    try:
        json_bounds.check(body)
    except json_bounds.OutOfBounds:
        raise failures.monstrous(bounds.host) from None


def _target(url: str) -> tuple[str, str, int]:
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.scheme, parts.hostname, port
    raise SettingUnusable(
        "an address does not have the form https://host/path",
        reason="setting-form",
        hint="check the addresses in the settings",
    )


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
