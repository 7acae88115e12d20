"""Bearer tokens: kept while they are good, fetched plainly or by MSAL."""

from __future__ import annotations

import copy
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import orjson
import requests
from requests.adapters import BaseAdapter

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.remote.retry import raise_for_service
from dataflows.remote.session import Reply, send

if TYPE_CHECKING:
    from dataflows.remote.retry import RetryPolicy
    from dataflows.remote.session import Session
    from dataflows.settings import Settings


_HOSTS = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.windows.net",
    "sts.windows.net",
)

_REFUSALS = {
    "invalid_client": "CLIENT_ID or CLIENT_SECRET is not accepted",
    "unauthorized_client": "CLIENT_ID is not known there, or not allowed to do this",
    "invalid_scope": "SCOPE is not accepted",
    "invalid_request": "the request is not accepted, most often because of SCOPE or CLIENT_ID",
    "invalid_grant": "the credentials are not accepted",
    "access_denied": "CLIENT_ID has no permission",
}
"""The error names of RFC 6749 that this request can meet, in our words."""

_MICROSOFT = {
    7000215: "CLIENT_SECRET is wrong (its value is wanted, not its id)",
    7000222: "CLIENT_SECRET has expired: ask for a new one",
    700016: "CLIENT_ID is not known in this tenant",
    90002: "the tenant in TOKEN_ENDPOINT does not exist",
    70011: "SCOPE is not valid; it ends in /.default",
    1002012: "SCOPE is not valid; it ends in /.default",
    500011: "SCOPE names a service that this tenant does not know",
}
"""What Microsoft's error numbers (AADSTS...) mean for the settings."""


_LARGEST = 1024 * 1024  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Grant:
    """A token (never shown by repr), the monotonic second at which it ends, and the seconds that it lives in all."""

    value: str
    ends: float
    life: float

    def __repr__(self) -> str:
        return f"Grant(***, life={self.life:g})"


class PlainGrants:
    """The client credentials request of RFC 6749 section 4.4, the credentials in the form-encoded body."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings, self._session = settings, session

    def fetch(self) -> Grant:
        """Ask once. Raises AccessRefused, ServiceDown or SettingUnusable."""
        asked = time.monotonic()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        body = urlencode(self._form()).encode()
        url = self._settings.token_endpoint or ""
        reply = send(self._session, "POST", url, headers=headers, body=body, max_bytes=_LARGEST)
        _raise_for_trouble(reply)
        return _grant(_document(reply), reply.status, asked)

    def _form(self) -> dict[str, str]:
        secret = self._settings.client_secret
        return {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id or "",
            "client_secret": secret.reveal() if secret else "",
            "scope": self._settings.scope or "",
        }


class MicrosoftGrants:
    """MSAL on our session, with a new application for each fetch.

    A new one because MSAL remembers: a token that a service has just refused, and for up to a minute a 4xx, 429 or
    5xx of the endpoint. Building it costs no request, since TOKEN_ENDPOINT already says what discovery would.
    """

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings, self._session = settings, session
        self._authority = _authority(settings.token_endpoint or "")
        self._status = 0
        session.mount(self._authority + "/v2.0/.well-known/", _Discovery(settings.token_endpoint or ""))
        session.hooks["response"].append(self._heard)

    @staticmethod
    def serves(endpoint: str) -> bool:
        """Whether an endpoint is Microsoft's."""
        return urlsplit(endpoint).hostname in _HOSTS

    def fetch(self) -> Grant:
        """Ask once. Raises AccessRefused, ServiceDown or SettingUnusable."""
        import msal

        secret = self._settings.client_secret
        asked = time.monotonic()
        try:
            application = msal.ConfidentialClientApplication(
                self._settings.client_id,
                authority=self._authority,
                client_credential=secret.reveal() if secret else "",
                http_client=self._session,
                instance_discovery=False,
            )
            document = application.acquire_token_for_client(scopes=[self._settings.scope])
        except (ValueError, TypeError, AttributeError, LookupError, requests.RequestException):
            # MSAL's words for an authority or scope that it cannot use, and for an answer that makes no sense
            raise _no_token_endpoint(self._status) from None
        return _grant(document if isinstance(document, dict) else {}, self._status, asked)

    def _heard(self, response: requests.Response, **_: Any) -> None:
        """Look at an answer before MSAL does, which keeps neither Retry-After nor the status."""
        self._status = response.status_code
        _raise_for_trouble(Reply(response.status_code, response.headers, b"", 0.0))


class _Discovery(BaseAdapter):
    """Answers MSAL's question for the endpoints of an authority: TOKEN_ENDPOINT has been set already."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        facts = {"token_endpoint": endpoint, "authorization_endpoint": endpoint, "issuer": endpoint}
        self._body = json.dumps(facts).encode()

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response._content = 200, request, self._body
        return response

    def close(self) -> None:
        """Nothing is open."""


def tenant(endpoint: str) -> str:
    """Who issues the tokens: the tenant of a Microsoft endpoint, else its host."""
    parts = urlsplit(endpoint)
    return parts.path.split("/")[1] if MicrosoftGrants.serves(endpoint) else parts.hostname or ""


def _authority(endpoint: str) -> str:
    authority = endpoint.rstrip("/").removesuffix("/token")
    return authority.removesuffix("/oauth2/v2.0").removesuffix("/oauth2")


def _raise_for_trouble(reply: Reply) -> None:
    raise_for_service(reply, "the token endpoint")
    if reply.status >= 500:
        raise ServiceDown(
            f"the token endpoint answered {reply.status}", reason="token-service-down", hint="try again later"
        )


def _document(reply: Reply) -> dict[str, Any]:
    try:
        found = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _grant(document: dict[str, Any], status: int, asked: float) -> Grant:
    """The grant in an answer. Its life counts from the asking, so that a slow answer makes it shorter, not longer."""
    token = document.get("access_token")
    if status == 200 and isinstance(token, str) and token:
        life = _seconds(document.get("expires_in"))
        return Grant(token, asked + life, life)
    if status in (400, 401, 403):
        raise AccessRefused(
            f"the token endpoint answered {status}: {_why(document)}",
            reason="token-refused",
            hint="check TOKEN_ENDPOINT, CLIENT_ID, CLIENT_SECRET and SCOPE, then: dataflows test-endpoint",
        )
    raise _no_token_endpoint(status)


def _why(document: dict[str, Any]) -> str:
    """Our words for a refusal; of the endpoint's own, only a number and a name that we know are looked at."""
    numbers = document.get("error_codes")
    for number in numbers if isinstance(numbers, list) else []:
        if isinstance(number, int) and number in _MICROSOFT:
            return f"{_MICROSOFT[number]} (AADSTS{number})"
    name = document.get("error")
    return _REFUSALS.get(name, "the credentials are not accepted") if isinstance(name, str) else "no reason given"


def _no_token_endpoint(status: int) -> SettingUnusable:
    return SettingUnusable(
        f"TOKEN_ENDPOINT does not behave like a token endpoint (status {status})",
        reason="token-endpoint-wrong",
        hint="it looks like https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token; a proxy or a sign-in page may"
        " also be in between",
    )


def _seconds(value: object) -> float:
    """``expires_in`` is recommended, not required (RFC 6749 section 5.1); some services send it as text."""
    try:
        return min(max(0.0, float(str(value))), 86_400.0)
    except ValueError:
        return 3600.0


_EARLY = 300.0
"""Seconds before its end at which a token is renewed (MSAL's own margin); a fifth of the life of shorter ones."""

_PAUSE = 30.0
"""Seconds between two early renewals that fail while the old token is still good."""

_NEEDED = ("TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE")


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What may be said of a token: its tenant, the scope asked for, and the seconds that it is still good for."""

    tenant: str
    scope: str
    expires_in: int


class TokenSource:
    """The bearer token of TOKEN_ENDPOINT for CLIENT_ID, CLIENT_SECRET and SCOPE. Safe to share between threads.

    At most one request for a token is under way, whatever the number of threads; those that wait for it share its
    outcome, a failure too. Raises SettingUnusable at once for missing settings and for http to another machine.
    """

    def __init__(self, settings: Settings, session: Session, policy: RetryPolicy) -> None:
        settings.require(*_NEEDED)
        self._endpoint, self._scope = settings.token_endpoint or "", settings.scope or ""
        _refuse_open_http(self._endpoint)
        self._policy = policy
        microsoft = MicrosoftGrants.serves(self._endpoint)
        self._grants = MicrosoftGrants(settings, session) if microsoft else PlainGrants(settings, session)
        self._lock = threading.Lock()
        self._grant: Grant | None = None
        self._round = 0
        self._failure: DataflowsError | None = None
        self._not_early_before = 0.0

    def token(self) -> str:
        """A token that is good for now.

        Raises AccessRefused when the credentials are not accepted, ServiceDown (``sent=False``: what the token is for
        was not sent) when the endpoint does not answer within the policy, SettingUnusable when it is no token endpoint.
        """
        grant, now = self._grant, time.monotonic()
        if grant is None or now >= grant.ends:
            return self._renewed(grant).value
        if now >= max(_renew_at(grant), self._not_early_before):
            self._renew_early(grant)
        return (self._grant or grant).value

    def renew(self, stale: str) -> str:
        """A token other than ``stale``, which a service refused. However many threads ask, one request is made."""
        grant = self._grant
        if grant is not None and grant.value != stale:
            return self.token()
        return self._renewed(grant).value

    def describe(self) -> TokenFacts:
        """Fetch a token if there is none, and say what may be said of it. Raises as ``token`` does."""
        self.token()
        left = self._grant.ends - time.monotonic() if self._grant else 0.0
        return TokenFacts(tenant(self._endpoint), self._scope, round(left))

    def _renewed(self, old: Grant | None) -> Grant:
        before = self._round
        with self._lock:
            if self._grant is not None and self._grant is not old:
                return self._grant
            if self._round != before and self._failure is not None:
                raise copy.copy(self._failure)
            try:
                self._grant, self._failure = self._policy.call(self._grants.fetch, "token endpoint"), None
            except DataflowsError as error:
                self._failure = _before_the_request(error)
                raise self._failure from None
            finally:
                self._round += 1
            return self._grant

    def _renew_early(self, old: Grant) -> None:
        """One attempt by one thread; the others go on with the old token, and so does everybody if it fails."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._grant is old:
                self._grant = self._grants.fetch()
        except DataflowsError:
            self._not_early_before = time.monotonic() + _PAUSE
        finally:
            self._lock.release()


def _renew_at(grant: Grant) -> float:
    return grant.ends - min(_EARLY, grant.life / 5)


def _refuse_open_http(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise SettingUnusable(
            "TOKEN_ENDPOINT is not https",
            reason="token-endpoint-not-https",
            hint="http would expose the secret on the way; it is only allowed for this machine",
        )


def _before_the_request(error: DataflowsError) -> DataflowsError:
    """What the token was wanted for has not left, even if the request for the token has."""
    if isinstance(error, ServiceDown):
        error.sent = False
    return error
