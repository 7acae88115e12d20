"""Jobs as a route starts them: in the background, answered when they end or after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeVar

from fastapi import Query
from starlette.concurrency import run_in_threadpool

from dataflows.errors import AlreadyRunning
from dataflows.runs.background import BackgroundJob
from dataflows.runs.journal import RUNNING
from dataflows.runs.logs import RunLog
from dataflows.runs.runner import Job, Order, Outcome
from dataflows.web.answers import HttpRefusal, refusal
from dataflows.web.context import ServerContext

Wait = Annotated[
    float | None,
    Query(ge=0, le=3600, description="Answer after this many seconds at the latest, with 202 if it is still running."),
]

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


class JobRequest(NamedTuple):
    """What is to be run: the command, what it locks, its options as the journal keeps them, and the job."""

    command: str
    target: str
    options: Mapping[str, object]
    job: Job
    batch_id: str | None = None


@dataclass(frozen=True)
class Started:
    """A job that has become a run. ``batch_id`` is None where it has none, or does not know it yet."""

    run_id: str
    batch_id: str | None
    ended: Future[Outcome]


async def start(context: ServerContext, wanted: JobRequest, status_url: str) -> Started:
    """Start a job; returns once it is a run. ``status_url`` is where its state is found, with ``{run_id}`` in it.

    Raises:
        HttpRefusal: 409 when the same job is running, naming that run.
        ServiceDown: there are too many jobs, or the server is stopping.
        SettingUnusable, BadInput: the data folder or the journal cannot be used.
    """
    work = await run_in_threadpool(in_background, context, wanted)
    try:
        return Started(await result(work.begun), wanted.batch_id, work.ended)
    except AlreadyRunning as error:
        raise await run_in_threadpool(_busy, context, error, work.order, status_url) from None


def in_background(context: ServerContext, wanted: JobRequest) -> BackgroundJob:
    """Give a job, with a log of its own, to the background. Raises ServiceDown: there are too many."""
    settings = context.settings
    run_log = RunLog(settings.data_dir, wanted.command, level=settings.log_level, keep_days=settings.log_keep_days)
    order = Order(
        wanted.command,
        wanted.target,
        wanted.options,
        settings.data_dir,
        runs_keep_days=settings.runs_keep_days,
        log_file=run_log.path,
        batch_id=wanted.batch_id,
    )
    return context.background.start(order, wanted.job, run_log)


def _busy(context: ServerContext, error: AlreadyRunning, order: Order, status_url: str) -> HttpRefusal:
    running = context.journal.runs(state=RUNNING, command=order.command)
    first = next((record for record in running if record.target == order.target), None)
    if first is None:
        return refusal(error)
    url = status_url.format(run_id=first.run_id, batch_id=first.batch_id)
    return refusal(error, run_id=first.run_id, batch_id=first.batch_id, status_url=url)
