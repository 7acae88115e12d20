"""Who may ask this server: the token, sessions of browsers, and guesses at either."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from starlette.types import Scope

from dataflows.errors import SettingUnusable
from dataflows.settings import Secret
from dataflows.web.answers import HttpRefusal

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
            HttpRefusal: 429, too many of this address are waiting already.
        """
        found = self._guessers.get(_address(scope))
        if found is None or found.wrong < FREE_GUESSES or time.monotonic() - found.last > FORGET_SECONDS:
            return
        if found.waiting >= MOST_IN_LINE:
            wait = {"Retry-After": str(max(1, round(MOST_IN_LINE * WAIT_SECONDS)))}
            raise HttpRefusal(
                429,
                "too_many_guesses",
                "too many wrong tokens came from this address",
                reason="too-many-guesses",
                headers=wait,
            )
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


HEADER = "X-Auth-Token"
COOKIE = "dataflows_runs"
SHORTEST_TOKEN = 8
"""Characters; a shorter one is guessed in no time, and blanks are none."""
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    ``open_to_all`` is whether routes other than /run and /files do without the token: True on loopback and with
    ``--allow-anonymous``. None, where another server started the app: true for connections to a loopback address.
    """

    token: Secret | None
    open_to_all: bool | None = None
    anonymous: bool = False
    """Whoever can connect is welcome (``--allow-anonymous``)."""
    sessions: Sessions = field(default_factory=Sessions)
    """The visitors of the run page who have shown the token."""

    def __post_init__(self) -> None:
        """Refuse a token that opens to anybody. Raises SettingUnusable."""
        if self.token is not None and len(self.token.reveal().strip()) < SHORTEST_TOKEN:
            raise SettingUnusable(
                f"RUN_TOKEN has fewer than {SHORTEST_TOKEN} characters",
                reason="run-token-short",
                hint='make one with: python -c "import secrets; print(secrets.token_urlsafe(24))"',
            )

    # --- what a request shows ---------------------------------------------------------------------------------

    def is_token(self, given: bytes) -> bool:
        """Whether this is the token; nothing is none."""
        token = "" if self.token is None else self.token.reveal()
        return bool(token.strip()) and hmac.compare_digest(given, as_bytes(token))

    def shown(self, request: Request, *, query: bool = False) -> bool:
        """Whether a request shows the token: in the header, or (``query``) in the address; all it shows must be right.

        Raises:
            HttpRefusal: 401, something else is shown.
        """
        given = [value.encode("latin-1") for value in request.headers.getlist(HEADER)]
        given += [as_bytes(value) for value in request.query_params.getlist("token")] if query else []
        if given and not all(self.is_token(one) for one in given):
            raise _unauthorised()
        return bool(given)

    def remembered(self, request: Request) -> bool:
        """Whether a request comes from a visitor of the run page who has shown the token."""
        return self.token is not None and self.sessions.holds(request.cookies.get(COOKIE, ""))

    # --- what a route asks for --------------------------------------------------------------------------------

    def require(self, request: Request, *, query: bool = False) -> None:
        """What /run and /files ask for: always the token (seed 000).

        Raises:
            HttpRefusal: 500 when there is no RUN_TOKEN, 401 when it is not shown.
        """
        if self.token is None:
            raise HttpRefusal(
                500,
                "setting_unusable",
                "RUN_TOKEN is not set",
                reason="run-token-missing",
                hint="set it, and start the server again",
            )
        if not self.shown(request, query=query):
            raise _unauthorised()

    def usual(self, request: Request) -> None:
        """What other routes ask for: the token, unless the server is open to all.

        Raises:
            HttpRefusal: as ``require``; 403 when a page in a browser of this machine sends what nobody asked for.
        """
        if self.token is not None and self.shown(request):
            return
        if not self._is_open(request):
            self.require(request)
        if not self.anonymous:
            _refuse_strange_pages(request)

    def page(self, request: Request) -> bool:
        """What pages for people ask for; returns whether to show them. Where there is a token, it is asked for once."""
        if self.token is None:
            self.usual(request)
            return True
        return self.remembered(request) or self.shown(request)

    def _is_open(self, request: Request) -> bool:
        if not self.anonymous and any(name in request.headers for name in _PASSED_ON):
            return False  # a proxy of this machine brings callers from elsewhere
        if self.open_to_all is not None:
            return self.open_to_all
        server = request.scope.get("server")
        return server is not None and is_loopback(server[0])


def as_bytes(text: str) -> bytes:
    """A text as it was sent or set; an environment may hold what is no UTF-8, and a form any character there is."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback


def _unauthorised() -> HttpRefusal:
    hint = f"send the value of RUN_TOKEN in the header {HEADER}"
    return HttpRefusal(
        401,
        "unauthorised",
        "the token is missing or wrong",
        reason="run-token-wrong",
        hint=hint,
        headers={"WWW-Authenticate": HEADER},
    )


def _refuse_strange_pages(request: Request) -> None:
    """Without a token, a web page that is open in a browser of this machine must not be able to start anything.

    Such a page comes with another Origin, or under a name of its own that leads here (DNS rebinding).
    """
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    origin = request.headers.get("origin")
    strange = origin is not None and _host_of(origin) != host and request.method not in _SAFE
    if not (name == "localhost" or is_loopback(name.strip("[]"))) or strange:
        hint = "call it as http://127.0.0.1, or set RUN_TOKEN and send it, or: dataflows serve --allow-anonymous"
        raise HttpRefusal(
            403,
            "strange_page",
            "without a token only programs on this machine are served",
            reason="local-only",
            hint=hint,
        )


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None where it has none, such as ``null``."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
