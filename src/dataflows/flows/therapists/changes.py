"""What an entry changes about a therapist, field by field, and what it must not take away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dataflows.flows.therapists.record import FIELDS, LISTS, in_order

__all__ = ["KEPT_WHEN_EMPTY", "FieldChange", "FieldChanges", "compare"]

KEPT_WHEN_EMPTY = frozenset(
    {"phone", "email", "street", "house_number", "city", "title", "telephone_hours", "languages"}
)
"""Fields whose good value an empty one never wipes (therapists.md). A house number goes with its street."""
_NEVER_GUESSED = frozenset({"salutation", "postal_code"})  # kept too, and nobody is warned


class FieldChange(NamedTuple):
    """One field that changes: a column, its value before and after."""

    field: str
    old: Any
    new: Any


class FieldChanges(NamedTuple):
    """``values``: every field as it will be; ``kept``: fields whose empty value was not taken over."""

    values: dict[str, Any]
    changed: list[FieldChange]
    kept: list[str]


def compare(stored: Mapping[str, Any], given: Mapping[str, Any]) -> FieldChanges:
    """Compare the columns of a therapist with the values of an entry, which leaves out what is empty."""
    values = {field: stored[field] for field in FIELDS}
    changed: list[FieldChange] = []
    kept: list[str] = []
    for field in FIELDS:
        old, new = stored[field], given.get(field)
        if _same(field, old, new):
            continue
        if new is None and _is_kept(field, given):
            if field in KEPT_WHEN_EMPTY:
                kept.append(field)
            continue
        values[field] = new
        changed.append(FieldChange(field, old, new))
    return FieldChanges(values, changed, kept)


def _same(field: str, old: Any, new: Any) -> bool:
    if field in LISTS and old and new:
        return in_order(old) == in_order(new)
    return bool(old == new)


def _is_kept(field: str, given: Mapping[str, Any]) -> bool:
    if field == "house_number":
        return "street" not in given  # another street without a number is an address of its own
    return field in KEPT_WHEN_EMPTY or field in _NEVER_GUESSED
