"""Env files: how they are written and read, and the D2I tool's variables among them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import NamedTuple, TextIO

from dataflows.errors import SettingUnusable

WHOLE = "SQL_CONN_STR"
PARTS = ("USER_SERVER", "USER_DATABASE")
NAMES = (WHOLE, *PARTS)
OURS = "DB_CONNECTION_STRING"


class Taken(NamedTuple):
    """A connection string made of the other tool's settings: which, the value, and what to write instead."""

    names: tuple[str, ...]
    value: str
    instead: str


def connection_string(values: Mapping[str, str]) -> Taken | None:
    """Return what these settings (by lower-case name) say of the database; None when they say nothing."""
    if whole := values.get(WHOLE.lower(), "").strip():
        return Taken((WHOLE,), whole, f"{OURS}= with the same value")
    server, database = (values.get(name.lower(), "").strip() for name in PARTS)
    if not server or not database:
        return None
    value, example = _composed(_quoted(server), _quoted(database)), _composed("<USER_SERVER>", "<USER_DATABASE>")
    return Taken(PARTS, value, f"{OURS}={example}")


def _composed(server: str, database: str) -> str:
    return f"Driver={{ODBC Driver 17 for SQL Server}};Server={server};Database={database};Trusted_Connection=yes"


def _quoted(value: str) -> str:
    """Put braces around an ODBC value that holds a character which would end it."""
    return "{" + value.replace("}", "}}") + "}" if set(value) & set(";{}") else value


# An ODBC string may hold " #" in a password, so nothing behind it is ever taken for a comment.
TAKEN_WHOLE = frozenset({"DB_CONNECTION_STRING", "IMPORT_DATABASE_URL", "SQL_CONN_STR"})


def find(named: Path | None) -> Path | None:
    """The env file to read: the one named, else ``.env`` in the working folder, else ``.env`` beside the exe.

    A working folder that belongs to Windows is passed over, because Task Scheduler starts programs there.

    Raises:
        SettingUnusable: the file that was named does not exist.
    """
    if named is not None:
        if not _is_file(named):
            raise SettingUnusable(
                f"the env file {named} does not exist",
                reason="file-unreadable",
                hint="check the path given to --env-file",
            )
        return named.absolute()
    return next((folder / ".env" for folder in _usual_folders() if _is_file(folder / ".env")), None)


def read(path: Path) -> dict[str, str]:
    """The keys and values of an env file, as python-dotenv understands them; empty values are left out.

    Raises:
        SettingUnusable: the file cannot be read, is not UTF-8, or a line is no ``KEY=value``.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return parsed(stream, str(path))
    except UnicodeDecodeError:
        raise SettingUnusable(
            f"{path} is not UTF-8 text", reason="not-utf8", hint="save the file as UTF-8 in your editor"
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def parsed(stream: TextIO, name: str) -> dict[str, str]:
    """The same for the text of an env file. Raises SettingUnusable, which names the file so."""
    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for binding in list(parse_stream(stream)):
        if binding.key is None and not binding.error:
            continue  # a blank line or a comment
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error or binding.key is None or binding.value is None:
            raise SettingUnusable(
                f"line {line} of {name} is not KEY=value",
                reason="env-file-line",
                hint="write the setting on one line, or start a comment with #",
            )
        values[binding.key] = _value(binding.key, binding.value, binding.original.string, f"line {line} of {name}")
    return {key: value for key, value in values.items() if value}


def home() -> Path | None:
    """The folder of the exe; None when this runs from source or an installed package."""
    return Path(sys.executable).absolute().parent if getattr(sys, "frozen", False) else None


def working_folder() -> Path | None:
    """The working folder; None when it belongs to Windows or is gone."""
    try:
        folder = Path.cwd()
    except OSError:
        return None
    system_root = os.environ.get("SYSTEMROOT", "") if sys.platform == "win32" else ""
    return None if system_root and is_inside(str(folder), system_root) else folder


def is_inside(folder: str, system_root: str) -> bool:
    """Whether a Windows path is the system's own folder or lies in it (case does not count there)."""
    return PureWindowsPath(folder).is_relative_to(PureWindowsPath(system_root))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> SettingUnusable:
    return SettingUnusable(
        f"{path} cannot be read ({error.strerror})",
        reason="file-unreadable",
        hint="check its permissions for the account that runs this",
    )


def _usual_folders() -> list[Path]:
    return [folder for folder in (working_folder(), home()) if folder is not None]


def _value(key: str, parsed: str, original: str, where: str) -> str:
    text = original.partition("=")[2].strip()
    quoted = text[:1] in ("'", '"')
    if key.upper() in TAKEN_WHOLE and not quoted:
        return text
    if any(character < " " for character in parsed):
        raise SettingUnusable(
            f"{key} on {where} contains a line break or another control character",
            reason="env-file-line",
            hint="a backslash in double quotes has a special meaning: use single quotes, or none",
        )
    return parsed.strip()


def _blank_lines(original: str) -> int:
    return original[: len(original) - len(original.lstrip())].count("\n")
