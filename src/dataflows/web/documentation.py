"""/docs, /redoc and /openapi.json as in the seeds, with everything that they load on this server."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse

from dataflows.web.answers import WholeFile, unknown
from dataflows.web.context import context_of

ASSETS = "/documentation"


async def _visitor(request: Request) -> None:
    """Whoever has shown the token on the run page may read the documentation, too."""
    access = context_of(request).access
    if not access.remembered(request):
        access.usual(request)


router = APIRouter(dependencies=[Depends(_visitor)], include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """Every route, status code and error."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
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


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """ReDoc."""
    return get_redoc_html(
        openapi_url="/openapi.json",
        title=request.app.title,
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{ASSETS}/favicon.png",
        with_google_fonts=False,
    )


@router.get(ASSETS + "/{name}")
def asset(request: Request, name: str) -> WholeFile:
    """What the pages load."""
    path = request.app.state.assets.get(name)
    if path is None:
        raise unknown("file")
    return WholeFile(path)


def install(app: FastAPI) -> None:
    """Add the pages, and the scripts and styles that fastapi-offline carries."""
    with as_file(files("fastapi_offline") / "static") as folder:
        app.state.assets = {path.name: path for path in folder.iterdir()}
    app.include_router(router)


def describe(app: FastAPI) -> None:
    """Name the token in OpenAPI, and every route by what it does."""
    made = app.openapi

    def described() -> dict[str, Any]:
        schema = made()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
        schemes["token_in_address"] = {"type": "apiKey", "in": "query", "name": "token"}
        for path, methods in schema["paths"].items():
            for operation in methods.values():
                operation["security"] = _security(path)
                operation["summary"] = operation["description"].partition("\n")[0].rstrip(".")
        return schema

    app.openapi = described  # type: ignore[method-assign]


def _security(path: str) -> list[dict[str, list[str]]]:
    if path == "/health":
        return []
    if path.startswith("/files"):
        return [{"token": []}, {"token_in_address": []}]
    return [{"token": []}] if path.startswith("/run") else [{"token": []}, {}]
