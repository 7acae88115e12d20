"""Env files as they are written: every setting with its meaning, those that have a value or a default shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import groupby

from dataflows.errors import SettingUnusable
from dataflows.settings import envfile
from dataflows.settings.table import Family, Spec, families, table

_HEAD = (
    "# Settings of dataflows, written by: dataflows init",
    "# A flag takes precedence over the environment, the environment over this file, this file over the default.",
    "# Lines that begin with # are comments; those that hold a setting show its default.",
)


def env_file(groups: Iterable[str], values: Mapping[str, str]) -> str:
    """The text of an env file.

    Args:
        groups: whose settings stand in it, whether they have a value or not.
        values: what is set, by name. Settings of other groups are added with their group, and what is no setting, such
            as the variable of an option, at the end.

    Raises:
        SettingUnusable: a value cannot stand on one line.
    """
    more = (flow for flow, specs in by_flow() if any(spec.name in values for spec in specs))
    written = [*_HEAD, *lines(values, [*groups, *more])]
    rest = values.keys() - envfile.parsed(StringIO("\n".join(written)), "the new file").keys()
    if rest:
        written += ["", "# ---- kept from the file before ----", ""]
        written += [assignment(name, value) for name, value in values.items() if name in rest]
    return "\n".join(written) + "\n"


def by_flow(flows: Iterable[str] | None = None) -> list[tuple[str, list[Spec]]]:
    """The settings in groups; of all flows, or of those that are named."""
    wanted = None if flows is None else set(flows)
    groups = [(flow, list(specs)) for flow, specs in groupby(table(), key=lambda spec: spec.flow)]
    return [(flow, specs) for flow, specs in groups if wanted is None or flow in wanted]


def families_of(flow: str) -> list[Family]:
    """The families of a group."""
    return [family for _, family in families() if family.flow == flow]


def lines(values: Mapping[str, str], flows: Iterable[str] | None = None) -> Iterator[str]:
    """The lines of an env file, each setting after what it means.

    Args:
        values: what is set, by name; it is put into words that are read back as the same.
        flows: the groups to write; all without.

    Raises:
        SettingUnusable: a value cannot stand on one line.
    """
    for flow, specs in by_flow(flows):
        yield from ("", f"# ---- {flow} ----")
        for spec in specs:
            yield from ("", f"# {sentence(spec)}")
            yield assignment(spec.name, values[spec.name]) if spec.name in values else _unset(spec)
        for family in families_of(flow):
            yield from ("", f"# {family.meaning} [{family.rule}]", f"#{family.example}")
            yield from (assignment(name, value) for name, value in values.items() if family.entry(name))


def sentence(spec: Spec) -> str:
    """What a setting means and what it takes."""
    rule = "" if spec.kind in ("secret", "path") or spec.rule == "text" else f" [{spec.rule}]"
    return f"{spec.meaning}{rule}"


def shown(value: object) -> str:
    """A default as it would be written."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def assignment(name: str, value: str) -> str:
    """``NAME=value``, in single quotes where that is needed to be read back.

    Raises:
        SettingUnusable: it holds a line break, or cannot be written so that it is read back.
    """
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    for written in (f"{name}={value}", f"{name}={quoted}"):
        if "\n" not in written and "\r" not in written and _read_back(name, written) == value:
            return written
    raise SettingUnusable(
        f"{name} cannot be written on one line of an env file",
        reason="env-file-line",
        hint="leave out control characters",
    )


def _read_back(name: str, line: str) -> str | None:
    try:
        return envfile.parsed(StringIO(f"{line}\n"), "the file").get(name)
    except SettingUnusable:
        return None


def _unset(spec: Spec) -> str:
    return f"{spec.name}=" if spec.default is None else f"#{spec.name}={shown(spec.default)}"
