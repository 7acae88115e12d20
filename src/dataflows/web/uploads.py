"""Files that come with a request: bounded before anything is read, on disk while they are looked at, then gone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from dataflows.web.answers import HttpRefusal, too_slow

AT_ONCE = 8
"""So many files are looked at at the same time, after they have arrived."""
MOST_ARRIVING = 32
"""So many uploads arrive at the same time; others wait, unread."""
MOST_WAITING = 300
ROOM_SECONDS = 1.0
"""Whoever waits for so long takes the place of the upload that has brought least for its time."""
FIELD = "file"
ROUTES = frozenset({"/hospitals/bulk", "/hospitals/validate", "/batch/upload-csv"})
"""The only ones that may bring a file."""

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary", "description": "the CSV"}},
            }
        }
    },
}
"""How their body is described: we read it and not FastAPI, which would do so before the token."""

T = TypeVar("T")


class ReceivedUploads:
    """The uploads of one server."""

    def __init__(self) -> None:
        self._looks = asyncio.Semaphore(AT_ONCE)
        self._places = asyncio.Semaphore(MOST_ARRIVING)
        self._arriving: set[_Arriving] = set()
        self._waiting = 0

    async def read(self, request: Request, look: Callable[[Path], T]) -> T:
        """Receive the file of a request and return what ``look`` makes of it; afterwards it is gone.

        Raises:
            HttpRefusal: 422 there is no file; 503 too many are waiting; 413, 408 as ``Bounds``; and as ``look``.
        """
        folder = await run_in_threadpool(tempfile.mkdtemp, prefix="dataflows-upload-")
        try:
            async with self._place():
                path = await self._arrived(request, Path(folder, "upload.csv"))
                await self._looks.acquire()
            try:
                return await run_in_threadpool(look, path)
            finally:
                self._looks.release()
        finally:
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait for a place to arrive at; who brings next to nothing loses his to who waits."""
        if self._waiting >= MOST_WAITING:
            raise HttpRefusal(
                503, "busy", "too many uploads at the same time", reason="busy", headers={"Retry-After": "10"}
            )
        self._waiting += 1
        room = asyncio.get_running_loop().call_later(ROOM_SECONDS, self._make_room)
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            room.cancel()
        try:
            yield
        finally:
            self._places.release()

    async def _arrived(self, request: Request, path: Path) -> Path:
        one = _Arriving(request)
        self._arriving.add(one)
        try:
            async with one.limit:
                return await _saved(one.counted(), path)
        except TimeoutError:
            raise too_slow() from None
        finally:
            self._arriving.discard(one)

    def _make_room(self) -> None:
        long_enough = [one for one in self._arriving if one.age >= ROOM_SECONDS and not one.limit.expired()]
        if long_enough:
            min(long_enough, key=lambda one: one.got / one.age).evict()


class _Arriving:
    """One upload while it arrives."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.got = 0
        self.limit = asyncio.timeout(None)

    @property
    def age(self) -> float:
        """Seconds since it may arrive."""
        return self._loop.time() - self._began

    def counted(self) -> Request:
        """The request, whose bytes are counted as they come."""
        return Request(self._request.scope, self._receive)

    def evict(self) -> None:
        """Give up on it."""
        self.limit.reschedule(self._loop.time())

    async def _receive(self) -> Message:
        message = await self._request.receive()
        self.got += len(message.get("body", b""))
        return message


@asynccontextmanager
async def form_of(request: Request, *, files: int, fields: int) -> AsyncIterator[FormData]:
    """Read the form of a request; its files are closed at the end of the block.

    Raises:
        HttpRefusal: 400, it is in a character set that cannot be read.
        HTTPException: 400, it is no form, or has too many parts.
    """
    try:
        form = await request.form(max_files=files, max_fields=fields)
    except UnicodeError:  # "undefined" and "punycode" are character sets, too
        raise HttpRefusal(
            400, "bad_request", "the form cannot be read", reason="request-unusable", hint="send it as UTF-8"
        ) from None
    try:
        yield form
    finally:
        await form.close()


async def _saved(request: Request, path: Path) -> Path:
    async with form_of(request, files=1, fields=8) as form:
        found = form.get(FIELD)
        if not isinstance(found, UploadFile):
            detail = [{"loc": ["body", FIELD], "msg": "Field required", "type": "missing"}]
            raise HttpRefusal(
                422,
                "missing",
                "the request contains no file",
                reason="request-unusable",
                hint="send it as file=@...",
                detail=detail,
            )
        await run_in_threadpool(_copy, found, path)
    return path


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
