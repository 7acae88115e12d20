"""OAuth2 client credentials: one token for all threads, renewed before it ends and once after a service refused it."""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataflows.errors import DataflowsError, ServiceDown, SettingUnusable
from dataflows.remote.grants import Grant, MicrosoftGrants, PlainGrants, tenant

if TYPE_CHECKING:
    from dataflows.remote.retry import RetryPolicy
    from dataflows.remote.session import Session
    from dataflows.settings import Settings

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
            "TOKEN_ENDPOINT is not https", hint="http would show the secret on the way; it is for this machine only"
        )


def _before_the_request(error: DataflowsError) -> DataflowsError:
    """What the token was wanted for has not left, even if the request for the token has."""
    if isinstance(error, ServiceDown):
        error.sent = False
    return error
