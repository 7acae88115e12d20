"""``serve``: the seeds' HTTP API over the same jobs, until somebody stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import ExitCode, SettingUnusable, WrongUsage
from dataflows.hints import with_extra

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from dataflows.runs.runner import Outcome
    from dataflows.settings import Settings

COMMAND = "serve"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS, ExitCode.SERVICE_DOWN, ExitCode.INTERRUPTED)
_SHORT = 16  # characters of a token that can be guessed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog("dataflows serve", "dataflows serve --port 10000 --watch patients,therapists", codes=_CODES),
    )(serve)


def serve(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", help="Listen on this address (APP_HOST; default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Listen on this port (APP_PORT, PORT; 8000). 0: any free one."),
    ] = None,
    allow_anonymous: Annotated[
        bool,
        typer.Option("--allow-anonymous", help="Serve the hospital routes without a token to anyone who can connect."),
    ] = False,
    watching: Annotated[
        str, typer.Option("--watch", help="Also run these imports: patients (every hour), therapists (every week).")
    ] = "",
    as_json: Json = False,
) -> None:
    """Serve the jobs over HTTP, with a page that shows all runs.

    This is the API of the CQC and hospital jobs, for Zapier, Render and scripts. Every route runs the same job as the
    command, so its runs can be listed, followed and resumed in the same way. The run page is at /runs, the description
    of all routes at /docs. To run an import at other intervals: --watch patients=15m,therapists=1d.
    """
    call = invocation(context).begin(COMMAND, as_json)
    wished = _imports(watching)
    settings = call.settings(app_host=host, app_port=port)
    _require_extra()
    raise typer.Exit(_run(call, settings, wished, allow_anonymous=allow_anonymous))


def _run(call: Invocation, settings: Settings, wished: dict[str, float], *, allow_anonymous: bool) -> int:
    from dataflows.web import opened_app, server

    sockets = server.listen(settings.app_host, _port(settings))
    try:
        local = server.is_open(sockets)
        _refuse_strangers(settings, local=local, allow_anonymous=allow_anonymous)
        log = call.log_to_file(settings)
        log.log_start(COMMAND)  # a log that cannot be written is told now, and not by the first request
        app = opened_app(
            settings, wished, lambda outcome: _report(call, outcome), local=local, anonymous=allow_anonymous
        )
        _announce(call, settings, sockets, allow_anonymous=allow_anonymous)
        stopped = server.serve(app, sockets)
    finally:
        for one in sockets:
            one.close()
    return _ended(call, log.path, stopped=stopped)


def _port(settings: Settings) -> int:
    """The flag and APP_PORT come before PORT."""
    found = settings.app_port if settings.app_port is not None else settings.port
    return 8000 if found is None else found


def _imports(wished: str) -> dict[str, float]:
    """``patients,therapists=1d``: the imports to run, and how often (s)."""
    from dataflows.cli.passes import seconds

    spans = {"patients": "1h", "therapists": "7d"}  # as seed 002 asks for
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in wished.split(","))):
        name, _, span = part.partition("=")
        if name not in spans:
            raise WrongUsage(
                f"--watch {name!r} is not an import",
                reason="serve-watch",
                hint="use patients, therapists, or both separated by a comma",
            )
        found[name] = seconds(span or spans[name])
    return found


def _require_extra() -> None:
    try:
        import fastapi
        import uvicorn
    except ImportError as error:
        raise SettingUnusable(
            f"serve needs packages that are not installed ({error.name})",
            reason="serve-not-installed",
            hint=with_extra(COMMAND),
        ) from None
    del fastapi, uvicorn


def _refuse_strangers(settings: Settings, *, local: bool, allow_anonymous: bool) -> None:
    if not local and settings.run_token is None and not allow_anonymous:
        raise SettingUnusable(
            f"RUN_TOKEN is not set, and {settings.app_host} can be reached from other machines",
            reason="run-token-needed",
            hint="set RUN_TOKEN; or listen on 127.0.0.1; or, where nobody else can connect: --allow-anonymous",
        )


def _announce(call: Invocation, settings: Settings, sockets: list[socket.socket], *, allow_anonymous: bool) -> None:
    from dataflows.web import server

    address = server.address_of(sockets)
    if settings.run_token is not None and len(settings.run_token.reveal().strip()) < _SHORT:
        call.output.warn(
            f"RUN_TOKEN has fewer than {_SHORT} characters: it can be guessed", reason="run-token-guessable"
        )
    if settings.run_token is None:
        call.output.warn("RUN_TOKEN is not set, so /run and /files answer 500", reason="run-token-missing")
    if allow_anonymous:
        call.output.warn(
            "anyone who can connect can create hospitals and read their names", reason="run-token-guessable"
        )
    call.output.note(f"serving on {address}, runs on {address}/runs; stop with Ctrl-C")


def _report(call: Invocation, outcome: Outcome) -> None:
    """One line for each run that ends."""
    from dataflows.runs.wording import counts_in_words, took

    run = outcome.run_id[:8] if outcome.run_id else ""
    counts = counts_in_words(outcome.counts)
    call.output.note(
        f"run {run} {outcome.command}: {counts} in {took(outcome.seconds)} -> exit {int(outcome.exit_code)}"
    )


def _ended(call: Invocation, log_file: Path, *, stopped: bool) -> int:
    code = ExitCode.INTERRUPTED if stopped else ExitCode.OK
    if call.output.as_json:
        call.output.document({"run_id": None, "status": "stopped", "exit_code": int(code), "error": None})
    return call.output.ended("stopped", code, log_file)
