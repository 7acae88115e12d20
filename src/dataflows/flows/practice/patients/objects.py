"""Objects of the bucket: what its list says of them, and what their names say.

A name is ``{lastname}_{firstname}_{date}_{token}.json`` (patients.md, Source).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import TypeAlias

from dataflows.errors import DataflowsError, WrongUsage

COPIES = "file:"
"""What stands in the place of a bucket's name for local copies; no bucket can be called so."""


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One object as the list shows it; ``moment`` is when this generation was made.

    What the list does not say, or says in no usable form: a generation of 0, a size of None, no checksum.
    """

    name: str
    generation: int
    size: int | None
    crc32c: str
    moment: datetime


@dataclass(frozen=True, slots=True)
class ObjectListing:
    """The oldest objects of the bucket, oldest first; ``whole`` when these are all."""

    objects: list[ListedObject]
    whole: bool


class Deletion(Enum):
    """What became of a deletion: done now, gone already, or somebody put a new version there."""

    DONE = "done"
    GONE = "gone"
    REPLACED = "replaced"


class Vanished(DataflowsError):
    """This generation is not in the bucket any more: deleted, or replaced by a new version."""

    code = "vanished"


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
