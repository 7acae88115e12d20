"""The app: all routes, and what is around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from dataflows import __version__
from dataflows.runs.logs import RunLog
from dataflows.web import answers, batches, cqc, documentation, hospitals, imports, pages, watching
from dataflows.web.bounds import Bounds, RequestLimits
from dataflows.web.context import ServerContext
from dataflows.web.server import passing_signals_on, quiet_access_log
from dataflows.web.uploads import ReceivedUploads

UPLOADS = frozenset({"/hospitals/bulk", "/hospitals/validate", "/batch/upload-csv"})


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
            quiet_access_log(context.settings.run_token)
            await run_in_threadpool(context.open)
            closing.enter_context(passing_signals_on(context.stop))
            app.state.uploads = ReceivedUploads()
            app.state.watched = imports.start(context, watch or {})
            yield
            await run_in_threadpool(context.close)

    app = FastAPI(
        title="dataflows", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,  # to an address with the Host header in it; Bounds takes the slash away
        description="The CQC exports and hospitals in bulk, by the same jobs as the commands.",
    )  # fmt: skip
    app.state.context = context
    answers.install(app)
    for part in (watching.router, cqc.router, hospitals.router, batches.router, pages.router):
        app.include_router(part)
    documentation.install(app)
    documentation.describe(app)
    limits = RequestLimits(UPLOADS, context.settings.upload_max_bytes, context.settings.run_token)
    app.add_middleware(Bounds, limits=limits, run_log=log)
    return app
