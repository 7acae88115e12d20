"""The one HTTP session: pooled connections, verified TLS, the proxy looked up once, answers bounded in size and time.

Every request of every flow leaves through ``send``, so what counts as "not reached" and "no answer" is decided here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3.exceptions import HTTPError

from dataflows import __version__
from dataflows.errors import SettingUnusable
from dataflows.remote import failures, route
from dataflows.remote.connections import NotConnected, PlainPool, TlsPool, Way

if TYPE_CHECKING:
    from dataflows.settings import Settings

MAX_ANSWER = 16 * 1024 * 1024
"""The largest answer that is taken unless the caller says otherwise, in bytes."""

_PART = 64 * 1024
_ONCE = Retry(total=False, redirect=False)  # how often to try is decided in retry.py and nowhere else


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer: status, headers (looked up without case), body, and seconds from first byte out to last in."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Session:
    """Connections to any number of hosts, shared by all threads of a run. Close it at the end.

    Redirects are never followed (an answer 3xx comes back as it is), so credentials cannot leave for another host.
    """

    def __init__(self, settings: Settings, workers: int) -> None:
        self.timeout = (settings.http_connect_timeout_seconds, settings.http_timeout_seconds)
        self.headers = {"User-Agent": f"dataflows/{__version__}", "Accept-Encoding": "identity"}
        self._workers = workers
        self._context = route.trusted(settings.requests_ca_bundle)
        self._proxies = route.proxies()
        self._ways: dict[tuple[str, str], Way] = {}
        self._managers: dict[str | None, PoolManager] = {}
        self._lock = threading.Lock()

    def way(self, url: str) -> Way:
        """The way to a URL's host, opened at the first call. Raises SettingUnusable for what is no http(s) address."""
        parts = urlsplit(url)
        known = self._ways.get((parts.scheme, parts.netloc))
        if known is not None:
            return known
        with self._lock:
            key = (parts.scheme, parts.netloc)
            return self._ways.get(key) or self._ways.setdefault(key, self._open(url))

    def close(self) -> None:
        """Close every idle connection."""
        for manager in self._managers.values():
            manager.clear()
        self._ways.clear()

    def _open(self, url: str) -> Way:
        scheme, host, port = _target(url)
        proxy = route.proxy_for(scheme, host, port, self._proxies)
        manager = self._managers.get(proxy) or self._managers.setdefault(proxy, self._manager(proxy))
        pool = manager.connection_from_host(host, port, scheme)
        way = Way(pool, route.shown(url), route.shown(proxy) if proxy else None, bool(proxy) and scheme == "http")
        pool.conn_kw.update(way=way, patience=self.timeout[1])
        return way

    def _manager(self, proxy: str | None) -> PoolManager:
        common: dict[str, Any] = {"maxsize": self._workers, "block": False, "ssl_context": self._context}
        if proxy is None:
            manager = PoolManager(**common)
        else:
            login = make_headers(proxy_basic_auth=route.proxy_login(proxy))
            manager = ProxyManager(proxy, proxy_headers=login, proxy_ssl_context=self._context, **common)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
        return manager


def make_session(settings: Settings, workers: int = 1) -> Session:
    """The session of one run, its pools as large as the number of ``workers`` (threads that send at the same time).

    Proxies and certificates are read now and not again. Raises SettingUnusable for an unreadable REQUESTS_CA_BUNDLE.
    """
    return Session(settings, workers)


def send(
    session: Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: tuple[float, float] | None = None,
    max_bytes: int = MAX_ANSWER,
) -> Reply:
    """Send one request once and read its whole answer, whatever its status; nothing is repeated here.

    ``timeout``: seconds to connect, and seconds for the answer (HTTP_CONNECT_TIMEOUT_SECONDS, HTTP_TIMEOUT_SECONDS).
    Raises ServiceDown, with ``sent=False`` only where the request provably never left; its subclass Blocked where
    trying again cannot help (a proxy that wants a login, an untrusted certificate); SettingUnusable for an address or
    a header that HTTP cannot carry. Messages name host and port, nothing else of the request or the answer.
    """
    started = time.perf_counter()
    way, read = session.way(url), (timeout or session.timeout)[1]
    response = opened(session, method, url, headers=headers, body=body, timeout=timeout)
    content = _whole(response, way.host, max_bytes, read)
    if response.status == 407:
        raise failures.proxy_wants_login(way.proxy)
    return Reply(response.status, response.headers, content, time.perf_counter() - started)


def opened(
    session: Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: tuple[float, float] | None = None,
) -> BaseHTTPResponse:
    """Send one request once and return its answer with the body unread. The caller reads or closes it.

    Arguments and errors as for ``send``.
    """
    way = session.way(url)
    connect, read = timeout or session.timeout
    try:
        return way.pool.urlopen(
            method,
            url if way.whole_url else _path(url),
            body=body,
            headers={**session.headers, **headers},
            timeout=Timeout(connect=connect, read=read),
            retries=_ONCE,
            redirect=False,
            assert_same_host=False,  # a proxy is asked by the whole address
            preload_content=False,
        )
    except NotConnected as error:
        raise failures.not_connected(error, way.host, way.proxy, connect) from None
    except (HTTPError, HTTPException, OSError) as error:
        raise failures.no_answer(error, way.host, read) from None
    except ValueError:
        raise failures.unsendable(way.host) from None


def _whole(response: BaseHTTPResponse, host: str, limit: int, seconds: float) -> bytes:
    """The body, read part by part so that neither its size nor its slowness is without a bound."""
    until = time.monotonic() + seconds
    try:
        body = b"".join(_parts(response, limit, until))
    except BaseException as error:
        response.close()
        response.release_conn()
        if isinstance(error, (HTTPError, HTTPException, OSError)):
            raise failures.broken_answer(error, host, seconds) from None
        if isinstance(error, _TooLong):
            raise failures.too_long(host, limit) from None
        raise
    response.release_conn()
    return body


def _parts(response: BaseHTTPResponse, limit: int, until: float) -> Iterator[bytes]:
    size = 0
    while part := response.read1(_PART):
        size += len(part)
        if size > limit:
            raise _TooLong
        if time.monotonic() > until:
            raise TimeoutError
        yield part


class _TooLong(Exception):
    """The body is longer than the caller takes."""


def _target(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingUnusable("an address is not like https://host/path", hint="check the addresses in the settings")
    return parts.scheme, parts.hostname, port


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
