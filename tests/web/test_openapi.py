"""OpenAPI says what the server does: every route, every status code, every error."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy, booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

import dataflows.web
from dataflows.sandbox.server import Sandbox
from dataflows.web.answers import ANYWHERE, STATUSES
from tests.flows.hospitals.world import QUICK
from tests.web.served import CSV, HEADER, TOKEN, Within, within

EXAMPLES, FEW = 10, 2  # a fetch takes a second of its own: its files are named by the second
JOBS = ("/run", "/hospitals/bulk", "/hospitals/resume/{batch_id}", "/hospitals/batch/{batch_id}/abandon")


@pytest.fixture(scope="module")
def server(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    with within(tmp_path_factory.mktemp("server"), {**QUICK, **box.settings()}, local=False) as running:
        yield running


@pytest.fixture(scope="module")
def described(server: Within) -> dict[str, Any]:
    found = server.get("/openapi.json").document
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def operations(described: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


# --- what it says -----------------------------------------------------------------------------------------------------


def test_every_route_but_pages_for_people_is_described(server: Within, operations: Mapping[str, object]) -> None:
    routes = {f"{method} {one.path}" for one in iter_route_contexts(server.app.routes) for method in one.methods or ()}
    pages = {route for route in routes if route.split()[1].startswith(("/runs", "/docs", "/redoc", "/documentation"))}
    assert operations.keys() == routes - pages - {"GET /openapi.json"}


def test_every_route_says_what_it_is_for(operations: Mapping[str, Mapping[str, Any]]) -> None:
    assert [name for name, one in operations.items() if not (one.get("summary") and one.get("description"))] == []


def test_every_error_has_a_shape(operations: Mapping[str, Mapping[str, Any]]) -> None:
    bare = [
        (name, status)
        for name, one in operations.items()
        for status, response in one["responses"].items()
        if int(status) >= 400 and not shapes(response) & {"Failure"}
    ]
    assert bare == []


def shapes(response: Mapping[str, Any]) -> set[str]:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return {one.get("$ref", "").rpartition("/")[2] for one in [schema, *schema.get("anyOf", [])]}


def test_what_any_request_can_be_answered_with_stands_everywhere(operations: Mapping[str, Mapping[str, Any]]) -> None:
    every = {str(status) for status in ANYWHERE}
    assert [name for name, one in operations.items() if not every <= one["responses"].keys()] == []


def test_what_a_job_can_end_with_stands_where_one_is_started(operations: Mapping[str, Mapping[str, Any]]) -> None:
    ends = {str(status) for status in STATUSES.values()}
    started = [one["responses"].keys() for name, one in operations.items() if name.split()[1] in JOBS]
    assert [ends - given for given in started] == [set()] * len(JOBS)


def test_every_status_in_the_code_stands_somewhere(operations: Mapping[str, Mapping[str, Any]]) -> None:
    given = {int(status) for one in operations.values() for status in one["responses"]}
    assert statuses_in_code() - given == set()
    assert {401, 404, 408, 413, 503} <= statuses_in_code()


def statuses_in_code() -> set[int]:
    """The first argument of every ``HttpRefusal(...)``."""
    found: set[int] = set()
    for path in Path(next(iter(dataflows.web.__path__))).glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        raised = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "HttpRefusal"]
        found |= {one.value for one in raised if isinstance(one, ast.Constant) and isinstance(one.value, int)}
    return found


# --- what it does -----------------------------------------------------------------------------------------------------


CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


@pytest.fixture(scope="module")
def found(server: Within) -> dict[str, str]:
    """What is there, by the name of its place in addresses: what is made up finds nothing."""
    batch, run = server.upload("/hospitals/bulk", CSV.format("Described")), server.post("/run")
    file = Path(run.document["results"]["homecare"]["file"]).name
    return {
        "batch_id": batch.document["batch_id"],
        "run_id": run.headers["X-Run-Id"],
        "source": "homecare",
        "filename": file,
    }


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_it_does_what_it_says(server: Within, described: dict[str, Any], found: dict[str, str], mode: Any) -> None:
    seen: set[int] = set()
    for operation in schemathesis.openapi.from_dict(described).get_all_operations():
        assert isinstance(operation, Ok)
        one = operation.ok()
        try:
            seen |= tried(server, one.as_strategy(generation_mode=mode), found, few=one.label == "POST /run")
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, one.label  # there is nothing that could be wrong about it
    assert seen >= ({200, 404} if mode is GenerationMode.POSITIVE else {400, 422})


@pytest.mark.parametrize("token", [None, "", "wrong"])
def test_without_the_token_nothing_is_done(
    server: Within, described: dict[str, Any], found: dict[str, str], token: str | None
) -> None:
    runs = len(server.context.journal.runs())
    for operation in schemathesis.openapi.from_dict(described).get_all_operations():
        assert isinstance(operation, Ok)
        one = operation.ok()
        seen = tried(server, one.as_strategy(), found, few=False, token=token)
        assert seen <= ({200} if one.label == "GET /health" else {401}), one.label
    assert len(server.context.journal.runs()) == runs


def tried(
    server: Within, strategy: SearchStrategy[Any], found: Mapping[str, str], *, few: bool, token: str | None = TOKEN
) -> set[int]:
    """Call an operation in several ways, and check every answer; returns the status codes."""
    seen: set[int] = set()
    examples = FEW if few else int(os.environ.get("SCHEMATHESIS_EXAMPLES", EXAMPLES))
    quietly = settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @quietly
    @given(case=strategy, known=booleans())
    def calls(case: Any, known: bool) -> None:
        if known:
            given_path = case.path_parameters or {}
            case.path_parameters = {name: found.get(name, value) for name, value in given_path.items()}
        case.headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != HEADER.lower()}
        if token is not None:
            case.headers[HEADER] = token
        response = case.call(base_url=server.url)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)

    calls()
    return seen
