"""How an error becomes an answer: always JSON, the status by the exit code, never a far side's words."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from dataflows.errors import DataflowsError, ExitCode, ServiceDown

STATUSES: Mapping[ExitCode, int] = {
    ExitCode.OK: 200,
    ExitCode.BUG: 500,
    ExitCode.USAGE: 422,
    ExitCode.SOME_FAILED: 200,
    ExitCode.ALL_FAILED: 200,
    ExitCode.SETTINGS: 500,
    ExitCode.ALREADY_RUNNING: 409,
    ExitCode.ACCESS_REFUSED: 502,
    ExitCode.SERVICE_DOWN: 503,
    ExitCode.BAD_INPUT: 422,
    ExitCode.INTERRUPTED: 503,
}

ANYWHERE = (400, 408, 413, 429, 500)
"""What any request can be answered with: it is broken, too slow or too large, one of too many guesses, or we are."""

log = logging.getLogger("dataflows.web")


class Explained(BaseModel):
    """What happened, and what to do; ``reason`` names the situation, and the documentation has an entry for it."""

    code: str
    reason: str
    message: str
    hint: str


class Failure(BaseModel):
    """Every error of this server. ``detail`` is what FastAPI's errors have: a text, or a list with places."""

    detail: str | list[dict[str, Any]]
    error: Explained


class HttpRefusal(Exception):
    """A request that is answered with an error of HTTP's own."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        reason: str,
        hint: str = "",
        detail: list[dict[str, Any]] | None = None,
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.content: dict[str, object] = {
            "detail": detail or message,
            "error": {"code": code, "reason": reason, "message": message, "hint": hint},
            **(more or {}),
        }
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.content, self.status, self.headers)


def refusal(error: DataflowsError, **more: object) -> HttpRefusal:
    """One of our errors as an answer, with more fields beside it."""
    wait = error.wait if isinstance(error, ServiceDown) else None
    headers = {} if wait is None else {"Retry-After": str(round(wait))}
    status = STATUSES[error.exit_code]
    return HttpRefusal(
        status, error.code, error.message, reason=error.reason, hint=error.hint, more=more, headers=headers
    )


@contextmanager
def as_refusals() -> Iterator[None]:
    """Let every error of ours in the block become an answer. Raises HttpRefusal."""
    try:
        yield
    except DataflowsError as error:
        raise refusal(error) from None


def unknown(what: str, hint: str = "") -> HttpRefusal:
    """404: there is no such thing."""
    return HttpRefusal(404, "not_found", f"no such {what}", reason="not-found", hint=hint)


def too_slow() -> HttpRefusal:
    """408: the body drips in."""
    return HttpRefusal(
        408, "too_slow", "the request did not arrive in time", reason="request-unusable", hint="send it in one go"
    )


class WholeFile(FileResponse):
    """A file in one piece. Nobody asked for parts, and what is wrong about a Range would not be answered in our way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, whatever part was asked for: a server may do that."""
        self.headers["accept-ranges"] = "none"
        headers = [header for header in scope["headers"] if header[0] not in (b"range", b"if-range")]
        await super().__call__({**scope, "headers": headers}, receive, send)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI; those that any route can have are added."""
    every = sorted({*statuses, *ANYWHERE, 503})
    return {status: {"model": Failure, "description": HTTPStatus(status).phrase} for status in every}


def install(app: FastAPI) -> None:
    """Let the app answer every error in our way."""
    app.add_exception_handler(HttpRefusal, _refused)
    app.add_exception_handler(DataflowsError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpRefusal)
    return error.response()


async def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DataflowsError)
    return refusal(error).response()


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return HttpRefusal(error.status_code, code, phrase, reason="http-status", headers=error.headers).response()


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """A parameter that cannot be read. What was sent is not sent back: it may be a token in the wrong place."""
    assert isinstance(error, RequestValidationError)
    detail = [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    return HttpRefusal(
        422, "invalid", "the request cannot be read", reason="request-unusable", hint="see /docs", detail=detail
    ).response()


def bug(error: Exception) -> HttpRefusal:
    """500: what nobody foresaw goes to the log, and nothing of it into the answer."""
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return HttpRefusal(
        500, "bug", "this is a bug in dataflows", reason="bug", hint="please report it with the log of the server"
    )
