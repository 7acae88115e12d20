"""``sandbox``: stand-ins for the remote services on loopback, until somebody stops them."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote, urlsplit

import typer

from dataflows.cli.options import Invocation, epilog, invocation, on_signals
from dataflows.errors import BadInput, ExitCode, SettingUnusable, WrongUsage

if TYPE_CHECKING:
    from dataflows.sandbox.server import Sandbox
    from dataflows.settings import Settings

COMMAND = "sandbox"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LARGEST_OBJECT = 20_000_000  # bytes; more than any registration
_MARK = "# Points dataflows at its sandbox. Written by: dataflows sandbox --write-env"


def register(app: typer.Typer) -> None:
    """Add the command, and what puts objects into the bucket of a running one."""
    group = typer.Typer(invoke_without_command=True)
    group.callback(
        epilog=epilog(
            "dataflows sandbox --write-env sandbox.env",
            "dataflows sandbox --port 8500 --latency-ms 200 --lost-answer-share 0.1",
            "dataflows sandbox --create-ms 500 --fault directory/create.late_share=0.1",
            codes=_CODES,
        ),
    )(sandbox)
    group.command(
        "put",
        epilog=epilog(
            "dataflows --env-file sandbox.env sandbox put samples/registration/*.json",
            codes=(*_CODES, ExitCode.SETTINGS, ExitCode.SERVICE_DOWN, ExitCode.BAD_INPUT),
        ),
    )(put)
    app.add_typer(group, name=COMMAND)


def sandbox(
    context: typer.Context,
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on (0: any free one).")] = 0,
    mail_port: Annotated[
        int, typer.Option("--mail-port", min=0, max=65535, help="Port of the mail server (0: any free one).")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same faults.")] = 0,
    model: Annotated[
        Literal["merge", "replace"],
        typer.Option("--model", help="How the receiver treats attributes that are not sent."),
    ] = "merge",
    write_env: Annotated[
        Path | None, typer.Option("--write-env", readable=False, help="Write the settings to this env file.")
    ] = None,
    latency_ms: Annotated[float, typer.Option("--latency-ms", min=0, help="Delay every answer by this long.")] = 0,
    jitter_ms: Annotated[
        float, typer.Option("--jitter-ms", min=0, help="Delay it by up to this much more, at random.")
    ] = 0,
    error_share: Annotated[
        float, typer.Option("--error-share", min=0, max=1, help="Share of requests answered with an error.")
    ] = 0,
    error_status: Annotated[
        int | None,
        typer.Option(
            "--error-status", min=400, max=599, help="The status of these errors (default: 503, the Directory 500)."
        ),
    ] = None,
    retry_after: Annotated[
        str, typer.Option("--retry-after", help="Retry-After header of errors and rate limits, sent as given.")
    ] = "",
    drop_share: Annotated[
        float, typer.Option("--drop-share", min=0, max=1, help="Share of connections closed before anything is stored.")
    ] = 0,
    lost_answer_share: Annotated[
        float,
        typer.Option("--lost-answer-share", min=0, max=1, help="Share of requests carried out but never answered."),
    ] = 0,
    cut_share: Annotated[
        float, typer.Option("--cut-share", min=0, max=1, help="Share of answers that break off half-way.")
    ] = 0,
    silent_share: Annotated[
        float, typer.Option("--silent-share", min=0, max=1, help="Share of requests that never get an answer.")
    ] = 0,
    rate_limit: Annotated[
        float, typer.Option("--rate-limit", min=0, help="Requests per second; more get 429 (0: no limit).")
    ] = 0,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="Records per request; more get 413.")] = 100,
    token_seconds: Annotated[int, typer.Option("--token-seconds", min=1, help="How long a token is valid.")] = 3600,
    create_ms: Annotated[
        float, typer.Option("--create-ms", min=0, help="How long the Directory takes to create a hospital.")
    ] = 5_000,
    wake_ms: Annotated[
        float, typer.Option("--wake-ms", min=0, help="The Directory is asleep and takes this long to wake up.")
    ] = 0,
    creates_per_minute: Annotated[
        int, typer.Option("--creates-per-minute", min=0, help="The Directory's limit on creates (0: none).")
    ] = 30,
    calls_per_minute: Annotated[
        int,
        typer.Option("--calls-per-minute", min=0, help="The Directory's limit on other calls to one path (0: none)."),
    ] = 50,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault", metavar="NAME=VALUE", help="Any fault of /_sandbox/faults, such as receiver.late_share=0.1."
        ),
    ] = None,
    bad_hash_share: Annotated[
        float,
        typer.Option("--bad-hash-share", min=0, max=1, help="Share of the bucket's downloads with a wrong checksum."),
    ] = 0,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema", readable=False, help="The openapi.json with the attribute rules to apply, as in CSC_SCHEMA."
        ),
    ] = None,
    lean: Annotated[
        bool, typer.Option("--lean", help="Keep only what is stored and check nothing: for measuring speed.")
    ] = False,
) -> None:
    """Run stand-ins for the services on this machine.

    For rehearsals and tests: the receiver applies DfE's attribute rules and keeps what it is sent in memory. Prints
    the settings that point the commands at it, and runs until Ctrl-C. Under /_sandbox you can see what has arrived
    and change faults while it runs.
    """
    if context.invoked_subcommand is not None:
        return
    call = invocation(context).begin(COMMAND)
    _refuse_to_overwrite(write_env)
    from dataflows.flows.csc.schema import load_schema
    from dataflows.sandbox.server import Sandbox

    mail: dict[str, object] = {
        **{"latency_ms": latency_ms, "jitter_ms": jitter_ms, "error_share": error_share, "drop_share": drop_share},
        **{"lost_share": lost_answer_share, "silent_share": silent_share},
    }
    http = {**mail, "retry_after": retry_after, "rate_limit": rate_limit, "cut_share": cut_share}
    http |= {} if error_status is None else {"error_status": error_status}  # SMTP has other numbers
    limits = {"creates_per_minute": creates_per_minute, "calls_per_minute": calls_per_minute}
    faults: dict[str, dict[str, object]] = {
        "receiver": {**http, "max_batch": max_batch},
        "token": {"token_seconds": token_seconds},
        "cqc": http,
        "directory": {**http, "create_ms": create_ms, "wake_ms": wake_ms, **limits},
        "bucket": {**http, "bad_hash_share": bad_hash_share},
        "mailbox": mail,
    }
    rules = load_schema(schema)
    box = Sandbox(seed, port, mail_port=mail_port, model=model, lean=lean, schema=rules, faults=faults)
    for text in fault or ():
        _begin_with(box, text)
    raise typer.Exit(_serve(call, box, write_env))


def _begin_with(box: Sandbox, text: str) -> None:
    """One ``--fault``: the name that its faults have under ``/_sandbox/faults``, a dot, the fault, and the value."""
    where, _, value = text.partition("=")
    service, _, name = where.rpartition(".")
    if service not in box.faults:
        raise WrongUsage(
            f"--fault {text[:100]}: no such service",
            reason="sandbox-options",
            hint=f"the services are {', '.join(box.faults)}",
        )
    faults = box.faults[service]
    try:
        faults.begin_with(**{name: faults.read(name, value)})
    except ValueError as error:
        raise WrongUsage(
            f"--fault {text[:100]}: {error}",
            reason="sandbox-options",
            hint="all faults are listed at GET /_sandbox/faults",
        ) from None


def _serve(call: Invocation, box: Sandbox, write_env: Path | None) -> int:
    gc.set_threshold(100_000)  # the default looks through all parsed records again and again, a third of the time
    _listen(box)
    stop = threading.Event()  # being stopped is how this command ends well
    try:
        with on_signals(stop.set, "SIGINT", "SIGTERM", "SIGBREAK"):
            _announce(call, box, write_env)
            while not stop.wait(0.5):  # a wait without end would not see Ctrl-C on Windows
                pass
    finally:
        box.stop()
    figures = box.receiver.figures()
    return call.output.ended(f"{figures['requests']} requests, {figures['children']} children stored")


def _listen(box: Sandbox) -> None:
    try:
        box.start()
    except OSError:
        raise WrongUsage(
            f"cannot listen at {box.url} or on the mail port",
            reason="sandbox-options",
            hint="a port is in use: choose another one, or leave it out",
        ) from None


def _announce(call: Invocation, box: Sandbox, write_env: Path | None) -> None:
    settings = box.settings()
    if write_env is not None:
        from dataflows.store.files import write_whole

        write_whole(write_env, _env_text(settings).encode())
    for name, value in settings.items():
        call.output.say(f"{name}={value}")
    how = f"dataflows --env-file {write_env}" if write_env else "with these settings, dataflows"
    call.output.note(f"listening at {box.url}, stop with Ctrl-C; try: {how} test-endpoint")


def _env_text(settings: Mapping[str, str]) -> str:
    return "\n".join([_MARK, *(f"{name}={value}" for name, value in settings.items()), ""])


def put(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", readable=False, help="What to put there.")],
) -> None:
    """Put files into the bucket of a running sandbox, under their own names.

    The env file that `sandbox --write-env` wrote says where it is. A bucket that is not on this machine is never
    written to.
    """
    call = invocation(context).begin("sandbox put")
    settings = call.settings()
    where = urlsplit(settings.storage_emulator_host or "")
    if where.hostname not in _LOOPBACK or not settings.gcs_bucket:
        raise SettingUnusable(
            "STORAGE_EMULATOR_HOST and GCS_BUCKET name no sandbox on this machine",
            reason="sandbox-not-named",
            hint="start one with: dataflows sandbox --write-env sandbox.env; then name that file with --env-file",
        )
    for file in files:
        _upload(settings, where.geturl(), file)
    raise typer.Exit(call.output.ended(f"{len(files)} object{'s' * (len(files) != 1)} in {settings.gcs_bucket}"))


def _upload(settings: Settings, where: str, file: Path) -> None:
    """Put one file into the bucket under its own name.

    Raises:
        BadInput: it cannot be read, is too large, or the sandbox does not take it.
        ServiceDown: no sandbox answers.
    """
    from dataflows.remote.session import make_session, send

    try:
        if file.stat().st_size > _LARGEST_OBJECT:
            raise BadInput(f"{file.name} is too large for the bucket", reason="sandbox-put", hint="put a smaller file")
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{file} cannot be read ({error.strerror})", reason="sandbox-put", hint="check the name of the file"
        ) from None
    session = make_session(settings)
    try:
        path = f"/upload/storage/v1/b/{settings.gcs_bucket}/o?uploadType=media&name={quote(file.name, safe='')}"
        reply = send(session, "POST", where + path, headers={"Content-Type": "application/json"}, body=data)
    finally:
        session.close()
    if reply.status != 200:
        raise BadInput(
            f"the sandbox did not take {file.name}: it answered {reply.status}",
            reason="sandbox-put",
            hint="put it under another name",
        )


def _refuse_to_overwrite(write_env: Path | None) -> None:
    """An env file with real credentials must not be lost to a slip of the hand."""
    if write_env is None or not write_env.exists():
        return
    if not write_env.is_file() or not write_env.read_bytes().startswith(_MARK.encode()):
        raise WrongUsage(
            f"{write_env} already exists and was not written by this command",
            reason="sandbox-options",
            hint="choose another file for --write-env",
        )
