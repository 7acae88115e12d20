"""``test-db``, ``test-endpoint`` and ``test-schema``: named checks; all run, each passes or says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import ExitCode, marked
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from dataflows.checks import Check, Target
    from dataflows.settings import Settings

_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.SETTINGS,
    ExitCode.ACCESS_REFUSED,
    ExitCode.SERVICE_DOWN,
    ExitCode.INTERRUPTED,
)
# the gravest first, as the contract ranks them
_GRAVITY = (ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN, ExitCode.SETTINGS)
_MARKS = {True: "ok  ", False: "FAIL", None: "skip"}


def register(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command("test-db", epilog=epilog("dataflows test-db", "dataflows test-db --target practice", codes=_CODES))(
        test_db
    )
    app.command(
        "test-endpoint", epilog=epilog("dataflows test-endpoint", "dataflows test-endpoint --target csc", codes=_CODES)
    )(test_endpoint)
    app.command("test-schema", epilog=epilog("dataflows test-schema", codes=_CODES))(test_schema)


def test_db(
    context: typer.Context,
    target: Annotated[
        Literal["staging", "practice"] | None,
        typer.Option("--target", help="The database to check (default: every configured one)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the database connections.

    Reports the driver, server version and latency, and whether this account can read and write (test writes are
    rolled back). staging: the staging table of csc-submit. practice: the database of patients and therapists.
    """
    from dataflows.checks import DATABASES

    _check(invocation(context).begin("test-db", as_json), DATABASES, target)


def test_endpoint(
    context: typer.Context,
    target: Annotated[
        Literal["csc", "hospitals", "cqc", "bucket", "mail", "kafka", "healthchecks"] | None,
        typer.Option("--target", help="The service to check (default: every configured one)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the services and their credentials.

    csc: gets a token and checks that the API accepts it; reports round-trip time, certificate issuer and proxy.
    hospitals: wakes the Directory. cqc: reads the start of each export. bucket: checks the rights to list, get and
    delete, and whether the bucket keeps deleted objects. mail: logs in and checks that a message would be accepted.
    kafka: looks for the topics. healthchecks: checks that the hosts can be reached. No record, mail, event or ping is
    sent, and nothing is deleted.
    """
    from dataflows.checks import SERVICES

    _check(invocation(context).begin("test-endpoint", as_json), SERVICES, target)


def _check(call: Invocation, targets: Mapping[str, Target], target: str | None) -> NoReturn:
    from dataflows.checks import check_all

    settings = call.settings()
    raise typer.Exit(_run(call, targets[target].check(settings) if target else check_all(targets, settings)))


def test_schema(
    context: typer.Context,
    create: Annotated[
        bool, typer.Option("--create", help="Create the table first (SQLite and PostgreSQL only).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the columns of the staging table.

    A missing column fails; a different type or length is a warning, with the statement that would correct it.
    """
    from dataflows.checks import check_schema

    call = invocation(context).begin("test-schema", as_json)
    settings = call.settings()
    if create:
        _create_table(call, settings)
    raise typer.Exit(_run(call, check_schema(settings)))


def _create_table(call: Invocation, settings: Settings) -> None:
    from dataflows.flows.csc import table

    engine = table.open_engine(settings, create=True)  # here and nowhere in passing
    try:
        table.create_table(engine, settings.table_name)
    finally:
        engine.dispose()
    call.output.note(f"the table {settings.table_name} exists")


def _run(call: Invocation, checks: Iterable[Check]) -> int:
    """Run the checks one after the other, show each as it ends, and return the gravest exit code."""
    done: list[Check] = []
    for check in checks:
        done.append(check)
        if not call.output.as_json:
            show_check(call, check)
    code = gravest(check.exit_code for check in done if check.passed is False)
    if call.output.as_json:
        call.output.document(checks_document(done, code))
    counts = [sum(check.passed is mark for check in done) for mark in (True, False, None)]
    return call.output.ended("{} passed, {} failed, {} skipped".format(*counts), code)


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code that counts when several checks failed."""
    found = set(codes)
    return next((code for code in _GRAVITY if code in found), max(found, default=ExitCode.OK))


def show_check(call: Invocation, check: Check) -> None:
    """Print a check as it ends."""
    call.output.say(f"{_MARKS[check.passed]}  {check.name}  {marked(check.text, check.reason)}")
    if check.hint:
        call.output.say(f"      hint: {pasteable(check.hint)}")


def checks_document(checks: list[Check], code: ExitCode) -> dict[str, object]:
    """The JSON document of checks."""
    items = [
        {"name": c.name, "passed": c.passed, "text": c.text, "hint": pasteable(c.hint), "reason": c.reason}
        for c in checks
    ]
    worst = next((c for c in checks if c.passed is False and c.exit_code is code), None)
    message, hint = (f"{worst.name}: {worst.text}", pasteable(worst.hint)) if worst else ("", "")
    error = worst and {"code": "check_failed", "reason": worst.reason, "message": message, "hint": hint}
    status = "failed" if worst else "done"
    return {"run_id": None, "status": status, "exit_code": int(code), "items": items, "error": error}
