"""``init``: asks for what is needed, writes the env file, checks it, and says how to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows import hints
from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import ExitCode, SettingUnusable, WrongUsage

if TYPE_CHECKING:
    from dataflows.checks import Check
    from dataflows.settings import Settings, Spec

COMMAND = "init"
_CODES = (
    *(ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS, ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN),
    *(ExitCode.BAD_INPUT, ExitCode.INTERRUPTED),
)
_NEXT = {
    "csc-submit": "dataflows csc-submit --dry-run",
    "hospitals-bulk": "dataflows hospitals-bulk FILE --dry-run",
    "cqc-fetch": "dataflows cqc-fetch --dry-run",
    "patient-import": "dataflows patient-import --dry-run",
    "therapist-import": "dataflows therapist-import --dry-run",
    "serve": "dataflows serve",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog(
            "dataflows init",
            r"dataflows --env-file C:\dataflows\.env init --flow csc-submit --keyring",
            "dataflows init --yes --flow csc-submit --set LA_CODE=998 --no-check",
            codes=_CODES,
        ),
    )(init)


def init(
    context: typer.Context,
    flows: Annotated[
        list[str] | None,
        typer.Option("--flow", metavar="NAME", help="What to set up, such as csc-submit; may be repeated."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: use --set, the environment and the existing file.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing env file.")] = False,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Keep secrets in the keyring of this account, not in the file.")
    ] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Check connections at the end.")] = True,
    as_json: Json = False,
) -> None:
    """Set up the program: ask for what is needed, write the env file, check it.

    The file is the one named by --env-file, else .env in the working folder; only its owner can read it. An existing
    one is replaced only after a question or with --force, and its values are kept unless they are changed. Secrets are
    asked for without being shown; scripts put them into the environment.
    """
    call = invocation(context).begin(COMMAND, as_json)
    path = _place(call)
    if not yes and not sys.stdin.isatty():
        raise WrongUsage(
            "init cannot ask without a terminal",
            reason="init-no-terminal",
            hint="add --yes, and settings with --set NAME=VALUE",
        )
    former = _former(call, path, yes=yes, force=force)
    chosen = list(dict.fromkeys(flows or ([] if yes else _which(call))))
    if not chosen or not set(chosen) <= set(_NEXT):
        raise WrongUsage(
            "init needs to know what to set up", reason="init-flow", hint=f"--flow with one of {', '.join(_NEXT)}"
        )
    said = _said(chosen) | ({"DATA_DIR": str(call.data_dir.absolute())} if call.data_dir else {})
    answers = {**former, **(said if yes else _answers(call, chosen, former | said))}
    _refuse_unusable(answers)
    _write(path, chosen, _into_keyring(answers) if keyring else answers)
    call.output.note(f"{path} was written")
    raise typer.Exit(_end(call, path, chosen, check=check))


def _place(call: Invocation) -> Path:
    from dataflows.settings import envfile

    folder = envfile.working_folder()
    if call.env_file is None and folder is None:
        raise WrongUsage(
            "the working folder belongs to Windows",
            reason="path-relative",
            hint="name a file, such as --env-file C:\\csc\\.env",
        )
    return (call.env_file or (folder or Path()) / ".env").absolute()


def _former(call: Invocation, path: Path, *, yes: bool, force: bool) -> dict[str, str]:
    """What a file says that may be replaced. Raises WrongUsage where it may not, SettingUnusable where it is broken."""
    from dataflows.settings import envfile

    if not path.exists():
        return {}
    if not force and (yes or not _agreed(call, f"{path} already exists. Replace it?")):
        raise WrongUsage(
            f"{path} already exists and was not replaced",
            reason="init-file-exists",
            hint="add --force, or name another --env-file",
        )
    return {name.upper(): value for name, value in envfile.read(path).items()}


def _agreed(call: Invocation, question: str) -> bool:
    return call.output.ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _said(flows: Sequence[str]) -> dict[str, str]:
    """What the environment, and so ``--set``, says of settings of these flows."""
    import os

    from dataflows.settings import template
    from dataflows.settings.needs import groups_of

    groups = template.by_flow(groups_of(flows))
    names = {spec.name for _, specs in groups for spec in specs}
    families = [family for flow, _ in groups for family in template.families_of(flow)]
    spoken = {name.upper(): value.strip() for name, value in os.environ.items() if value.strip()}
    return {
        name: value for name, value in spoken.items() if name in names or any(family.entry(name) for family in families)
    }


def _refuse_unusable(answers: Mapping[str, str]) -> None:
    """Refuse what no command could use, before it is written. Raises SettingUnusable, which names all of it."""
    from dataflows.settings import table
    from dataflows.settings.survey import problem_of

    problems = [problem_of(spec, answers[spec.name]) for spec in table() if answers.get(spec.name)]
    if any(problems):
        raise SettingUnusable(
            "; ".join(filter(None, problems)),
            reason="setting-invalid",
            hint="nothing was written; correct it and try again",
        )


# --- asking ---------------------------------------------------------------------------------------------------------


def _which(call: Invocation) -> list[str]:
    """Ask which flows."""
    names = list(_NEXT)
    for number, name in enumerate(names, 1):
        call.output.note(f"  {number}  {name}")
    while True:
        words = call.output.ask("What do you want to set up? Numbers or names: ").replace(",", " ").split()
        found = [names[int(word) - 1] if word in map(str, range(1, len(names) + 1)) else word for word in words]
        if found and set(found) <= set(names):
            return found
        call.output.note("choose one or more of these")


def _answers(call: Invocation, flows: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """Ask for what the flows need; an empty answer takes what is proposed, a dash leaves the setting out."""
    from dataflows.settings import table
    from dataflows.settings.needs import ASKED

    specs = {spec.name: spec for spec in table()}
    call.output.note("Enter accepts the value in brackets; - leaves a setting empty.")
    names = dict.fromkeys([*(name for flow in flows for name in ASKED[flow]), "DATA_DIR"])
    answers = {name: _answer(call, specs[name], known.get(name, "")) for name in names}
    more = ("SMTP_USER", "SMTP_PASSWORD") if answers.get("SMTP_HOST") else ()
    return answers | {name: _answer(call, specs[name], known.get(name, "")) for name in more}


def _answer(call: Invocation, spec: Spec, known: str) -> str:
    from dataflows.settings.secrets import is_reference
    from dataflows.settings.survey import problem_of
    from dataflows.settings.template import sentence, shown

    hidden = spec.secret and not is_reference(known)
    proposed = known or ("" if spec.default is None else shown(spec.default))
    without = f"; without one {_usual_place()}" if spec.name == "DATA_DIR" else ""
    call.output.note(f"\n{sentence(spec)}{without}")
    ask = call.output.ask_secret if spec.secret else call.output.ask
    while True:
        answer = ask(f"{spec.name} [{'***' if hidden and proposed else proposed}]: ") or proposed
        if answer == "-":
            return ""
        if not answer or not (problem := problem_of(spec, answer)):
            return "" if answer == _default(spec) else answer
        call.output.note(problem)


def _usual_place() -> Path:
    from dataflows.settings.reading import _data_dir

    return _data_dir(None, None)


def _default(spec: Spec) -> str:
    from dataflows.settings.template import shown

    return "" if spec.default is None else shown(spec.default)


# --- writing --------------------------------------------------------------------------------------------------------


def _into_keyring(answers: dict[str, str]) -> dict[str, str]:
    """The same with references for secrets, which are in the keyring then. Raises SettingUnusable."""
    from dataflows.cli.secrets import keep
    from dataflows.settings import table
    from dataflows.settings.secrets import is_reference

    kept = dict(answers)
    for name in (spec.name for spec in table() if spec.secret):
        if kept.get(name) and not is_reference(kept[name]):
            reference = f"keyring://dataflows/{name}"
            keep(name, reference, kept[name])
            kept[name] = reference
    return kept


def _write(path: Path, flows: Sequence[str], answers: Mapping[str, str]) -> None:
    from dataflows.settings import needs, template
    from dataflows.store.files import private_folder, unusable, write_whole

    text = template.env_file(needs.groups_of(flows), {name: value for name, value in answers.items() if value})
    try:
        private_folder(path.parent)
        write_whole(path, text.encode())
    except OSError as error:
        raise unusable(path, error, "the env file", "name another one with --env-file") from None


# --- the end --------------------------------------------------------------------------------------------------------


def _end(call: Invocation, path: Path, flows: Sequence[str], *, check: bool) -> int:
    """Check what was written, say how to go on, and return the exit code."""
    from dataflows.cli.diagnostics import gravest, show_check

    call.env_file, call.data_dir = path, None
    hints.given(f"--env-file {hints.quoted(str(path))}")  # all the rest is in the file now
    settings = call.settings()
    whole = [flow for flow in flows if not _told_of_missing(call, settings, flow)]
    done: list[Check] = []
    for one in _checks(settings, whole) if check else ():
        done.append(one)
        if one.passed is False and not call.output.as_json:
            show_check(call, one)
    failed = [one for one in done if one.passed is False]
    code = gravest([*(one.exit_code for one in failed), *[ExitCode.SETTINGS] * (check and whole != list(flows))])
    following = [hints.pasteable(_NEXT[flow]) for flow in flows]
    call.output.note("when that is corrected:" if code else "next:")
    for line in following:
        call.output.note(f"  {line}")
    if call.output.as_json:
        call.output.document(_document(path, done, following, code))
    return call.output.ended(f"{sum(bool(one.passed) for one in done)} checks passed, {len(failed)} failed", code)


def _told_of_missing(call: Invocation, settings: Settings, flow: str) -> bool:
    """Say what a flow still lacks; returns whether it is anything."""
    from dataflows.settings.needs import lacking

    missing = lacking(settings, flow)
    if missing:
        call.output.warn(
            f"{flow} still needs {', '.join(missing)}", f"write it into {call.env_file}", reason="init-incomplete"
        )
    if "DB_CONNECTION_STRING" in missing:
        call.output.note("hint: to try things out with a table of its own: dataflows test-schema --create")
    return bool(missing)


def _checks(settings: Settings, flows: Sequence[str]) -> Iterator[Check]:
    from dataclasses import replace

    from dataflows.checks import DATABASES, SERVICES, check_schema

    practice = (("practice", DATABASES["practice"].check), ("mail", SERVICES["mail"].check))
    found: dict[str, tuple[tuple[str, Callable[[Settings], Iterator[Check]]], ...]] = {
        "csc-submit": (
            ("staging", DATABASES["staging"].check),
            ("schema", check_schema),
            ("csc", SERVICES["csc"].check),
        ),
        "hospitals-bulk": (("hospitals", SERVICES["hospitals"].check),),
        "cqc-fetch": (("cqc", SERVICES["cqc"].check),),
        "patient-import": (("bucket", SERVICES["bucket"].check), *practice),
        "therapist-import": practice,
        "serve": (),
    }
    wanted = dict(one for flow in flows for one in found[flow])
    if settings.smtp_host is None:
        wanted.pop("mail", None)
    for name, run in wanted.items():
        yield from (replace(check, name=f"{name}: {check.name}") for check in run(settings))


def _document(path: Path, done: Sequence[Check], following: Sequence[str], code: ExitCode) -> dict[str, object]:
    from dataflows.cli.diagnostics import checks_document

    return {**checks_document(list(done), code), "env_file": str(path), "next": list(following)}
