"""What the routes share: the settings, the journal, the uploads, and the jobs that are at work."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from dataflows.runs.background import Background
from dataflows.runs.history import see_what_died
from dataflows.runs.journal import Journal, RunRecord
from dataflows.runs.runner import Outcome
from dataflows.web.access import Access
from dataflows.web.uploads import ReceivedUploads

if TYPE_CHECKING:
    from dataflows.runs.nights import Comparisons
    from dataflows.settings import Settings

GRACE_SECONDS = 32.0
"""So long the end of the server waits for jobs, which have 30 s themselves."""

log = logging.getLogger("dataflows.web")


class ServerContext:
    """What one server works with.

    Args:
        on_outcome: is called with every outcome, in the thread of its job.
    """

    def __init__(
        self, settings: Settings, access: Access, on_outcome: Callable[[Outcome], None] = lambda _: None
    ) -> None:
        self.settings = settings
        self.access = access
        self.background = Background(on_outcome)
        self.uploads = ReceivedUploads()
        self.comparisons: Comparisons | None = None
        self._journal: Journal | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open it for the length of the block; a signal meanwhile stops the jobs."""
        await run_in_threadpool(self.open)
        try:
            with _passing_signals_on(self.background.stop):
                yield
        finally:
            await run_in_threadpool(self.close)

    def open(self) -> None:
        """Open the journal unless that was done, and see what died. Raises SettingUnusable, BadInput, ServiceDown."""
        if self._journal is None:
            self._journal = Journal.open(self.settings.data_dir)
            self.see_what_died()

    def close(self) -> None:
        """Stop all jobs, give them their grace, and close the journal."""
        self.background.stop()
        if not self.background.join(GRACE_SECONDS):
            log.warning("jobs are still running after %d s; they are resumable", GRACE_SECONDS)
        self.journal.close()

    @property
    def journal(self) -> Journal:
        """The journal, for looking; each job writes with a connection of its own."""
        assert self._journal is not None, "the server has not started"
        return self._journal

    def see_what_died(self) -> None:
        """Call runs resumable whose process is gone."""
        see_what_died(self.journal, self.settings.data_dir, alive=self.background.running())

    def run(self, run_id: str) -> RunRecord | None:
        """The run with this id, as it is now."""
        self.see_what_died()
        return self.journal.run(run_id)


@contextmanager
def _passing_signals_on(stop: Callable[..., None]) -> Iterator[None]:
    """For the length of the block call ``stop`` at the first signal, with ``hurry`` at the second, then whoever
    listened before: the server, which sees to its own end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def listener(then: Any) -> Callable[[int, FrameType | None], None]:
        def heard(number: int, frame: FrameType | None) -> None:
            came.append(number)
            stop(hurry=len(came) > 1)
            if callable(then):
                then(number, frame)

        return heard

    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number, then in before.items():
        signal.signal(number, listener(then))
    try:
        yield
    finally:
        for number, then in before.items():
            signal.signal(number, then)


def context_of(request: Request) -> ServerContext:
    """The context of the server that a request came to."""
    context = request.app.state.context
    assert isinstance(context, ServerContext)
    return context


async def _context_of(request: Request) -> ServerContext:
    return context_of(request)


Context = Annotated[ServerContext, Depends(_context_of)]
"""The same, as a dependency."""


async def with_token(request: Request) -> None:
    """For routes that always ask for the token."""
    context_of(request).access.require(request)


async def with_token_in_address(request: Request) -> None:
    """The same, where the token may stand in the address, too."""
    context_of(request).access.require(request, query=True)


async def as_usual(request: Request) -> None:
    """For routes that ask for the token unless the server is open to all."""
    context_of(request).access.usual(request)
