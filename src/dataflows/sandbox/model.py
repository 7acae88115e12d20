"""What a receiver of children's records holds, and the tokens that let a caller in."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal
from urllib.parse import parse_qs

from dataflows.flows.csc.schema import CHILD, ObjectKind
from dataflows.sandbox.faults import Faults
from dataflows.sandbox.service import Answer, Request, Route, Service

Stored = dict[str, Any]
Model = Literal["merge", "replace"]


def merge(stored: Mapping[str, Any] | None, sent: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """Bring one sent child into the stored one (None: not stored yet), key by key.

    Objects merge, lists with ids upsert by id, lists without ids are replaced when present, ``purge: true`` removes,
    what is absent stays. Returns the child in normal form, or None when it is purged. ``stored`` is left as it is.
    """
    return None if _purged(sent) else _merged(kind, stored or {}, sent)


def replace(stored: Mapping[str, Any] | None, sent: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """Take the sent child for the whole truth: what is absent is cleared. Returns it in normal form, None if purged."""
    return None if _purged(sent) else _merged(kind, {}, sent)


def normal(payload: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """What is stored when ``payload`` is all that was ever sent (the same under both readings)."""
    return merge(None, payload, kind)


MODELS: Mapping[Model, Callable[[Mapping[str, Any] | None, Mapping[str, Any], ObjectKind], Stored | None]] = {
    "merge": merge,
    "replace": replace,
}


def _purged(sent: Mapping[str, Any]) -> bool:
    return sent.get("purge") is True


def _merged(kind: ObjectKind, stored: Mapping[str, Any], sent: Mapping[str, Any]) -> Stored:
    result = dict(stored)
    for name, value in sent.items():
        if name in kind.single:
            _put(result, name, _one(kind.single[name], stored.get(name), value))
        elif name in kind.listed:
            _put(result, name, _items(kind.listed[name], stored.get(name, ()), value) or None)
        elif name != "purge":
            result[name] = value
    return result


def _one(kind: ObjectKind, stored: Mapping[str, Any] | None, sent: Mapping[str, Any]) -> Stored | None:
    return None if _purged(sent) else _merged(kind, stored or {}, sent)


def _items(kind: ObjectKind, stored: Any, sent: list[dict[str, Any]]) -> list[Stored]:
    item_id = itemgetter(kind.id_field)
    result: dict[str, Stored] = {item_id(item): item for item in stored}
    for item in sent:
        _put(result, item_id(item), _one(kind, result.get(item_id(item)), item))
    return [result[key] for key in sorted(result)]


def _put(target: dict[str, Any], name: str, value: object | None) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value


TENANT = "synthetic-tenant"
CLIENT_ID = "synthetic-client"
CLIENT_SECRET = "synthetic-secret"  # noqa: S105 - opens nothing but this sandbox
SCOPE = "api://synthetic-receiver/.default"


@dataclass
class TokenFaults(Faults):
    """The faults of the token endpoint.

    Attributes:
        token_seconds: what ``expires_in`` says, and when a token is really refused.
    """

    token_seconds: int = 3600


class TokenIssuer(Service):
    """Gives out tokens and knows which are still good."""

    name = "token"
    keeps_bodies = False  # they hold the client secret
    faults: TokenFaults

    def __init__(self, *, seed: int = 0, lean: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(TokenFaults(seed=seed, clock=clock), lean=lean)
        self.issued = 0
        self._seed = seed
        self._clock = clock
        self._good_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def routes(self) -> Iterable[Route]:
        """One path, as Microsoft's endpoint has it."""
        return [Route("POST", re.compile(rf"/{TENANT}/oauth2/v2\.0/token"), self._ask)]

    def accepts(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a token that is still good."""
        scheme, _, token = (authorization or "").partition(" ")
        with self._lock:
            return scheme.lower() == "bearer" and self._clock() < self._good_until.get(token, 0.0)

    def expire_all(self) -> None:
        """Refuse every token that was given out so far."""
        with self._lock:
            self._good_until.clear()

    def reset(self) -> None:
        """Forget tokens and requests."""
        super().reset()
        self.expire_all()
        self.issued = 0

    def _ask(self, request: Request) -> Answer:
        if request.headers.get("Content-Type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
            return _refused(400, "invalid_request", "the body must be form-encoded")
        form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return _refused(400, "unsupported_grant_type", "grant_type must be client_credentials")
        if not (_same(form.get("client_id"), CLIENT_ID) and _same(form.get("client_secret"), CLIENT_SECRET)):
            return _refused(401, "invalid_client", "the client is unknown or its secret is wrong")
        if form.get("scope") != SCOPE:
            return _refused(400, "invalid_scope", "the scope is unknown")
        return self._issue()

    def _issue(self) -> Answer:
        seconds = self.faults.token_seconds
        with self._lock:
            self.issued += 1
            token = "synthetic-" + hashlib.sha256(f"{self._seed}/{self.issued}".encode()).hexdigest()
            self._good_until[token] = self._clock() + seconds
        value = {"token_type": "Bearer", "expires_in": seconds, "access_token": token}
        return Answer.json(200, value, **{"Cache-Control": "no-store"})


def _same(given: str | None, right: str) -> bool:
    return hmac.compare_digest((given or "").encode(), right.encode())


def _refused(status: int, error: str, words: str) -> Answer:
    return Answer.json(status, {"error": error, "error_description": words})
