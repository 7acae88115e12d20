"""Every option has a variable, ``DATAFLOWS_<COMMAND>_<OPTION>``, in the environment or in the env file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PREFIX = "DATAFLOWS"


@dataclass(frozen=True)
class Variable:
    """The variable of one option."""

    name: str
    commands: tuple[str, ...]
    """The way to the command, such as ``("runs", "list")``."""
    option: str
    """The option as it is typed, such as ``--older-than``."""
    parameter: str
    meaning: str
    multiple: bool


def variables(group: Any, above: tuple[str, ...] = ()) -> Iterator[Variable]:
    """The variables of all options below a Typer group."""
    for name, command in group.commands.items():
        way = (*above, name)
        if hasattr(command, "commands"):
            yield from variables(command, way)
        for parameter in command.params:
            if parameter.param_type_name == "option":
                yield _variable(way, parameter)


def defaults(known: list[Variable], written: Mapping[str, str]) -> dict[str, Any]:
    """What the variables say, in the shape of a Typer ``default_map``; the environment beats the env file."""
    found: dict[str, Any] = {}
    file = {key.upper(): value for key, value in written.items()}
    for variable in known:
        value = os.environ.get(variable.name, "").strip() or file.get(variable.name)
        if not value:
            continue
        place = found
        for command in variable.commands:
            place = place.setdefault(command, {})
        place[variable.parameter] = value.split() if variable.multiple else value
    return found


def variable_name(commands: tuple[str, ...], option: str) -> str:
    """The name by rule."""
    return "_".join([_PREFIX, *commands, option.lstrip("-")]).replace("-", "_").upper()


def _variable(way: tuple[str, ...], parameter: Any) -> Variable:
    option = max(parameter.opts, key=len)
    return Variable(
        variable_name(way, option), way, option, parameter.name, parameter.help or "", bool(parameter.multiple)
    )
