"""The one HTTP session: a requests session for one far side, without cookies, redirects and environment.

Every request of every flow, of MSAL and of Google's client leaves through such a session and its one adapter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.hooks import dispatch_hook

from dataflows import __version__
from dataflows.remote.adapter import MAX_ANSWER, BoundedAdapter
from dataflows.remote.connections import HostConnection, RequestBounds

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["MAX_ANSWER", "Reply", "Session", "make_session", "send"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer: status, headers (looked up without case), body, and seconds from first byte out to last in."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Session(requests.Session):
    """Connections to one far side, shared by all threads of a run. Close it at the end.

    Redirects are never followed (an answer 3xx comes back as it is), so credentials cannot leave for another host;
    cookies are not kept. ``broken_off`` is asked while an answer is waited for.
    """

    def __init__(
        self, settings: Settings, workers: int = 1, broken_off: Callable[[], bool] | None = None, **more: Any
    ) -> None:
        super().__init__(**more)
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.headers.clear()
        self.headers.update({"User-Agent": f"dataflows/{__version__}", "Accept-Encoding": "identity"})
        self.plain_headers = dict(self.headers)
        self.adapter = BoundedAdapter(settings, workers, broken_off)
        self.mount("https://", self.adapter)
        self.mount("http://", self.adapter)

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to connect, and for the whole answer."""
        return self.adapter.timeout

    def host_connection(self, url: str) -> HostConnection:
        """How a URL's host is reached. Raises SettingUnusable for what is no http(s) address."""
        return self.adapter.host_connection(url)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a prepared request once; what the adapter raises is raised here."""
        adapter = self.adapter if len(self.adapters) == 2 else self.get_adapter(request.url or "")
        stream, timeout = options.get("stream", False), options.get("timeout")
        response = adapter.send(request, stream=stream, timeout=timeout)
        if request.hooks["response"]:
            response = dispatch_hook("response", request.hooks, response)
        return response


def make_session(settings: Settings, workers: int = 1, broken_off: Callable[[], bool] | None = None) -> Session:
    """A session for one far side, its pools as large as the number of ``workers`` (threads that send at once).

    Proxies and certificates are read now and not again. ``broken_off`` ends the waiting for an answer when it says
    yes (``Stop.grace_is_over``). Raises SettingUnusable for an unreadable REQUESTS_CA_BUNDLE.
    """
    return Session(settings, workers, broken_off)


def send(
    session: Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: tuple[float, float] | None = None,
    max_bytes: int = MAX_ANSWER,
    broken_off: Callable[[], bool] | None = None,
) -> Reply:
    """Send one request once and read its whole answer, whatever its status; nothing is repeated here.

    ``timeout``: seconds to connect, and seconds from the first byte out to the last byte in
    (HTTP_CONNECT_TIMEOUT_SECONDS, HTTP_TIMEOUT_SECONDS). Raises ServiceDown, with ``sent=False`` only where the
    request provably never left; its subclass Blocked where trying again cannot help (a proxy that wants a login, an
    untrusted certificate); SettingUnusable for an address or a header that HTTP cannot carry. Messages name host and
    port, nothing else of the request or the answer.
    """
    started = time.perf_counter()
    bounds = session.adapter.bounds(timeout, max_bytes)
    bounds.broken_off = broken_off or bounds.broken_off
    response = session.send(prepared(session, method, url, headers, body), timeout=bounds)
    return Reply(response.status_code, response.headers, response.content, time.perf_counter() - started)


def opened(
    session: Session, method: str, url: str, *, headers: Mapping[str, str], bounds: RequestBounds
) -> requests.Response:
    """Send one request once and return its answer with the body unread (``.raw``). The caller reads or closes it.

    Raises as ``send``.
    """
    return session.send(prepared(session, method, url, headers, None), timeout=bounds, stream=True)


def prepared(
    session: Session, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    """A request as it is given: requests' own preparing costs as much as the sending, and we need none of it."""
    request = requests.PreparedRequest()
    request.method, request.url, request.body = method, url, body
    request.headers = {**session.plain_headers, **headers}  # type: ignore[assignment]  # the adapter takes any mapping
    return request
