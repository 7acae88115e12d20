"""One child as it is sent: judged by the attribute rules, read, written in one canonical form, and its shape.

``problems`` is the gate in front of every request: what it calls valid, the receiver can take. It never repeats a
value, so its answers may go into a status column, a log or a report.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from dataflows.flows.csc import attributes


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: where (``social_care_episodes[0].closure_date``) and which, never with what value.

    ``path`` is empty when the record as a whole is meant.
    """

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path} {self.rule}".lstrip()


_GATE: Final = TypeAdapter(attributes.Child).validator
_PATTERN_RULES: Final = {
    attributes.DATE: "is not a real date YYYY-MM-DD",
    attributes.LETTERS_DIGITS: "must be one or more of A-Z a-z 0-9",
    attributes.LETTERS_DIGITS_DASHES: "must match A-Z a-z 0-9 _ -",
    attributes.THIRTEEN: "must have exactly 13 characters",
}
_RULES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known attribute",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "value_error": _PATTERN_RULES[attributes.DATE],
    "not_unique": "must not hold an item twice",
    "id_twice": "appears twice in its list",
}


def _names(rules: type) -> set[str]:
    names: set[str] = set()
    for attribute, hint in get_type_hints(rules, include_extras=False).items():
        names.add(attribute)
        below = get_args(hint)[0] if get_args(hint) else hint
        if is_typeddict(below):
            names |= _names(below)
    return names


_KNOWN: Final = frozenset(_names(attributes.Child))


def problems(payload: object) -> list[Problem]:
    """Every rule that one child (as parsed JSON) breaks; an empty list means that it may be sent."""
    try:
        _GATE.validate_python(payload)
    except ValidationError as error:
        return [_problem(detail) for detail in error.errors(include_url=False)]
    return []


def _problem(detail: ErrorDetails) -> Problem:
    context = detail.get("ctx", {})
    steps = detail["loc"]
    if detail["type"] == "id_twice":
        steps = (*steps, context["index"], context["name"])
    return Problem(_path(steps), _rule(detail, context))


def _path(steps: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" for step in steps).lstrip(".")


def _printable(name: str) -> str:
    """Name a known attribute. An unknown one may be a person's name that slipped into a key, so it is not repeated."""
    if name in _KNOWN:
        return name
    near = difflib.get_close_matches(name, _KNOWN, 1, cutoff=0.8)
    return f"(unknown name, like {near[0]})" if near else "(unknown name)"


def _rule(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if detail["input"] is None and kind not in ("missing", "extra_forbidden"):
        return "must not be null"
    if kind == "string_pattern_mismatch":
        return _PATTERN_RULES[context["pattern"]]
    if kind == "string_too_long":
        most = context["max_length"]
        return f"must have at most {most} character{'s' if most > 1 else ''}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} items"
    return _RULES.get(kind, "is not allowed here")


_NOT_JSON: Final = object()


def parse(text: str | bytes) -> dict[str, Any]:
    """Read one child from JSON.

    Raises:
        ValueError: it is no JSON, or not an object; the message holds nothing of the text.
    """
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError:
        payload = _NOT_JSON
    if payload is _NOT_JSON:  # raised out here, because an exception chain would carry the text along
        raise ValueError("is not valid JSON")
    if not isinstance(payload, dict):
        raise ValueError("must be a JSON object")
    return payload


def canonical(payload: Mapping[str, Any]) -> bytes:
    """The one text of a payload (UTF-8, keys sorted, no blanks): equal payloads give equal bytes."""
    return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)


def payload_hash(payload: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes) of the canonical text."""
    return hashlib.sha256(canonical(payload)).digest()


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What an object consists of, read off the rules above.

    Attributes:
        name: the attribute that holds it (``child`` at the top).
        id_field: what tells it from its siblings; None for single objects.
        purgeable: whether ``purge`` is allowed on it.
        single: attributes that hold one object.
        listed: attributes that hold objects with ids.
        fields: the object's own attributes that hold a scalar.
        plain_lists: the object's own attributes that hold a list without ids, which is only ever replaced as a whole.
    """

    name: str
    id_field: str | None
    purgeable: bool
    single: Mapping[str, Kind]
    listed: Mapping[str, Kind]
    fields: tuple[str, ...]
    plain_lists: tuple[str, ...]


def _kind(name: str, rules: type, id_field: str | None = None) -> Kind:
    single: dict[str, Kind] = {}
    listed: dict[str, Kind] = {}
    hints = get_type_hints(rules, include_extras=True)
    for attribute, hint in hints.items():
        if is_typeddict(hint):
            single[attribute] = _kind(attribute, hint)
        for marker in getattr(hint, "__metadata__", ()):
            if isinstance(marker, attributes.ById):
                listed[attribute] = _kind(attribute, get_args(get_args(hint)[0])[0], marker.name)
    own = sorted(hints.keys() - single.keys() - listed.keys() - {"purge"})
    plain = get_type_hints(rules)
    lists = tuple(attribute for attribute in own if get_origin(plain[attribute]) is list)
    return Kind(name, id_field, "purge" in hints, single, listed, tuple(one for one in own if one not in lists), lists)


CHILD: Final = _kind("child", attributes.Child, "la_child_id")


_NAME: Final = "(?:" + "|".join(sorted(_names(attributes.Child), key=len, reverse=True)) + r")\b(?:\[\d{1,4}\])?"
_PATHS: Final = re.compile(rf"\b{_NAME}(?:\.{_NAME})*")


def attribute_paths(text: str) -> list[str]:
    """Return the attribute paths that a text names, such as ``child_details.sex``; nothing else of it is kept."""
    return sorted(set(_PATHS.findall(text)))
