"""The app: all routes at one desk, and what is around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from dataflows import __version__
from dataflows.runs.logs import RunLog
from dataflows.web import answers, batches, cqc, documentation, hospitals, imports, metrics, pages
from dataflows.web.bounds import Bounds, RequestLimits
from dataflows.web.desk import ServerContext, as_usual
from dataflows.web.server import quiet_access_log, told_of_signals
from dataflows.web.uploads import ReceivedUploads

UPLOADS = frozenset({"/hospitals/bulk", "/hospitals/validate", "/batch/upload-csv"})

router = APIRouter(tags=["watching"])


class Health(BaseModel):
    """The server answers."""

    ok: bool


class About(BaseModel):
    """What this is, and where to go on."""

    message: str
    version: str
    docs: str
    runs: str


@router.get("/health", response_model=Health, responses=answers.responses())
async def health() -> Health:
    """Whether the server answers."""
    return Health(ok=True)


@router.get("/", response_model=About, responses=answers.responses(401, 403, 500), dependencies=[Depends(as_usual)])
async def about() -> About:
    """What this is, and where to go on."""
    return About(
        message="dataflows: CQC exports and hospitals in bulk", version=__version__, docs="/docs", runs="/runs"
    )


def make_app(desk: ServerContext, *, watch: Mapping[str, float] | None = None, log: RunLog | None = None) -> FastAPI:
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
            quiet_access_log(desk.settings.run_token)
            await run_in_threadpool(desk.open)
            closing.enter_context(told_of_signals(desk.stop))
            app.state.uploads = ReceivedUploads()
            desk.watched = imports.start(desk, watch or {})
            yield
            await run_in_threadpool(desk.close)

    app = FastAPI(
        title="dataflows", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,  # to an address with the Host header in it; Bounds takes the slash away
        description="The CQC exports and hospitals in bulk, by the same jobs as the commands.",
    )  # fmt: skip
    app.state.desk = desk
    answers.install(app)
    for part in (router, cqc.router, hospitals.router, batches.router, imports.router, metrics.router, pages.router):
        app.include_router(part)
    documentation.install(app)
    documentation.describe(app)
    limits = RequestLimits(UPLOADS, desk.settings.upload_max_bytes, desk.settings.run_token)
    app.add_middleware(Bounds, limits=limits, run_log=log)
    return app
