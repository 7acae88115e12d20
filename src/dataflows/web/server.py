"""The server's process: its sockets, its log without tokens, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from urllib.parse import quote, unquote

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from dataflows.errors import SettingUnusable
from dataflows.runs.gc_tuning import rare_collections
from dataflows.runs.pool import Stop
from dataflows.runs.runner import signals
from dataflows.settings import Secret
from dataflows.web.access import is_loopback
from dataflows.web.answers import HttpRefusal


def masked(text: str, token: Secret | None) -> str:
    """A text without the token."""
    return text if token is None else text.replace(token.reveal(), "***")


class _WithoutToken(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[Secret] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut what follows the ? out of a line of uvicorn.access (client, method, path, HTTP version, status)."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            record.args = (client, self._masked(str(method)), quote(self._masked(_address(path)), safe="/*"), *rest)
        return True

    def _masked(self, text: str) -> str:
        for token in self.tokens:
            text = masked(text, token)
        return text


def _address(path: object) -> str:
    return unquote(str(path).partition("?")[0])


class _Nothing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave everything out."""
        return False


_access, _asgi = _WithoutToken(), _Nothing()


def quiet_access_log(token: Secret | None) -> None:
    """Keep queries and the token out of the logs of a uvicorn that somebody else has started and set up."""
    if token is not None and token not in _access.tokens:
        _access.tokens.append(token)
    logging.getLogger("uvicorn.access").addFilter(_access)  # a second time changes nothing
    logging.getLogger("uvicorn.asgi").addFilter(_asgi)


REQUEST_SECONDS = 20.0
"""The first line and the headers of a request have to arrive within so many seconds."""
LINGER_SECONDS = 5.0
"""So long the rest of a body is thrown away after its request was answered, so that the answer can be read."""
MOST_CONNECTIONS = 800
"""When there are more, the one that has been silent for longest is closed."""
_GRACE_SECONDS = 35  # requests that wait for jobs, which have 30 s to end
_BACKLOG = 512
_TURN_SECONDS = 0.0005  # each of many busy threads gets so long before the server's own has its turn (default: 0.005)


def listen(host: str, port: int) -> list[socket.socket]:
    """Open the sockets to listen on.

    Raises:
        SettingUnusable: the address is not of this machine, or somebody else listens there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise SettingUnusable(
            f"there is no address {host}",
            reason="serve-address",
            hint="set APP_HOST or --host to an address of this machine",
        ) from None
    sockets: list[socket.socket] = []
    why = ""
    for family, _, _, _, address in found:
        try:
            sockets.append(_bound(family, address if not sockets else _same_port(address, sockets[0])))
        except OSError as error:
            why = error.strerror or type(error).__name__
    if not sockets:
        raise SettingUnusable(
            f"cannot listen on {host} port {port}: {why.lower()}",
            reason="serve-address",
            hint="is the port in use, or the address not this machine's? see --host (APP_HOST) and --port (APP_PORT)",
        )
    return sockets


def is_open(sockets: Sequence[socket.socket]) -> bool:
    """Whether these listen to this machine alone."""
    return all(is_loopback(one.getsockname()[0]) for one in sockets)


def address_of(sockets: Sequence[socket.socket]) -> str:
    """Where a browser finds them."""
    host, port = sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sockets: list[socket.socket]) -> bool:
    """Serve until a signal comes; returns whether one did."""
    sys.setswitchinterval(_TURN_SECONDS)
    stop = Stop()
    # a search for cycles through all of the libraries takes 100 ms; uvicorn sends itself the signal that has ended it
    with rare_collections(), signals(stop, lambda: None):
        server_of(app).run(sockets=sockets)
    return stop.is_set()


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server, not yet started: our protocol, no access log (it would hold tokens), bounded in every way."""
    config = uvicorn.Config(
        app,
        http=Prompt,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


class Prompt(H11Protocol):
    """Closes connections that send half a request and then nothing, or a body that nobody wants."""

    _timer: asyncio.TimerHandle | None = None
    _lingers = False
    _silent_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._silent_since = self.loop.time()
        self._expect(REQUEST_SECONDS)
        self._make_room()

    def handle_events(self) -> None:
        """Take in what has arrived."""
        super().handle_events()
        if self._is_answered():
            return  # however much of the rest arrives, there is no more time for it
        if self.conn.their_state is not h11.IDLE:
            self._calm()
        elif self._timer is None or self._lingers:
            self._expect(REQUEST_SECONDS)

    def on_response_complete(self) -> None:
        """After an answer: wait for the next request, or for the rest of this one, but not long."""
        self._silent_since = self.loop.time()
        super().on_response_complete()
        if self._is_answered():
            self._expect(LINGER_SECONDS)
            self._lingers = True

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as every error is answered; in the middle of another answer there is no room."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = HttpRefusal(
                400, "bad_request", "the request is not HTTP", reason="request-unusable", hint="see /docs"
            ).response()
            headers = [*answer.raw_headers, (b"connection", b"close")]
            start = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for event in (start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._calm()
        super().connection_lost(exc)

    def _is_answered(self) -> bool:
        """Whether the answer is sent while the request has not ended."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _make_room(self) -> None:
        """Where there are too many connections, close the one on which nobody has waited for an answer for longest."""
        alive = [one for one in self.connections if isinstance(one, Prompt) and not one.transport.is_closing()]
        if len(alive) > MOST_CONNECTIONS:
            spare = (one for one in alive if one.cycle is None or one.cycle.response_complete)
            min(spare, key=lambda one: one._silent_since, default=self)._close()

    def _expect(self, seconds: float) -> None:
        self._calm()
        self._lingers = False
        self._timer = self.loop.call_later(seconds, self._close)

    def _calm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    # asyncio switches TCP_NODELAY on only where the protocol is named; without it a kept connection waits 40 ms
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":  # where SO_REUSEADDR would let others take the port over
            one.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _same_port(address: tuple[object, ...], first: socket.socket) -> tuple[object, ...]:
    """A free port that was chosen for the first address is taken for the others, too."""
    host, _, *rest = address
    return (host, first.getsockname()[1], *rest)
