"""Files that come with a request: bounded before anything is read, on disk while they are looked at, then gone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from dataflows.web.answers import Refused

AT_ONCE = 8
"""So many uploads are read at the same time; others wait, unread."""
MOST_WAITING = 200
FIELD = "file"

BODY: dict[str, Any] = {
    "requestBody": {
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
}
"""How such a route is described: the body is read by us and not by FastAPI, which would do so before the token."""


class Uploads:
    """The uploads of one server."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Path]:
        """Receive the file of a request; it is there for the length of the block. Its name in the request is not used.

        Raises:
            Refused: 422 there is no file; 503 too many are waiting; 413, 408 as ``Bounds``.
        """
        if self._waiting >= MOST_WAITING:
            raise Refused(503, "busy", "too many uploads at the same time", headers={"Retry-After": "10"})
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            folder = await run_in_threadpool(tempfile.mkdtemp, prefix="dataflows-upload-")
            try:
                yield await _saved(request, Path(folder, "upload.csv"))
            finally:
                await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
        finally:
            self._slots.release()


@asynccontextmanager
async def form_of(request: Request, *, files: int, fields: int) -> AsyncIterator[FormData]:
    """Read the form of a request; its files are closed at the end of the block.

    Raises:
        Refused: 400, it is in a character set that cannot be read.
        HTTPException: 400, it is no form, or has too many parts.
    """
    try:
        form = await request.form(max_files=files, max_fields=fields)
    except UnicodeError:  # "undefined" and "punycode" are character sets, too
        raise Refused(400, "bad_request", "the form cannot be read", hint="send it as UTF-8") from None
    try:
        yield form
    finally:
        await form.close()


async def _saved(request: Request, path: Path) -> Path:
    async with form_of(request, files=1, fields=8) as form:
        found = form.get(FIELD)
        if not isinstance(found, UploadFile):
            detail = [{"loc": ["body", FIELD], "msg": "Field required", "type": "missing"}]
            raise Refused(422, "missing", "there is no file in the request", hint="send it as file=@...", detail=detail)
        await run_in_threadpool(_copy, found, path)
    return path


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
