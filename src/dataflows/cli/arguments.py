"""The words of a call: options of the program are taken after the command too, and hints repeat what was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataflows.errors import WrongUsage
from dataflows.hints import quoted, whole


def options_first(program: Any, words: Sequence[str]) -> list[str]:
    """The words with the options of the program before its command, wherever they were written.

    What follows two dashes, and what is the value of a command's own option, stays where it is.

    Args:
        program: the Typer group of all commands.

    Raises:
        WrongUsage: the value of one is missing.
    """
    ours, before, rest = _options(program), list[str](), list[str]()
    command, waiting = program, list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return [*before, *rest, word, *waiting]
        own = _options(command) if rest else {}
        name, equals, _ = word.partition("=")
        takes_value = own.get(name, ours.get(name, False)) and not equals
        if takes_value and not waiting and name in ours:
            raise WrongUsage(f"Option {name!r} requires an argument", reason="usage", hint="see: dataflows --help")
        place = before if name in ours and name not in own else rest
        place += [word, *waiting[:1]] if takes_value else [word]
        waiting = waiting[takes_value:]
        command = getattr(command, "commands", {}).get(word, command)
    return [*before, *rest]


def _options(command: Any) -> dict[str, bool]:
    """The options of a command by name, with whether a value follows."""
    options = [one for one in command.params if one.param_type_name == "option"]
    return {name: not (one.is_flag or one.count) for one in options for name in (*one.opts, *one.secondary_opts)}


def repeated(context: Any, names: Sequence[str], chosen: Sequence[str]) -> Iterator[str]:
    """What a hint has to repeat of this call: files and folders in full, and settings but secrets.

    Args:
        names: parameters of the program that name a file or folder.
        chosen: what ``--set`` was given.
    """
    for name in names:
        value = context.params[name]
        if context.get_parameter_source(name).name == "COMMANDLINE" and str(value).strip():
            yield f"--{name.replace('_', '-')} {quoted(str(whole(Path(value))))}"
    if not chosen:
        return
    from dataflows.settings import table

    public = {spec.name for spec in table() if not spec.secret}
    yield from (f"--set {quoted(setting)}" for setting in chosen if setting.partition("=")[0].upper() in public)
