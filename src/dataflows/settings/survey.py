"""Every setting as it is in force, with its source and what is wrong with it: all of it, where ``load`` stops."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflows.errors import SettingUnusable
from dataflows.settings import reading
from dataflows.settings.secrets import KeptSecret
from dataflows.settings.table import Secret, Settings, Spec, families, table


@dataclass(frozen=True)
class Setting:
    """One setting: its value as it may be shown (a secret is ``***``, None has none) and where that is from."""

    name: str
    flow: str
    value: str | None
    source: str
    """flag, environment, env file or default; with the reference of a secret that is kept elsewhere."""
    problem: str = ""


@dataclass(frozen=True)
class SettingProblem:
    """What is wrong with what somebody has set, and what to do about it."""

    message: str
    hint: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """All settings; ``settings`` are those in force, where what is unusable counts as not set."""

    settings: Settings
    items: tuple[Setting, ...]
    problems: tuple[SettingProblem, ...]


def survey(
    env_file: Path | None, data_dir: Path | None, overrides: Mapping[str, object], options: Collection[str]
) -> Survey:
    """Look at all settings, those that cannot be used and secrets that are kept elsewhere included.

    The arguments are those of :func:`dataflows.settings.load`.

    Raises:
        SettingUnusable: the env file as a whole cannot be read, or ``data_dir`` cannot be meant.
    """
    wrong: dict[str, SettingProblem] = {}
    while True:  # each round leaves out what the one before complained of
        reset = reading.LEFT_OUT.set(wrong)
        try:
            settings = reading.load(env_file, data_dir, overrides, options=options)
            break
        except reading.ValueUnusable as error:
            wrong |= _each(error)
        finally:
            reading.LEFT_OUT.reset(reset)
    items = tuple(_items(settings, wrong))
    return Survey(settings, items, (*wrong.values(), *_unfetched(settings)))


def problem_of(spec: Spec, text: str) -> str:
    """What is wrong with the text of a setting, in words; nothing for one that can be used."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(reading._type(spec)).validate_python(text)
    except ValidationError:
        return f"{spec.name} must be {spec.rule}"
    return ""


def _each(error: reading.ValueUnusable) -> dict[str, SettingProblem]:
    """The problems of an error by name; the message joins those of several settings."""
    messages = error.message.split("; ") if len(error.names) > 1 else [error.message]
    return {
        name: SettingProblem(text, error.hint, error.reason) for name, text in zip(error.names, messages, strict=True)
    }


def _items(settings: Settings, wrong: Mapping[str, SettingProblem]) -> Iterator[Setting]:
    for spec in table():
        value, name = getattr(settings, spec.name.lower()), spec.name.lower()
        problem = wrong[name].message if name in wrong else ""
        source = "unusable" if problem else _source(value, settings.origin(name))
        yield Setting(spec.name, spec.flow, None if problem else _shown(value), source, problem)
    for field, family in families():
        for entry, value in getattr(settings, field).items():
            yield Setting(f"{family.prefix}{entry.upper()}", family.flow, _shown(value), _source(value, "set"))


def _source(value: Any, origin: str) -> str:
    return f"{value.reference} ({origin})" if isinstance(value, KeptSecret) else origin


def _shown(value: Any) -> str | None:
    if value is None or isinstance(value, Secret):
        return None if value is None else "***"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _unfetched(settings: Settings) -> Iterator[SettingProblem]:
    """What keeps secrets that are kept elsewhere from being fetched."""
    single = [getattr(settings, spec.name.lower()) for spec in table() if spec.secret]
    several = [value for field, family in families() if family.secret for value in getattr(settings, field).values()]
    for value in (*single, *several):
        if isinstance(value, KeptSecret):
            try:
                value.reveal()
            except SettingUnusable as error:
                yield SettingProblem(error.message, error.hint, error.reason)
