"""How a page is made and who gets in, and /docs, /redoc and /openapi.json as in the seeds.

The console's pages work without scripts; whatever a page loads comes from this server.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dataflows import __version__
from dataflows.hints import pasteable
from dataflows.web.access import COOKIE, COOKIE_SECONDS, as_bytes
from dataflows.web.answers import WholeFile, unknown
from dataflows.web.context import context_of
from dataflows.web.uploads import BODY, ROUTES, form_of

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["pasteable"] = pasteable

router = APIRouter(prefix="/runs", include_in_schema=False)
POLICY = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""What a browser may load for what is shown: nothing."""
RELOAD_OFF = "off"
"""What ``?reload=`` says of a page that is not to load itself again (WCAG 2.2.2)."""


@router.post("/enter")
async def enter(request: Request) -> Response:
    """Take the token once, and remember whoever has shown it."""
    context = context_of(request)
    async with form_of(request, files=0, fields=4) as form:
        given = form.get("token")
    if not isinstance(given, str) or not context.access.is_token(as_bytes(given.strip())):
        return asked(request, wrong=True)
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


def asked(request: Request, *, wrong: bool = False) -> Response:
    """Ask for the token."""
    return page(request, "enter.html", status=401, wrong=wrong)


def page(request: Request, name: str, *, status: int = 200, seconds: int = 0, **values: object) -> Response:
    """Make a page with everything in it; the browser may load nothing else.

    Args:
        seconds: it loads itself again after so many, unless its address says not to; 0: it does not.
    """
    nonce = secrets.token_urlsafe(12)
    still = bool(seconds) and request.query_params.get("reload") == RELOAD_OFF
    common: Mapping[str, Any] = {
        "nonce": nonce, "version": __version__, "entered": context_of(request).access.remembered(request),
        "seconds": seconds, "still": still, "path": request.url.path,
    }  # fmt: skip
    policy = f"{POLICY}; style-src 'nonce-{nonce}'"
    headers = {"Content-Security-Policy": policy, **({"Refresh": str(seconds)} if seconds and not still else {})}
    return HTMLResponse(_TEMPLATES.get_template(name).render(**common, **values), status, headers)


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
