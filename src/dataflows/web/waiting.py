"""Waiting for what happens in a thread, without holding up the server."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def settled(future: Future[T], seconds: float | None = None) -> bool:
    """Wait until a future has its result, at most so many seconds (None: without end); returns whether it has.

    The future goes on when whoever waits for it goes away.
    """
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(_looked_at)
    await asyncio.wait([waiting], timeout=seconds)
    return future.done()


async def result(future: Future[T]) -> T:
    """Wait for a future and return its result. Raises what it raises."""
    await settled(future)
    return future.result()


def _looked_at(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()  # else asyncio complains of one that nobody asked for
