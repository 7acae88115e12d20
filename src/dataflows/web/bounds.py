"""What is around every request: bounds on its size and time, headers of every answer, and one line in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflows.runs.logs import RunLog
from dataflows.web import answers
from dataflows.web.access import HEADER, Guesses, shows_token
from dataflows.web.answers import HttpRefusal, bug, too_slow
from dataflows.web.context import ServerContext
from dataflows.web.server import masked, quiet_access_log
from dataflows.web.uploads import ROUTES

if TYPE_CHECKING:
    from dataflows.settings import Settings

MOST_REQUESTS = 400
"""So many requests are under way at the same time; further ones are answered with 503."""
BODY_SECONDS = 60.0
"""A body has to arrive within so many seconds."""
BODY_GRACE_SECONDS = 5.0
SLOWEST_BODY = 1024
"""After the grace it has to have kept up with so many bytes a second."""
SMALL_BODY = 64 * 1024
"""Bytes; only uploads may be larger."""

_ENVELOPE = 64 * 1024  # bytes of multipart around the file itself
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # addresses of /files hold the token
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
_TOKEN_HEADER = HEADER.lower().encode()
_LONGEST_PATH, _LONGEST_METHOD = 200, 20
_GONE = 499  # in the log only: the caller went away in the middle of the request

log = logging.getLogger("dataflows.web")


def install(app: FastAPI, context: ServerContext, run_log: RunLog | None) -> None:
    """Put the bounds around an app, let it answer every error in our way, and keep the token out of foreign logs."""
    answers.install(app)
    app.add_middleware(Bounds, settings=context.settings, run_log=run_log)
    quiet_access_log(context.settings.run_token)


class Bounds:
    """The outermost layer of the app. ``run_log``: takes what is said of requests, and no run's log does then."""

    def __init__(self, app: ASGIApp, settings: Settings, run_log: RunLog | None = None) -> None:
        self._app = app
        self._most_upload = settings.upload_max_bytes + _ENVELOPE
        self._token = settings.run_token  # must not come into the log
        self._run_log = run_log
        self._under_way = 0
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._run_log is not None:
            self._run_log.take_over()
        scope = _without_slash(scope)
        request = _Request(scope, receive, send, self._most(scope["path"]))
        self._under_way += 1
        try:
            await self._serve(request)
        finally:
            self._under_way -= 1
            self._log(request)

    async def _serve(self, request: _Request) -> None:
        try:
            if self._under_way > MOST_REQUESTS and request.scope["path"] != "/health":
                raise HttpRefusal(
                    503, "busy", "too many requests at the same time", reason="busy", headers={"Retry-After": "5"}
                )
            request.refuse_ambiguous()
            request.refuse_declared()
            if not shows_token(request.scope, (_TOKEN_HEADER,)):
                await self._app(request.scope, request.receive, request.send)
                return
            await self._guesses.turn(request.scope)
            await self._app(request.scope, request.receive, request.send)
            if request.status == HTTPStatus.UNAUTHORIZED:
                self._guesses.note_wrong(request.scope)
        except HttpRefusal as refused:  # as a rule a route's own handler has answered already
            await request.end(refused)
        except ClientDisconnect:
            request.status = _GONE
        except Exception as error:  # here and not further out, where a server would print it with all that it quotes
            await request.end(bug(error))

    def _most(self, path: str) -> int:
        return self._most_upload if path in ROUTES else SMALL_BODY

    def _log(self, request: _Request) -> None:
        scope, token = request.scope, self._token
        method, path = masked(scope["method"], token), masked(scope["path"], token)
        took = round(1000 * (time.monotonic() - request.began))
        usual = scope["path"] in ("/health", "/metrics") and request.status == 200
        level = logging.DEBUG if usual else logging.INFO
        log.log(level, "%s %s %d in %d ms", method[:_LONGEST_METHOD], path[:_LONGEST_PATH], request.status, took)


class _Request:
    """One request while it is served."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self.scope = scope
        self.began = time.monotonic()
        self.status = 0
        self._receive = receive
        self._send = send
        self._most = most
        self._got = 0
        self._asked: float | None = None
        self._whole = False

    def refuse_ambiguous(self) -> None:
        """Refuse a body of two lengths: a proxy before us may have taken the other one (request smuggling)."""
        names = {name for name, _ in self.scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:
            raise HttpRefusal(
                400,
                "ambiguous",
                "the request states two lengths",
                reason="request-unusable",
                headers={"Connection": "close"},
            )

    def refuse_declared(self) -> None:
        """Refuse a body that says itself that it is too large, before any of it is read."""
        declared = dict(self.scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most:
            raise _too_large(self._most)

    async def receive(self) -> Message:
        """Receive some more of the body.

        Raises:
            HttpRefusal: 413 when it is too large, 408 when it takes too long.
        """
        if self._whole:  # from here on it is about the client going away
            return await self._receive()
        self._asked = self._asked or time.monotonic()
        allowed = min(BODY_SECONDS, BODY_GRACE_SECONDS + self._got / SLOWEST_BODY)
        try:
            async with asyncio.timeout(self._asked + allowed - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise too_slow() from None
        self._got += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._got > self._most:
            raise _too_large(self._most)
        return message

    async def end(self, refused: HttpRefusal) -> None:
        """Answer, unless an answer has begun already: that one breaks off."""
        if not self.status:
            await refused.response()(self.scope, self.receive, self.send)

    async def send(self, message: Message) -> None:
        """Send some of the answer; its beginning gets the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            more = [header for header in _HEADERS if header[0] not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


def _without_slash(scope: Scope) -> Scope:
    """The same route with and without a slash at its end, as the seeds had it by redirects."""
    path = scope["path"]
    return {**scope, "path": path[:-1]} if path.endswith("/") and path.strip("/") and path[-2:] != "//" else scope


def _too_large(most: int) -> HttpRefusal:
    return HttpRefusal(413, "too_large", f"the request is larger than {most:,} bytes", reason="request-unusable")
