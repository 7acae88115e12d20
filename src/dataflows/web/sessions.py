"""Visitors of the run page: who has shown the token is remembered here, and forgotten here, not in the cookie alone."""

from __future__ import annotations

import hashlib
import secrets
import time

COOKIE_SECONDS = 12 * 3600
MOST_SESSIONS = 1000
"""Where there are more, the oldest one ends."""


class Sessions:
    """The sessions of one server, in its memory: a restart, and so a new token, ends them all."""

    def __init__(self) -> None:
        self._began: dict[bytes, float] = {}

    def begin(self) -> str:
        """Remember a visitor; returns the value of the cookie, of which only a hash is kept."""
        while len(self._began) >= MOST_SESSIONS:
            del self._began[next(iter(self._began))]
        value = secrets.token_urlsafe(32)
        self._began[_hashed(value)] = time.monotonic()
        return value

    def end(self, value: str) -> None:
        """Forget a visitor."""
        self._began.pop(_hashed(value), None)

    def holds(self, value: str) -> bool:
        """Whether a visitor is remembered."""
        began = self._began.get(_hashed(value))
        if began is None:
            return False
        if time.monotonic() - began <= COOKIE_SECONDS:
            return True
        self.end(value)
        return False


def _hashed(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="surrogateescape")).digest()
