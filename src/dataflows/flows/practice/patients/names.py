"""What the names of objects say: ``{lastname}_{firstname}_{date}_{token}.json`` (patients.md, Source)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TypeAlias

from dataflows.errors import WrongUsage

Rule: TypeAlias = Callable[[str], "re.Match[str] | None"]
"""Says whether an object's name is one of a registration; a group ``token`` is its token."""

_NAME = re.compile(
    r"(?P<lastname>[^/\\\x00-\x1f\x7f_][^/\\\x00-\x1f\x7f]*)_(?P<firstname>[^/\\\x00-\x1f\x7f_]+)"
    r"_(?P<date>\d{4}-\d{2}-\d{2}|\d{8})_(?P<token>[0-9a-f]{8,64})\.json",
    re.IGNORECASE | re.ASCII,
)


def usual(name: str) -> re.Match[str] | None:
    """Take a name apart from its end, since double names may hold ``_``; None when it is none of a registration."""
    found = _NAME.fullmatch(name)
    return found if found and _is_date(found["date"]) else None


def rule(pattern: str | None) -> Rule:
    """The rule of ``--pattern``, a regular expression for the whole name, else the usual one.

    Raises:
        WrongUsage: it is no regular expression.
    """
    if pattern is None:
        return usual
    try:
        return re.compile(pattern).fullmatch
    except re.error:
        raise WrongUsage(
            "--pattern is no regular expression",
            hint=r"such as: --pattern 'form-.*_(?P<token>[0-9a-f]+)\.json'; it has to fit the whole name",
        ) from None


def token_of(found: re.Match[str]) -> str | None:
    """The token in a name, None where the rule names none."""
    return found.groupdict().get("token")


def day_of(found: re.Match[str]) -> date | None:
    """The day in a name, None where the rule names none or it is no day that has a next one."""
    try:
        day = date.fromisoformat(found.groupdict().get("date") or "")
    except ValueError:
        return None
    return day if day < date.max else None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
