"""``secrets``: puts a secret where its setting says that it is kept."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import BadInput, ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.settings import Settings

_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS, ExitCode.BAD_INPUT, ExitCode.INTERRUPTED)
_LONGEST = 16 * 1024


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Keeps secrets outside the env file.", no_args_is_help=True)
    examples = (
        "dataflows secrets set CLIENT_SECRET",
        "dataflows secrets set SUPPLIER_KEY --to keyring://dataflows/la-998",
    )
    group.command("set", epilog=epilog(*examples, codes=_CODES))(set_secret)
    app.add_typer(group, name="secrets")


def set_secret(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The setting, such as CLIENT_SECRET.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="REFERENCE", help="keyring://service/name or file:///path (default: what the setting says)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Store a secret in the keyring of this account, or in a file.

    It is asked for without being shown, or read from stdin (one line). Run this as the account that runs the job: on
    Windows the keyring is that account's Credential Manager.
    """
    call = invocation(context).begin("secrets set", as_json)
    setting = known(name)
    settings = call.settings()
    reference = to or in_force(settings, setting) or f"keyring://dataflows/{setting}"
    keep(setting, reference, _value(call, setting))
    if in_force(settings, setting) != reference:
        call.output.note(f"write into {settings.env_file or 'the env file'}: {setting}={reference}")
    if call.output.as_json:
        call.output.document(
            {
                "run_id": None,
                "status": "done",
                "exit_code": 0,
                "setting": setting,
                "reference": reference,
                "error": None,
            }
        )
    raise typer.Exit(call.output.ended(f"{setting} is kept by {reference}"))


def known(name: str) -> str:
    """The name of a setting that is a secret, however it was typed. Raises WrongUsage for another one."""
    from dataflows.settings import families, table

    secrets = [spec.name for spec in table() if spec.secret]
    if name.upper() in secrets or any(family.secret and family.entry(name) for _, family in families()):
        return name.upper()
    raise WrongUsage("no secret setting has this name", reason="secret-setting", hint=f"one of {', '.join(secrets)}")


def in_force(settings: Settings, name: str) -> str | None:
    """The reference that a setting holds now, if it holds one."""
    from dataflows.settings import families
    from dataflows.settings.secrets import KeptSecret

    value = getattr(settings, name.lower(), None)
    for field, family in families():
        if entry := family.entry(name):
            value = getattr(settings, field).get(entry)
    return value.reference if isinstance(value, KeptSecret) else None


def keep(setting: str, reference: str, value: str) -> None:
    """Store a secret where a reference says. Raises SettingUnusable, WrongUsage."""
    from dataflows.settings import secrets
    from dataflows.store.files import write_whole

    if not secrets.is_reference(reference):
        raise WrongUsage(
            "--to is not a reference to a secret",
            reason="secret-reference",
            hint="such as keyring://dataflows/csc or file:///run/csc",
        )
    secrets.keep(setting, reference, value, write_whole)


def _value(call: Invocation, setting: str) -> str:
    asked = sys.stdin.isatty()
    value = call.output.ask_secret(f"{setting}: ") if asked else sys.stdin.read(_LONGEST + 1).strip()
    if not value or len(value) > _LONGEST or any(character < " " for character in value):
        raise BadInput(
            f"{setting} was not given as one line of text", reason="secret-value", hint="nothing was stored; try again"
        )
    return value
