"""A bare HTTP client for looking at the sandbox from outside."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from dataflows.sandbox.server import Sandbox


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    box: Sandbox,
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5,
) -> Reply:
    """One request on a connection of its own; ``url`` may be a path."""
    connection = http.client.HTTPConnection(urlsplit(box.url).netloc, timeout=timeout)
    try:
        connection.request(method, urlsplit(url)._replace(scheme="", netloc="").geturl(), body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def ask_token(box: Sandbox, content_type: str = "application/x-www-form-urlencoded", **changes: str) -> Reply:
    """Ask for a token, with some of the form changed."""
    given = box.settings()
    form = {
        "grant_type": "client_credentials",
        "client_id": given["CLIENT_ID"],
        "client_secret": given["CLIENT_SECRET"],
        "scope": given["SCOPE"],
        **changes,
    }
    return ask(box, "POST", given["TOKEN_ENDPOINT"], urlencode(form).encode(), {"Content-Type": content_type})


def token_of(box: Sandbox) -> str:
    """A good token."""
    value: str = ask_token(box).json["access_token"]
    return value


def post(
    box: Sandbox,
    records: object,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5,
) -> Reply:
    """Send children, with some of the headers changed."""
    given = box.settings()
    all_headers = {
        "Authorization": f"Bearer {token or token_of(box)}",
        "SupplierKey": given["SUPPLIER_KEY"],
        "Content-Type": "application/json",
        **(headers or {}),
    }
    body = records if isinstance(records, bytes) else json.dumps(records).encode()
    path = f"/children_social_care_data/{given['LA_CODE']}/children"
    return ask(box, "POST", path, body, all_headers, timeout)


def child(n: int = 1, **more: Any) -> dict[str, Any]:
    """A very small synthetic child."""
    return {"la_child_id": f"SYN{n}", **more}
