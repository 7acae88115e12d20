"""One request for one token: by MSAL where the endpoint is Microsoft's, by plain client credentials elsewhere."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import orjson
import requests
from requests.adapters import BaseAdapter

from dataflows.errors import AccessRefused, ServiceDown, SettingUnusable
from dataflows.remote.retry import raise_for_service
from dataflows.remote.session import Reply, send

if TYPE_CHECKING:
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
        raise ServiceDown(f"the token endpoint answered {reply.status}", hint="running again later can help")


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
        hint="it looks like https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token; a proxy or a sign-in page may"
        " also stand in between",
    )


def _seconds(value: object) -> float:
    """``expires_in`` is recommended, not required (RFC 6749 section 5.1); some services send it as text."""
    try:
        return min(max(0.0, float(str(value))), 86_400.0)
    except ValueError:
        return 3600.0
