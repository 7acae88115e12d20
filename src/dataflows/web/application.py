"""The app: all routes, and what is around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

from dataflows.runs.logs import RunLog
from dataflows.web import batches, bounds, console, cqc, hospitals, pages, watching
from dataflows.web.context import ServerContext


def make_app(context: ServerContext, *, watch: Mapping[str, float] | None = None, log: RunLog | None = None) -> FastAPI:
    """Make the app of one server.

    Args:
        watch: imports to run in the background (``patients``, ``therapists``), with the seconds from pass to pass.
        log: is attached while the server runs; None where somebody else sees to that.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as closing:
            if log is not None:
                closing.callback(log.attach().detach)
            async with context.running():
                watching.watch(app, context, watch or {})
                yield

    app = FastAPI(
        title="dataflows", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,  # to an address with the Host header in it; Bounds takes the slash away
        description="CQC exports and hospitals in bulk, by the same jobs as the commands.",
    )  # fmt: skip
    app.state.context = context
    for part in (watching.router, cqc.router, hospitals.router, batches.router):
        app.include_router(part)
    app.include_router(console.router)
    pages.install(app)
    bounds.install(app, context, log)
    return app
