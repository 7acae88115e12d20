"""The run page (today's runs, what failed and what to do), and /docs, /redoc and /openapi.json as in the seeds.

The run page works without scripts; whatever a page loads comes from this server.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from dataflows import __version__
from dataflows.flows.hospitals.report import progress
from dataflows.flows.hospitals.rows import COMMAND as HOSPITALS
from dataflows.hints import pasteable
from dataflows.runs.journal import RESUMABLE, RUNNING, Item, RunRecord
from dataflows.web.access import COOKIE, COOKIE_SECONDS, as_bytes
from dataflows.web.answers import WholeFile, unknown
from dataflows.web.context import ServerContext, context_of
from dataflows.web.uploads import BODY, ROUTES, form_of

_LIVE_SECONDS, _CALM_SECONDS = 2, 30  # the page loads itself again after so many seconds, while something runs or not
_MOST_RUNS = 200
_FAILURES_SHOWN, _FAILURES_PER_CARD = 100, 3
_POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["pasteable"] = pasteable

router = APIRouter(prefix="/runs", include_in_schema=False)


@dataclass(frozen=True)
class RunRow:
    """One run as the page shows it. ``percent`` is None where it is not known how much there is to do."""

    record: RunRecord
    percent: float | None
    failures: list[Item]

    @property
    def short(self) -> str:
        """The beginning of its id."""
        return self.record.run_id[:8]

    @property
    def lasted(self) -> str:
        """How long it took, or has taken."""
        record = self.record
        end = datetime.fromisoformat(record.ended_at) if record.ended_at else datetime.now(UTC)
        seconds = max(0, round((end - datetime.fromisoformat(record.started_at)).total_seconds()))
        return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60} s"

    @property
    def started(self) -> str:
        """When, in the server's own time."""
        return datetime.fromisoformat(self.record.started_at).astimezone().strftime("%d %b %H:%M:%S")

    @property
    def counts(self) -> str:
        """How many items are how far; failed ones are named apart."""
        shown = {name: count for name, count in self.record.counts.items() if count and name != "failed"}
        return ", ".join(f"{count:,} {name}" for name, count in shown.items())

    @property
    def failed(self) -> int:
        """How many items failed."""
        return self.record.counts.get("failed", 0)


@router.get("")
async def runs(request: Request) -> Response:
    """Today's runs, and those that run or wait to be resumed."""
    context = context_of(request)
    if not context.access.page(request):
        return _asked(request)
    rows = await run_in_threadpool(_rows, context)
    running = [row for row in rows if row.record.state == RUNNING]
    waiting = [row for row in rows if row.record.state == RESUMABLE]
    rest = [row for row in rows if row not in running and row not in waiting]
    return _page(
        request, "runs.html", running=running, waiting=waiting, rest=rest,
        seconds=_LIVE_SECONDS if running else _CALM_SECONDS, now=datetime.now().astimezone(),
    )  # fmt: skip


@router.get("/{run_id}")
async def run(request: Request, run_id: str) -> Response:
    """One run, with the items that failed."""
    context = context_of(request)
    if not context.access.page(request):
        return _asked(request)
    record = await run_in_threadpool(context.run, run_id)
    if record is None:
        return _page(request, "unknown.html", status=404, seconds=0)
    row = await run_in_threadpool(_row, context, record, _FAILURES_SHOWN)
    return _page(
        request, "run.html", row=row, more=row.failed - len(row.failures),
        seconds=_LIVE_SECONDS if record.state == RUNNING else 0,
    )  # fmt: skip


@router.post("/enter")
async def enter(request: Request) -> Response:
    """Take the token once, and remember whoever has shown it."""
    context = context_of(request)
    async with form_of(request, files=0, fields=4) as form:
        given = form.get("token")
    if not isinstance(given, str) or not context.access.is_token(as_bytes(given.strip())):
        return _asked(request, wrong=True)
    answer = RedirectResponse("/runs", status_code=303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, context.access.sessions.begin(), max_age=COOKIE_SECONDS, httponly=True, samesite="strict", secure=secure
    )
    return answer


@router.post("/leave")
async def leave(request: Request) -> Response:
    """Forget the visitor: the cookie, wherever else it is kept, opens nothing any more."""
    context_of(request).access.sessions.end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/runs", status_code=303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _asked(request: Request, *, wrong: bool = False) -> Response:
    return _page(request, "enter.html", status=401, wrong=wrong, seconds=0)


def _page(request: Request, name: str, *, status: int = 200, **values: object) -> Response:
    """A page with everything in it; the browser may load nothing else."""
    nonce = secrets.token_urlsafe(12)
    common: Mapping[str, Any] = {
        "nonce": nonce, "version": __version__, "entered": context_of(request).access.remembered(request)
    }  # fmt: skip
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    text = _TEMPLATES.get_template(name).render(**common, **values)
    return HTMLResponse(text, status, {"Content-Security-Policy": policy})


def _rows(context: ServerContext) -> list[RunRow]:
    context.see_what_died()
    found = [
        one for one in context.journal.runs(limit=_MOST_RUNS) if one.state in (RUNNING, RESUMABLE) or _is_of_today(one)
    ]
    return [_row(context, record, _FAILURES_PER_CARD) for record in found]


def _is_of_today(record: RunRecord) -> bool:
    return datetime.fromisoformat(record.started_at).astimezone().date() == datetime.now().astimezone().date()


def _row(context: ServerContext, record: RunRecord, failures: int) -> RunRow:
    failed = context.journal.items(record.run_id, state="failed", limit=failures) if record.counts.get("failed") else []
    return RunRow(record, _percent(context, record), failed)


def _percent(context: ServerContext, record: RunRecord) -> float | None:
    if record.state != RUNNING:
        return None
    if record.command == HOSPITALS:  # whose items count only when their batch is active
        found = progress(context.journal, context.settings.data_dir, record)
        return None if found is None else float(str(found["progress_percentage"]))
    if not record.total:
        return None
    return min(100.0, 100 * sum(record.counts.values()) / record.total)


# --- the documentation ------------------------------------------------------------------------------------------------

ASSETS = "/documentation"


async def _visitor(request: Request) -> None:
    """Whoever has shown the token on the run page may read the documentation, too."""
    access = context_of(request).access
    if not access.remembered(request):
        access.usual(request)


documentation = APIRouter(dependencies=[Depends(_visitor)], include_in_schema=False)


@documentation.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """Every route, status code and error."""
    return JSONResponse(request.app.openapi())


@documentation.get("/docs")
async def swagger(request: Request) -> HTMLResponse:
    """Swagger UI."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=request.app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},
    )


@documentation.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """ReDoc."""
    return get_redoc_html(
        openapi_url="/openapi.json",
        title=request.app.title,
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{ASSETS}/favicon.png",
        with_google_fonts=False,
    )


@documentation.get(ASSETS + "/{name}")
def asset(request: Request, name: str) -> WholeFile:
    """What the pages load."""
    path = request.app.state.assets.get(name)
    if path is None:
        raise unknown("file")
    return WholeFile(path)


def install(app: FastAPI) -> None:
    """Add the pages, with the scripts and styles that fastapi-offline carries, and describe all routes in OpenAPI."""
    with as_file(files("fastapi_offline") / "static") as folder:
        app.state.assets = {path.name: path for path in folder.iterdir()}
    app.include_router(router)
    app.include_router(documentation)
    app.version = __version__
    made = app.openapi

    def described() -> dict[str, Any]:
        schema = made()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
        schemes["token_in_address"] = {"type": "apiKey", "in": "query", "name": "token"}
        for path, methods in schema["paths"].items():
            for operation in methods.values():
                operation["security"] = _security(path)
                if path in ROUTES:
                    operation["requestBody"] = BODY
                operation["summary"] = operation["description"].partition("\n")[0].rstrip(".")
        return schema

    app.openapi = described  # type: ignore[method-assign]


def _security(path: str) -> list[dict[str, list[str]]]:
    if path == "/health":
        return []
    if path.startswith("/files"):
        return [{"token": []}, {"token_in_address": []}]
    return [{"token": []}] if path.startswith("/run") else [{"token": []}, {}]
