"""The pages that follow from the commands; tools/generate.py writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import typer

from api_pipeline.__main__ import _COMMANDS, _HELP
from dataflows.cli.main import app
from dataflows.cli.options import variable_name
from dataflows.errors import ExitCode

NOTE = "<!-- Written by tools/generate.py from the code. Change the code, then run it again. -->"
_COMMANDS_INTRO = """\
# Commands

What `dataflows COMMAND --help` says, on one page. Options of a command go after it, options of the program before or
after it. Every option of a command has a variable, for the environment or the env file, which works like the option."""
_PROGRAM_INTRO = """\
## csc_api_pipeline

A second program for `csc-submit`, also started as `python -m api_pipeline`. Its commands are those of `dataflows`,
with the same options and exit codes; without a command it does `run`. Options of the program work here too."""


def commands_page() -> str:
    """The text of docs/commands.md."""
    group: Any = typer.main.get_command(app)
    lines = [NOTE, "", _COMMANDS_INTRO, "", "## dataflows", "", *_body((), group)]
    for name in group.list_commands(None):
        for way, command in _all((name,), group.commands[name]):
            lines += ["", f"## {' '.join(way)}", "", *_body(way, command)]
    shown = _HELP.format(program="csc_api_pipeline")
    rows = [(f"`{name}`", f"`dataflows {target}`") for name, target in _COMMANDS.items()]
    lines += ["", _PROGRAM_INTRO, "", "```text", shown, "```", "", *grid(("command", "is"), rows)]
    return "\n".join(lines) + "\n"


def grid(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body]]


def _all(way: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield way, command
    for name in getattr(command, "commands", ()):
        yield from _all((*way, name), command.commands[name])


def _body(way: tuple[str, ...], command: Any) -> list[str]:
    context = typer.Context(command, info_name=" ".join(("dataflows", *way)))
    usage = " ".join(("dataflows", *way, *command.collect_usage_pieces(context)))
    lines = [_prose(command.help), "", f"    {usage}"]
    records = [(one, one.get_help_record(context)) for one in command.params if not one.hidden]
    arguments = [_told(record) for one, record in records if one.param_type_name == "argument"]
    options = [(*_told(record), _variable(way, one)) for one, record in records if one.param_type_name == "option"]
    if arguments:
        lines += ["", *grid(("argument", "meaning"), arguments)]
    if options:
        lines += ["", *grid(("option", "meaning", "variable"), options)]
    return lines + _end(command.epilog or "")


def _told(record: tuple[str, str]) -> tuple[str, str]:
    """Choices stand with / between them: a | would end the cell of the table."""
    return f"`{record[0].replace('|', '/')}`", _escaped(re.sub(r"  +", " ", record[1]))


def _variable(way: tuple[str, ...], option: Any) -> str:
    if way:
        return f"`{variable_name(way, max(option.opts, key=len))}`"
    return f"`{option.envvar}`" if option.envvar else ""


def _end(epilog: str) -> list[str]:
    """Examples and exit codes, which stand below every help text."""
    shown, _, rest = epilog.replace("\b\n", "").partition("Exit codes:")
    examples = [line.strip() for line in shown.splitlines() if line.startswith("  ")]
    codes = [ExitCode(int(code)) for code in re.findall(r"^ {2,4}(\d+)  ", rest, re.MULTILINE)]
    lines = ["", f"{'Examples' if len(examples) > 1 else 'Example'}:", "", *(f"    {one}" for one in examples)]
    told = ", ".join(str(int(code)) for code in sorted(codes))
    return [*(lines if examples else []), *(["", f"[Exit codes](exit-codes.md): {told}."] if codes else [])]


def _prose(text: str) -> str:
    return _escaped(re.sub(r"(?<!\n)\n(?!\n)", " ", text or ""))


def _escaped(text: str) -> str:
    """Text that Markdown and HTML leave as it is; what stands between backticks already is left alone."""
    parts = text.split("`")
    plain = [re.sub(r"([*\\])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]]
    return "".join(one for pair in zip(plain, [*code, ""], strict=False) for one in pair)
