"""``person``: what is held of one person, handed out, or erased. Who is meant is never an argument."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import BadInput, ExitCode, Interrupted, WrongUsage

if TYPE_CHECKING:
    from dataflows.flows.practice.asked import PersonAsked
    from dataflows.runs.runner import Job, Outcome, Report
    from dataflows.settings import Settings

COMMAND = "person"
_MOST = 10_000  # bytes of stdin
_PLACES = {
    "patient_registrations": "registrations",
    "patient_consents": "consents",
    "patient_tracking": "tracked objects",
    "copies": "local copies",
    "quarantine": "copies in quarantine",
    "bucket": "objects in the bucket",
    "therapist_locations": "further listings",
    "therapist_changes": "noted changes",
    "events": "events in the outbox",
    "mails": "mails with a keyed hash",
}
"""Places in an operator's words, where their names in the report are others."""
_CODES = tuple(code for code in ExitCode if code is not ExitCode.ALL_FAILED)

Patient = Annotated[
    list[int] | None, typer.Option("--patient", metavar="ID", help="Of several who fit, this patient; repeatable.")
]
Therapist = Annotated[
    list[int] | None, typer.Option("--therapist", metavar="ID", help="Of several who fit, this therapist; repeatable.")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="People's rights: what is held of one patient or therapist; export it, or erase it.", no_args_is_help=True
    )
    group.command("find", epilog=epilog("dataflows person find", codes=_CODES))(find)
    group.command("export", epilog=epilog("dataflows person export --out person.json", codes=_CODES))(export)
    group.command(
        "erase",
        epilog=epilog("dataflows person erase --dry-run", "dataflows person erase --yes < who.json", codes=_CODES),
    )(erase)
    app.add_typer(group, name=COMMAND)


def find(context: typer.Context, patient: Patient = None, therapist: Therapist = None, as_json: Json = False) -> None:
    """Say how much is held of a person, and where.

    Who is meant is asked for on the terminal, or read from stdin as JSON.
    Nothing is written, and no name is shown.
    """
    call = invocation(context).begin("person-find", as_json)
    asked = _asked(call, patient, therapist)
    from dataflows.flows.practice import person

    settings = call.settings()
    outcome = _outcome(call, settings, person.find(settings, asked))
    raise typer.Exit(call.output.finish(outcome, show=lambda report: _show(call, report, "held")))


def export(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="Write to this new file, for its owner alone.")
    ] = None,
    patient: Patient = None,
    therapist: Therapist = None,
    as_json: Json = False,
) -> None:
    """Hand out all that is held of a person, as one JSON document.

    Without --out it is printed on stdout: it is the person's own data.
    """
    call = invocation(context).begin("person-export", as_json)
    if out is not None and out.exists():
        raise WrongUsage(f"{out} already exists", reason="person-out-exists", hint="name a new file")
    asked = _asked(call, patient, therapist)
    from dataflows.flows.practice import person

    settings = call.settings()
    found: dict[str, object] = {}
    outcome = _outcome(call, settings, person.export(settings, asked, found.update))
    if not found:
        raise typer.Exit(call.output.finish(outcome))
    if out is None:
        call.output.document(found)
        call.output.as_json = False  # the one document was the export
        raise typer.Exit(call.output.finish(outcome, show=lambda _: None))
    _write(out, found)
    raise typer.Exit(call.output.finish(outcome, show=lambda report: _show(call, report, "held")))


def erase(
    context: typer.Context,
    patient: Patient = None,
    therapist: Therapist = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would be erased; erase nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again; needed where stdin is no terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Erase all that is held of a person, and keep a keyed hash of it.

    By the hash an import knows again what was erased, and leaves it alone.
    What no command reaches, such as backups, is listed.
    """
    call = invocation(context).begin("person-erase", as_json)
    if not (dry_run or yes or _on_terminal()):
        raise WrongUsage(
            "erasing wants --yes where nobody can be asked", reason="person-unconfirmed", hint="look first: --dry-run"
        )
    asked = _asked(call, patient, therapist)
    from dataflows.flows.practice import person

    settings = call.settings()
    if not (dry_run or yes):
        _confirm(call, settings, asked)
    outcome = _outcome(call, settings, person.erase(settings, asked, dry_run=dry_run), dry_run=dry_run)
    word = "held" if dry_run else "erased"
    raise typer.Exit(call.output.finish(outcome, show=lambda report: _show(call, report, word)))


def _outcome(call: Invocation, settings: Settings, job: Job, *, dry_run: bool = False) -> Outcome:
    """Run it as a run of its own: it is in the history, without a word of who was meant."""
    from dataflows.flows.practice import person

    order = call.order(settings, person.target(settings), {"dry_run": dry_run}, resumable=False)
    return call.outcome(order, job, call.listener)


def _confirm(call: Invocation, settings: Settings, asked: PersonAsked) -> None:
    """Show what is held, and ask. Raises Interrupted unless the answer is yes."""
    from dataflows.flows.practice import person

    look = call.anew().begin("person-find")
    try:
        outcome = _outcome(look, settings, person.find(settings, asked))
    finally:
        look.close()
    if outcome.error is not None:
        raise outcome.error
    for line in _lines(outcome.report, "held"):
        call.output.note(line)
    if call.output.ask("Erase this for good? [y/N]: ").lower() not in ("y", "yes"):
        raise Interrupted("not confirmed: nothing was erased", reason="person-unconfirmed")


# --- who is meant -----------------------------------------------------------------------------------------------------


def _asked(call: Invocation, patients: list[int] | None, therapists: list[int] | None) -> PersonAsked:
    from dataflows.flows.practice.asked import FIELDS, PersonAsked

    given = _prompted(call, FIELDS) if _on_terminal() else _read()
    return PersonAsked.read(given, tuple(patients or ()), tuple(therapists or ()))


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _prompted(call: Invocation, fields: Mapping[str, str]) -> dict[str, Any]:
    call.output.note("Who is meant? What is typed here is kept nowhere.")
    return {name: call.output.ask(f"{words}: ") for name, words in fields.items()}


def _read() -> dict[str, Any]:
    """What stdin says, as JSON. Raises BadInput without a word of it."""
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_MOST + 1)
    try:
        found = json.loads(data[: _MOST + 1].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or len(data) > _MOST:
        raise BadInput(
            "stdin does not say who is meant",
            reason="person-not-named",
            hint='give JSON such as {"first_name": "...", "last_name": "...", "date_of_birth": "2000-01-31"}, or type'
            " it on a terminal",
        )
    return found


# --- what is said -----------------------------------------------------------------------------------------------------


def _show(call: Invocation, report: Report, word: str) -> None:
    for line in _lines(report, word):
        call.output.say(line)


def _lines(report: Report, word: str) -> list[str]:
    """Counts by place, the ids of rows, and what was not reached; no name."""
    told: dict[str, Any] = dict(report)
    places = told.get("erased", told.get("held")) or {}
    word = "would erase" if told.get("dry_run") else word
    lines = [f"{word}: {_PLACES.get(place, place)}: {count}" for place, count in places.items() if count]
    lines += [f"{kind}: row {', '.join(map(str, told[kind]))}" for kind in ("patients", "therapists") if told.get(kind)]
    lines += [f"not looked at: {one['place']}: {one['why']}" for one in told.get("out_of_reach", ())]
    lines += [f"cannot be told whose: {one}" for one in told.get("unclear", ())]
    lines += [f"left: {one['place']}: {one['why']}" for one in told.get("left", ())]
    return lines + [f"not reached: {one}" for one in told.get("not_reached", ()) if lines]


def _write(path: Path, document: Mapping[str, object]) -> None:
    from dataflows.store.files import private_folder, unusable, write_whole

    try:
        text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
        write_whole(private_folder(path.absolute().parent) / path.name, text.encode())
    except OSError as error:
        raise unusable(path, error, "the file of the export", "name a file in a folder of yours") from None
