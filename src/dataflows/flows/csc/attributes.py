"""The attribute rules of a child's record as a judge: made from a schema document, it names what is broken and where.

pydantic-core does the judging; this turns rules into its schema, and its findings into words that hold no value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import orjson
from pydantic_core import (
    CoreSchema,
    ErrorDetails,
    PydanticCustomError,
    SchemaError,
    SchemaValidator,
    ValidationError,
    core_schema,
)

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.document import Rule

# `$` is the very end in these expressions (Rust's), which match in linear time, whatever a document says
_DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_EXACTLY: Final = re.compile(r"\(\?s\)\^\.\{(\d+)\}\$")
_CHARACTERS: Final = re.compile(r"\^\[((?:\w-\w|[\w.-])+)\]([*+])\$", re.ASCII)
_ONE_CHARACTER: Final = re.compile(r"\w-\w|.", re.ASCII)
_NOT_A_DATE: Final = "is not a real date YYYY-MM-DD"
_RULES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known attribute",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "literal_error": "is not one of the values that are allowed",
    "value_error": _NOT_A_DATE,
    "not_unique": "must not contain an item twice",
    "id_twice": "appears twice in its list",
}


@dataclass(frozen=True, slots=True)
class RuleViolation:
    """One broken rule: where (``social_care_episodes[0].closure_date``) and which, never with what value.

    ``path`` is empty when the record as a whole is meant.
    """

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path} {self.rule}".lstrip()


class ChildValidator:
    """Judges records by the rule of one child."""

    def __init__(self, child: Rule) -> None:
        """Compile the rule.

        Raises:
            SettingUnusable: a pattern cannot be used.
        """
        self.names: Final = frozenset(_names(child))
        try:
            self._validator: Final = SchemaValidator(_schema(child))
        except SchemaError:
            raise SettingUnusable(
                f"the schema document has a pattern that cannot be used: {_unusable_pattern(child)}",
                reason="csc-schema",
                hint="look-around and back references are not supported; without CSC_SCHEMA the built-in rules apply",
            ) from None

    def problems(self, record: object) -> list[RuleViolation]:
        """Every rule that one record (as parsed JSON) breaks; an empty list means that it may be sent."""
        try:
            self._validator.validate_python(record)
        except ValidationError as error:
            return [self._problem(detail) for detail in error.errors(include_url=False)]
        return []

    def _problem(self, detail: ErrorDetails) -> RuleViolation:
        context = detail.get("ctx", {})
        steps = detail["loc"]
        if detail["type"] == "id_twice":
            steps = (*steps, context["index"], context["name"])
        return RuleViolation(self._path(steps), _words(detail, context))

    def _path(self, steps: tuple[int | str, ...]) -> str:
        parts = (f"[{step}]" if isinstance(step, int) else f".{self._printable(step)}" for step in steps)
        return "".join(parts).lstrip(".")

    def _printable(self, name: str) -> str:
        """Name a known attribute. An unknown one may be a person's name that slipped into a key: not repeated."""
        if name in self.names:
            return name
        near = difflib.get_close_matches(name, self.names, 1, cutoff=0.8)
        return f"(unknown name, like {near[0]})" if near else "(unknown name)"


def id_field(rule: Rule) -> str | None:
    """Return what tells the items of a list apart: their one required text, where items can be purged; else None."""
    item = rule.items
    if item is None or not purgeable(item):
        return None
    ids = [name for name in item.required if item.attributes[name].type == "string"]
    named = [name for name in ids if name.endswith("_id")]
    chosen = named if len(named) == 1 else ids
    return chosen[0] if len(chosen) == 1 else None


def purgeable(rule: Rule) -> bool:
    """Tell whether an object can be removed by ``purge: true``."""
    return rule.type == "object" and "purge" in rule.attributes and rule.attributes["purge"].type == "boolean"


def _names(rule: Rule) -> Iterator[str]:
    yield from rule.attributes
    for below in (*rule.attributes.values(), *([rule.items] if rule.items else [])):
        yield from _names(below)


def _rules(rule: Rule) -> Iterator[Rule]:
    yield rule
    for below in (*rule.attributes.values(), *([rule.items] if rule.items else [])):
        yield from _rules(below)


# --- rules as a schema of pydantic-core ---------------------------------------------------------------------------


def _schema(rule: Rule) -> CoreSchema:
    if "enum" in rule.limits:
        return core_schema.literal_schema(rule.limits["enum"])
    return _SCHEMAS[rule.type](rule)


def _object(rule: Rule) -> CoreSchema:
    fields = {
        name: core_schema.typed_dict_field(_schema(below), required=name in rule.required)
        for name, below in rule.attributes.items()
    }
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid", strict=True)


def _array(rule: Rule) -> CoreSchema:
    limits = rule.limits
    items = _schema(rule.items) if rule.items else None
    found: CoreSchema = core_schema.list_schema(
        items, min_length=limits.get("minItems"), max_length=limits.get("maxItems"), strict=True
    )
    if name := id_field(rule):
        return core_schema.no_info_after_validator_function(_each_once(name), found)
    if limits.get("uniqueItems"):
        texts = rule.items is not None and rule.items.type == "string"
        return core_schema.no_info_after_validator_function(_unique_texts if texts else _unique, found)
    return found


def _string(rule: Rule) -> CoreSchema:
    limits = rule.limits
    low, high, pattern = limits.get("minLength"), limits.get("maxLength"), limits.get("pattern")
    if limits.get("format") == "date":
        # what comes out is thrown away: payloads are judged here, never converted
        text = core_schema.str_schema(strict=True, pattern=_DATE)
        return core_schema.no_info_after_validator_function(date.fromisoformat, text)
    if low is not None and low == high and pattern is None and low <= 1000:
        return core_schema.str_schema(strict=True, pattern=rf"(?s)^.{{{low}}}$")
    ascii_only = None if pattern is None else _ascii_classes(pattern)
    return core_schema.str_schema(strict=True, pattern=ascii_only, min_length=low, max_length=high)


def _integer(rule: Rule) -> CoreSchema:
    return core_schema.int_schema(strict=True, ge=rule.limits.get("minimum"), le=rule.limits.get("maximum"))


def _number(rule: Rule) -> CoreSchema:
    bounds = {"ge": rule.limits.get("minimum"), "le": rule.limits.get("maximum")}
    return core_schema.float_schema(strict=True, allow_inf_nan=False, **bounds)


_SCHEMAS: Final[Mapping[str, Callable[[Rule], CoreSchema]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _: core_schema.bool_schema(strict=True),
}


def _ascii_classes(pattern: str) -> str:
    r"""Write ``\d`` and ``\w`` out: in a document they mean ASCII, in Rust every digit and letter there is."""
    return re.sub(r"\\([\s\S])", lambda found: _CLASSES.get(found[1], found[0]), pattern)


_CLASSES: Final = {"d": "[0-9]", "D": "[^0-9]", "w": "[A-Za-z0-9_]", "W": "[^A-Za-z0-9_]"}


def _each_once(name: str) -> Callable[[list[dict[str, str]]], list[dict[str, str]]]:
    def each_once(items: list[dict[str, str]]) -> list[dict[str, str]]:
        if len(items) < 2:
            return items
        seen: set[str] = set()
        for index, item in enumerate(items):
            if item[name] in seen:
                raise PydanticCustomError("id_twice", "an id appears twice", {"index": index, "name": name})
            seen.add(item[name])
        return items

    return each_once


def _unique_texts(items: list[Any]) -> list[Any]:
    if len(set(items)) != len(items):
        raise PydanticCustomError("not_unique", "an item appears twice")
    return items


def _unique(items: list[Any]) -> list[Any]:
    _unique_texts([orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in items])
    return items


def _unusable_pattern(child: Rule) -> str:
    for rule in _rules(child):
        try:
            SchemaValidator(_string(rule) if rule.type == "string" else core_schema.any_schema())
        except SchemaError:
            return str(rule.limits.get("pattern"))
    return "at an unknown place"


# --- findings in words --------------------------------------------------------------------------------------------


def _words(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if detail["input"] is None and kind not in ("missing", "extra_forbidden"):
        return "must not be null"
    if kind == "string_pattern_mismatch":
        return _pattern_in_words(context["pattern"])
    if kind in _COUNTED:
        return _bound(context, _COUNTED[kind])
    if kind in _COMPARED:
        return f"must be at {_COMPARED[kind]} {context.get('ge', context.get('le')):g}"
    return _RULES.get(kind, "is not allowed here")


_COUNTED: Final = {
    "string_too_long": "character",
    "string_too_short": "character",
    "too_long": "item",
    "too_short": "item",
}
_COMPARED: Final = {"greater_than_equal": "least", "less_than_equal": "most"}


def _bound(context: Mapping[str, Any], what: str) -> str:
    word, number = ("most", context["max_length"]) if "max_length" in context else ("least", context["min_length"])
    return f"must have at {word} {number} {what}{'' if number == 1 else 's'}"


def _pattern_in_words(pattern: str) -> str:
    if pattern == _DATE:
        return _NOT_A_DATE
    if exactly := _EXACTLY.fullmatch(pattern):
        return f"must have exactly {exactly[1]} characters"
    if characters := _CHARACTERS.fullmatch(pattern):
        listed = " ".join(_ONE_CHARACTER.findall(characters[1]))
        return f"must be one or more of {listed}" if characters[2] == "+" else f"must match {listed}"
    return f"must match {pattern}"
