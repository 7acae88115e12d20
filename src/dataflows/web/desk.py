"""What the routes share: the settings, the journal, and the jobs that are at work."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from dataflows.errors import AlreadyRunning
from dataflows.flows.practice.patients import job as patients
from dataflows.flows.practice.therapists import job as therapists
from dataflows.runs.background import Background, BackgroundJob
from dataflows.runs.history import see_what_died
from dataflows.runs.journal import RUNNING, Journal, RunRecord
from dataflows.runs.logs import RunLog
from dataflows.runs.runner import Job, Order, Outcome
from dataflows.web.access import Access
from dataflows.web.answers import HttpRefusal, refusal

if TYPE_CHECKING:
    from dataflows.settings import Settings


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


@dataclass(frozen=True)
class Import:
    """One of the two imports: its command, how often it runs (s), and how a pass is made."""

    command: str
    every: float
    a_pass: Callable[[Settings], tuple[str, Mapping[str, object], Job]]


def _patients(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
    options = patients.Options()
    return patients.target(settings), patients.options_to_json(options), patients.bring_in(settings, options)


def _therapists(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
    options = therapists.Options()
    therapists.check(settings, options)
    return therapists.target(settings), therapists.options_to_json(options), therapists.bring_in(settings, options)


HOUR, WEEK = 3600.0, 7 * 86_400.0
IMPORTS: Mapping[str, Import] = {  # as often as seed 002 asks for
    "patients": Import(patients.COMMAND, HOUR, _patients),
    "therapists": Import(therapists.COMMAND, WEEK, _therapists),
}


@dataclass
class Watched:
    """One import that this server runs. Written by its loop, read by the routes."""

    what: Import
    every: float
    since: float = field(default_factory=time.time)
    ended: int | None = None
    """The exit code with which the loop itself gave up; None while it goes on."""


COMMAND = "serve"
GRACE_SECONDS = 32.0
"""So long the end of the server waits for jobs, which have 30 s themselves."""

log = logging.getLogger("dataflows.web")


class ServerContext:
    """One server's place of work.

    Args:
        told: is called with every outcome, in the thread of its job.
    """

    def __init__(self, settings: Settings, access: Access, told: Callable[[Outcome], None] = lambda _: None) -> None:
        self.settings = settings
        self.access = access
        self.background = Background(told)
        self.watched: Mapping[str, Watched] = {}
        """The imports that this server runs."""
        self._journal: Journal | None = None

    # --- from start to end ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the journal unless that was done, and see what died. Raises SettingUnusable, BadInput, ServiceDown."""
        if self._journal is None:
            self._journal = Journal.open(self.settings.data_dir)
            self.see_what_died()

    def stop(self, *, hurry: bool = False) -> None:
        """Ask every job to stop."""
        self.background.stop(hurry=hurry)

    def close(self) -> None:
        """Stop all jobs, give them their grace, and close the journal."""
        self.background.stop()
        if not self.background.join(GRACE_SECONDS):
            log.warning("jobs are still at work after %d s; they are resumable", GRACE_SECONDS)
        self.journal.close()

    @property
    def journal(self) -> Journal:
        """The journal, for looking; each job writes with a connection of its own."""
        assert self._journal is not None, "the server has not started"
        return self._journal

    def see_what_died(self) -> None:
        """Call runs resumable whose process is gone."""
        see_what_died(self.journal, self.settings.data_dir, alive=self.background.running())

    # --- jobs -------------------------------------------------------------------------------------------------

    def order(
        self,
        command: str,
        target: str,
        options: Mapping[str, object],
        *,
        batch_id: str | None = None,
    ) -> tuple[Order, RunLog]:
        """What is to be run, and the log that it writes."""
        settings = self.settings
        run_log = RunLog(settings.data_dir, command, level=settings.log_level, keep_days=settings.log_keep_days)
        order = Order(
            command,
            target,
            options,
            settings.data_dir,
            runs_keep_days=settings.runs_keep_days,
            log_file=run_log.path,
            batch_id=batch_id,
        )
        return order, run_log

    async def begin(self, order: Order, run_log: RunLog, job: Job, status_url: str) -> BackgroundJob:
        """Start a job; returns once it is a run. ``status_url`` with ``{run_id}`` tells where its state is found.

        Raises:
            Refused: 409 when the same job is running, naming that run.
            ServiceDown: there are too many jobs, or the server is about to stop.
            SettingUnusable, BadInput: the data folder or the journal cannot be used.
        """
        work = self.background.start(order, job, run_log)
        try:
            await result(work.begun)
        except AlreadyRunning as error:
            raise await run_in_threadpool(self._busy, error, order, status_url) from None
        return work

    def _busy(self, error: AlreadyRunning, order: Order, status_url: str) -> HttpRefusal:
        running = self.journal.runs(state=RUNNING, command=order.command)
        first = next((record for record in running if record.target == order.target), None)
        if first is None:
            return refusal(error)
        url = status_url.format(run_id=first.run_id, batch_id=first.batch_id)
        return refusal(error, run_id=first.run_id, batch_id=first.batch_id, status_url=url)

    def run(self, run_id: str) -> RunRecord | None:
        """The run with this id, as it is now."""
        self.see_what_died()
        return self.journal.run(run_id)


async def at_desk(request: Request) -> ServerContext:
    """The same, as a dependency."""
    return desk_of(request)


def desk_of(request: Request) -> ServerContext:
    """The desk of the server that a request came to."""
    desk = request.app.state.desk
    assert isinstance(desk, ServerContext)
    return desk


AtDesk = Annotated[ServerContext, Depends(at_desk)]


async def with_token(request: Request) -> None:
    """For routes that always ask for the token."""
    desk_of(request).access.require(request)


async def with_token_in_address(request: Request) -> None:
    """The same, where the token may stand in the address, too."""
    desk_of(request).access.require(request, query=True)


async def as_usual(request: Request) -> None:
    """For routes that ask for the token unless the server is open to all."""
    desk_of(request).access.usual(request)
