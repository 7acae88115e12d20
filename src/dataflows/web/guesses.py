"""Wrong tokens slow down whoever sends them, before the next one is even looked at; what is remembered is bounded."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qs

from starlette.types import Scope

from dataflows.web.answers import HttpRefusal

FREE_GUESSES = 10
"""So many wrong tokens cost an address nothing."""
WAIT_SECONDS = 1.0
"""From then on each token that it shows waits for so long, one after the other."""
MOST_IN_LINE = 20
FORGET_SECONDS = 900.0
MOST_ADDRESSES = 1024
"""Where more have guessed wrong, the one that is quiet for longest is forgotten."""

pause = asyncio.sleep  # a test waits in its own way


@dataclass
class _Guesser:
    """One address: its wrong tokens, the last one's time, and the line of those that wait."""

    wrong: int = 0
    last: float = 0.0
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Guesses:
    """The guesses at the token of one server. An address of IPv6 counts by its network (/64)."""

    def __init__(self) -> None:
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    async def turn(self, scope: Scope) -> None:
        """Wait until a request that shows a token may be looked at.

        Raises:
            Refused: 429, too many of this address are waiting already.
        """
        found = self._guessers.get(_address(scope))
        if found is None or found.wrong < FREE_GUESSES or time.monotonic() - found.last > FORGET_SECONDS:
            return
        if found.waiting >= MOST_IN_LINE:
            wait = {"Retry-After": str(max(1, round(MOST_IN_LINE * WAIT_SECONDS)))}
            raise HttpRefusal(429, "too_many_guesses", "too many wrong tokens came from this address", headers=wait)
        found.waiting += 1
        try:
            async with found.turn:
                await pause(WAIT_SECONDS)
        finally:
            found.waiting -= 1

    def note_wrong(self, scope: Scope) -> None:
        """Remember that a token was wrong."""
        address = _address(scope)
        found = self._guessers.setdefault(address, _Guesser())
        now = time.monotonic()
        found.wrong = 1 if now - found.last > FORGET_SECONDS else found.wrong + 1
        found.last = now
        self._guessers.move_to_end(address)
        while len(self._guessers) > MOST_ADDRESSES:
            self._guessers.popitem(last=False)


def shows_token(scope: Scope, headers: Iterable[bytes]) -> bool:
    """Whether a request shows a token, right or wrong: in one of these headers, in the address, or in the form."""
    if any(name in headers for name, _ in scope["headers"]):
        return True
    if scope["path"] == "/runs/enter":
        return True
    in_address = scope["path"].startswith("/files/") and scope.get("query_string", b"")
    return bool(in_address) and "token" in parse_qs(in_address.decode("latin-1"), keep_blank_values=True)


def _address(scope: Scope) -> str:
    host = str((scope.get("client") or ("", 0))[0])
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(int(address) >> 64) if isinstance(address, IPv6Address) and not address.ipv4_mapped else host
