"""How the value of every setting is found and checked, with a pydantic-settings model made from the table."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from dataflows.errors import SettingUnusable
from dataflows.settings import envfile
from dataflows.settings.secrets import is_reference, secret_of
from dataflows.settings.table import Family, Origin, Settings, Spec, families, table

_NAME = re.compile(r"[A-Z][A-Z0-9_-]{0,60}")  # what may be shown: a wrapped secret can look like a key, too
_PATHS = tuple(spec.name.lower() for spec in table() if spec.kind == "path" and spec.name != "DATA_DIR")
_RANK: tuple[Origin, ...] = ("flag", "environment", "env file", "default")
_WRITTEN: ContextVar[Mapping[str, str]] = ContextVar("what the env file says")
LEFT_OUT: ContextVar[Collection[str]] = ContextVar("names, in lower case, that are read as not set", default=())


class ValueUnusable(SettingUnusable):
    """Settings of these names cannot be used; the others may be right."""

    def __init__(
        self, message: str, *names: str, reason: str, hint: str = "correct the value; .env.example lists every setting"
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.names = names


def load(
    env_file: Path | None = None,
    data_dir: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    options: Collection[str] = (),
) -> Settings:
    """Read all settings: flags beat the environment, which beats the env file, which beats the default.

    Args:
        env_file: the file to read; without one the usual places are searched (see :func:`envfile.find`).
        data_dir: the flag ``--data-dir``; a relative path is taken from the working folder.
        overrides: values of flags by lower-case setting name; None means that the flag was not given.
        options: names of variables that belong to command options, so that they are not reported as unknown.

    Raises:
        SettingUnusable: a value, a key of the env file or the file itself cannot be used. Never shows a value.
    """
    path = envfile.find(env_file)
    written = {key.lower(): value for key, value in (envfile.read(path) if path else {}).items()}
    written = {key: value for key, value in written.items() if key not in LEFT_OUT.get()}
    warnings = (*_check_keys(written, options, path), *_check_rights(written, path))
    flags = {name: value for name, value in (overrides or {}).items() if value is not None and str(value).strip()}
    if data_dir is not None:
        flags["data_dir"] = str(_from_working_folder(data_dir))
    origins = _origins(flags, written)
    if origins["db_connection_string"] == "default":
        warnings += _take_from_d2i(written, origins, path)
    values = _checked(flags, written, origins, path)
    _apply_debug(values, origins)
    values["data_dir"] = _data_dir(values["data_dir"], path)
    for name in _PATHS:
        if values[name] is not None:
            values[name] = _from_folder(values[name], path)
    for field_name, family in families():
        values[field_name] = _entries(family, written, path)
    return Settings(**values, env_file=path, warnings=warnings, origins=origins)


def _take_from_d2i(written: dict[str, str], origins: dict[str, Origin], path: Path | None) -> tuple[str, ...]:
    """Take the D2I tool's settings of the database, where it has some; the environment beats the env file."""
    environment = {name.lower(): value for name, value in os.environ.items() if name in envfile.NAMES and value}
    taken = envfile.connection_string({**written, **environment})
    if taken is None:
        return ()
    origin: Origin = "environment" if any(name.lower() in environment for name in taken.names) else "env file"
    written[envfile.OURS.lower()] = taken.value
    origins[envfile.OURS.lower()] = origin
    names = f"{' and '.join(taken.names)} ({_whence(origin, path)}) {'is' if len(taken.names) == 1 else 'are'}"
    return (f"{names} used as {envfile.OURS}; write instead: {taken.instead}",)


def _origins(flags: Mapping[str, object], written: Mapping[str, str]) -> dict[str, Origin]:
    sources: tuple[tuple[Origin, Collection[str]], ...] = (
        ("flag", flags),
        ("environment", _environment()),
        ("env file", written),
    )
    names = [spec.name.lower() for spec in table()]
    return {name: next((origin for origin, found in sources if name in found), "default") for name in names}


def _environment() -> dict[str, str]:
    """What the environment says, by lower-case name; a value of blanks says nothing, so the env file counts."""
    left_out = LEFT_OUT.get()
    return {name.lower(): value for name, value in os.environ.items() if value.strip() and name.lower() not in left_out}


def _entries(family: Family, written: Mapping[str, str], path: Path | None) -> dict[str, Any]:
    """The values of a family by entry, in the order of their names; the environment beats the env file."""
    found: dict[str, str] = {}
    sources: tuple[tuple[Origin, Mapping[str, str]], ...] = (("env file", written), ("environment", _environment()))
    for origin, values in sources:
        for name, value in values.items():
            entry = family.entry(name)
            if entry is None:
                continue
            try:
                text = value.strip()
                found[entry] = text if family.secret and is_reference(text) else _address(text)
            except ValueError:
                raise ValueUnusable(
                    f"{name.upper()} ({_whence(origin, path)}) must be {family.rule}", name, reason="setting-invalid"
                ) from None
    return {
        entry: secret_of(f"{family.prefix}{entry.upper()}", value, _address) if family.secret else value
        for entry, value in sorted(found.items())
    }


def _checked(
    flags: Mapping[str, object], written: Mapping[str, str], origins: Mapping[str, Origin], path: Path | None
) -> dict[str, Any]:
    from pydantic import ValidationError

    specs = {spec.name.lower(): spec for spec in table()}
    reading = _WRITTEN.set(written)
    try:
        values: dict[str, Any] = _model()(**flags).model_dump()
    except ValidationError as error:
        problems = error.errors(include_input=False, include_context=False)
        wrong = list(dict.fromkeys(str(problem["loc"][0]) for problem in problems))
    else:
        return {name: _hidden(specs[name], value) for name, value in values.items()}
    finally:
        _WRITTEN.reset(reading)
    # outside the except block: pydantic's error shows the values, so nothing may lead to it
    raise ValueUnusable(
        "; ".join(f"{specs[name].name} ({_whence(origins[name], path)}) must be {specs[name].rule}" for name in wrong),
        *wrong,
        reason="setting-invalid",
    )


@cache
def _model() -> Any:
    """The model, made once in a process: that takes longer than to read the settings."""
    from pydantic import create_model
    from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Base(BaseSettings):
        model_config = SettingsConfigDict(str_strip_whitespace=True, extra="ignore")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            found = {**_WRITTEN.get(), **_environment()}  # not pydantic's own: a blank beats the env file there
            return init_settings, InitSettingsSource(settings_cls, dict(found))

    fields: dict[str, Any] = {spec.name.lower(): (_type(spec), spec.default) for spec in table()}
    return create_model("SettingsModel", __base__=Base, **fields)


def _type(spec: Spec) -> Any:
    from typing import Annotated

    from pydantic import AfterValidator, Field

    types: dict[str, Any] = {
        "whole": Annotated[int, Field(ge=spec.low, le=spec.high)],
        "number": Annotated[float, Field(ge=spec.low, le=spec.high)],
        "switch": bool,
        "choice": Annotated[str, AfterValidator(lambda text: _one_of(text, spec.choices))],
        "address": Annotated[str, AfterValidator(_address)] | None,
        "text": Annotated[str, Field(pattern=spec.pattern)] | None,
    }
    found = types.get(spec.kind, str | None)
    return found | None if spec.kind == "whole" and spec.default is None else found


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    if text.lower() not in choices:
        raise ValueError("not a choice")
    return text.lower()


def _address(text: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    safe = parts.scheme == "https" or (parts.scheme == "http" and local)
    if not safe or not parts.hostname or parts.username is not None:
        raise ValueError("no address")
    return text


def _hidden(spec: Spec, value: Any) -> Any:
    return secret_of(spec.name, value) if spec.secret and value is not None else value


def _apply_debug(values: dict[str, Any], origins: Mapping[str, Origin]) -> None:
    if values["debug"] and _RANK.index(origins["debug"]) <= _RANK.index(origins["log_level"]):
        values["log_level"] = "debug"


def _check_keys(written: Mapping[str, str], options: Collection[str], path: Path | None) -> tuple[str, ...]:
    from difflib import get_close_matches

    known = {spec.name for spec in table()} | set(options) | set(envfile.NAMES)
    warnings = []
    for key in (key.upper() for key in written):
        if key in known or any(family.entry(key) for _, family in families()):
            continue
        near = get_close_matches(key, known, n=1, cutoff=0.8)
        if near and not _is_variant(key, near[0]):
            raise ValueUnusable(
                f"{key} in {path} is not a setting",
                key.lower(),
                reason="setting-unknown",
                hint=f"did you mean {near[0]}?",
            )
        name = key if _NAME.fullmatch(key) and written[key.lower()] != "=" else "a line"
        warnings.append(f"{name} in {path} is not a setting of this program and was ignored")
    return tuple(warnings)


def _check_rights(written: Mapping[str, str], path: Path | None) -> Iterator[str]:
    """Other accounts of the machine must not read secrets, nor change where data is sent to."""
    if path is None or sys.platform == "win32":  # where the folder says who may
        return
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    hidden = {spec.name.lower() for spec in table() if spec.secret} | {envfile.WHOLE.lower()}
    families_hidden = [family for _, family in families() if family.secret]
    plain = [key for key, value in written.items() if not is_reference(value)]
    holds = hidden.intersection(plain) or any(family.entry(key) for family in families_hidden for key in plain)
    if holds and mode & stat.S_IROTH:
        yield f"every account of this machine can read the secrets in {path}: chmod 600 {shlex.quote(str(path))}"
    elif mode & stat.S_IWOTH:
        yield f"every account of this machine can change {path}: chmod 600 {shlex.quote(str(path))}"


def _is_variant(key: str, known: str) -> bool:
    """Whether somebody parked another value under a longer name (``CLIENT_SECRET_OLD``): no slip of the pen."""
    return key.startswith(known + "_") or key.endswith("_" + known)


def _data_dir(value: str | None, path: Path | None) -> Path:
    if value is not None:
        return _from_folder(value, path)
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA") or r"C:\ProgramData") / "dataflows"
    from platformdirs import user_data_path

    return user_data_path("dataflows", appauthor=False)


def _from_folder(value: str, path: Path | None) -> Path:
    """A path as it is meant: from the env file's folder, else the exe's, since a working folder means little."""
    folder = path.parent if path else envfile.home() or envfile.working_folder() or Path()
    return _tidy(folder / Path(value).expanduser())


def _from_working_folder(value: Path) -> Path:
    folder = envfile.working_folder()
    if folder is None and not value.is_absolute():
        raise SettingUnusable(
            f"--data-dir {value} is relative, and the working folder belongs to Windows",
            reason="path-relative",
            hint="give the full path, such as C:\\dataflows",
        )
    return _tidy((folder or Path()) / value)


def _tidy(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def _whence(origin: Origin, path: Path | None) -> str:
    return f"from {path}" if origin == "env file" else f"from the {origin}"
