"""DfE's schema document, read: an OpenAPI file becomes a tree of rules, with every reference followed.

Only what a child's record needs is taken from it. Keywords that explain (``description``, ``example``, ``default``)
are passed over; one that restricts in a way which is not supported is refused, because what we call valid has to be
what the receiver takes. ``nullable`` is passed over too: nothing that is sent is ever null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from dataflows.errors import SettingUnusable

_MOST_BYTES: Final = 4 * 1024 * 1024  # DfE's own is 44 KB
_DEEPEST: Final = 16
_MOST_RULES: Final = 5000
_MOST_NUMBER: Final = 1_000_000
_HINT: Final = "use DfE's openapi.json unchanged; without CSC_SCHEMA the built-in rules apply"

NUMBERS: Final = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}
_KNOWN: Final = {
    "string": {"pattern", "format", "enum", *NUMBERS["string"]},
    "array": {"items", "uniqueItems", *NUMBERS["array"]},
    "object": {"properties", "required", "additionalProperties"},
    "integer": {"format", "enum", *NUMBERS["integer"]},
    "number": {"format", "enum", *NUMBERS["number"]},
    "boolean": set[str](),
}
_EXPLAINING: Final = {
    *("type", "title", "description", "default", "example", "examples", "externalDocs", "deprecated", "nullable"),
    *("readOnly", "writeOnly", "xml", "discriminator", "$comment"),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one value has to be.

    Attributes:
        type: ``object``, ``array``, ``string``, ``boolean``, ``integer`` or ``number``.
        limits: the other keywords by name: lengths and bounds, ``pattern``, ``format``, ``enum``, ``uniqueItems``.
        attributes: of an object, what it may hold, in the document's order.
        required: of an object, what it has to hold.
        items: of an array, what each item has to be.
    """

    type: str
    limits: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Rule] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    items: Rule | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The version that a document gives itself, and the rule of one child in it."""

    version: str
    child: Rule


def read_document(path: Path) -> Document:
    """Read an OpenAPI document of DfE.

    Raises:
        SettingUnusable: the file cannot be read, is too large or no such document, or says what is not known here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingUnusable(
            f"CSC_SCHEMA cannot be read: {path} ({error.strerror})",
            reason="csc-schema",
            hint="check the path, and the permissions for the account that runs this",
        ) from None
    if len(data) > _MOST_BYTES:
        raise SettingUnusable(
            f"CSC_SCHEMA is larger than {_MOST_BYTES // 1024**2} MB: {path}", reason="csc-schema", hint=_HINT
        )
    return parse_document(data)


def parse_document(data: bytes) -> Document:
    """Parse an OpenAPI document; raises as ``read_document``."""
    try:
        whole = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        whole = None
    if not isinstance(whole, dict):
        raise _unusable("is not a JSON document")
    info = whole.get("info")
    version = info.get("version") if isinstance(info, dict) else None
    if not isinstance(version, str) or not 0 < len(version) <= 40 or not version.isprintable():
        raise _unusable("does not give its version (info.version)")
    return Document(version, _RuleReader(whole).rule(_record(whole), "", 0))


def _record(whole: Mapping[str, Any]) -> object:
    """Find what a record of the request is: DfE names the list of them ``CSC``."""
    node: object = whole
    for step in ("components", "schemas", "CSC", "items"):
        node = node.get(step) if isinstance(node, dict) else None
    if node is None:
        raise _unusable("has no components.schemas.CSC.items, which describes a child's record")
    return node


class _RuleReader:
    """Turns nodes of a document into rules, and follows references within the document."""

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._whole = whole
        self._rules = 0

    def rule(self, node: object, at: str, depth: int) -> Rule:
        """Read one node; ``at`` is its path in a child's record."""
        self._rules += 1
        if depth > _DEEPEST or self._rules > _MOST_RULES:
            raise _unusable(f"is nested too deeply, or refers to itself, at {at or 'its top'}")
        node = self._followed(node, at)
        kind = self._type(node, at)
        strange = {name for name in node if not name.startswith("x-")} - _KNOWN[kind] - _EXPLAINING
        if strange:
            raise _unusable(f"restricts {at or 'a record'} by {shown(min(strange))}, which is not supported")
        if kind == "object":
            return self._object(node, at, depth)
        if kind == "array":
            return Rule(kind, self._limits(kind, node, at), items=self.rule(node.get("items"), f"{at}[]", depth + 1))
        return Rule(kind, self._limits(kind, node, at))

    def _followed(self, node: object, at: str) -> dict[str, Any]:
        for _ in range(_DEEPEST):
            if not isinstance(node, dict):
                break
            if "$ref" not in node:
                return node
            node = self._target(node["$ref"])
        raise _unusable(f"describes {at or 'a record'} by nothing that can be read")

    def _target(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        node: object = self._whole
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def _type(self, node: Mapping[str, Any], at: str) -> str:
        kind = node.get("type")
        if isinstance(kind, list):  # OpenAPI 3.1 says "may be null" like this
            kind = next((one for one in kind if one != "null"), None) if len(kind) <= 2 else None
        if not isinstance(kind, str) or kind not in _KNOWN:
            raise _unusable(f"does not say of which type {at or 'a record'} is")
        return kind

    def _object(self, node: Mapping[str, Any], at: str, depth: int) -> Rule:
        properties, required = node.get("properties", {}), node.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise _unusable(f"describes {at or 'a record'} by nothing that can be read")
        if not all(isinstance(name, str) and name in properties for name in required):
            raise _unusable(f"requires of {at or 'a record'} what it does not describe")
        below = {
            name: self.rule(value, f"{at}.{shown(name)}".lstrip("."), depth + 1) for name, value in properties.items()
        }
        return Rule("object", attributes=below, required=frozenset(required))

    def _limits(self, kind: str, node: Mapping[str, Any], at: str) -> dict[str, Any]:
        limits = {name: value for name, value in node.items() if name in _KNOWN[kind] and name != "items"}
        for name in NUMBERS.get(kind, ()):
            if name in limits and not _is_bound(limits[name], whole=kind in ("string", "array")):
                raise _unusable(f"gives {at} a {name} that is not a number")
        if not isinstance(limits.get("pattern", ""), str) or len(limits.get("pattern", "")) > 1000:
            raise _unusable(f"gives {at} a pattern that is not a text of at most 1000 characters")
        choices = limits.get("enum", [""])
        if not isinstance(choices, list) or not 0 < len(choices) <= _MOST_RULES:
            raise _unusable(f"gives {at} an enum that is not a list of choices")
        return limits


def _is_bound(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return -_MOST_NUMBER <= value <= _MOST_NUMBER and not (whole and value < 0)


def shown(name: str) -> str:
    """A name of the document as a message may show it."""
    return name if name.isprintable() and len(name) <= 60 else f"{name[:60]!a}"


def _unusable(what: str) -> SettingUnusable:
    return SettingUnusable(f"the schema document {what}", reason="csc-schema", hint=_HINT)
