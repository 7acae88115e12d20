"""Which rules hold for a child's record: DfE's schema as built in, or the document that ``CSC_SCHEMA`` names.

From one document come the verdict on a record, the shape that the delta works on (what has an id, what can be purged)
and the names that may be repeated from a receiver's answer. ``openapi.json`` beside this module holds the built-in
rules."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import orjson

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.attributes import ChildValidator, RuleViolation, id_field, purgeable
from dataflows.flows.csc.document import Document, Rule, parse_document, read_document, shown

CHILD_ID: Final = "la_child_id"


@dataclass(frozen=True, slots=True, eq=False)
class ObjectKind:
    """What an object consists of, read off the rules.

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
    single: Mapping[str, ObjectKind]
    listed: Mapping[str, ObjectKind]
    fields: tuple[str, ...]
    plain_lists: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ChildSchema:
    """The rules of one version of DfE's schema.

    Attributes:
        version: as the document gives it, such as ``1.0.1``.
        source: the file it was read from; None when built in.
        rule: the rule of one child.
    """

    version: str
    source: Path | None
    rule: Rule

    @classmethod
    def of(cls, document: Document, source: Path | None = None) -> ChildSchema:
        """Take the rules from a document.

        Raises:
            SettingUnusable: a child in it has no la_child_id, or cannot be purged.
        """
        child = document.child
        identified = CHILD_ID in child.required and child.attributes[CHILD_ID].type == "string"
        if child.type != "object" or not identified or not purgeable(child):
            raise SettingUnusable(
                f"the schema document does not describe a child with {CHILD_ID} and purge",
                reason="csc-schema",
                hint="use DfE's openapi.json unchanged; without CSC_SCHEMA the built-in rules apply",
            )
        schema = cls(document.version, source, child)
        schema._judge  # noqa: B018 - a pattern that cannot be used is said now, not at the first child
        return schema

    @cached_property
    def _judge(self) -> ChildValidator:
        return ChildValidator(self.rule)

    @cached_property
    def kind(self) -> ObjectKind:
        """The shape of a child."""
        return _kind("child", self.rule, CHILD_ID)

    @property
    def names(self) -> frozenset[str]:
        """Every attribute that the rules know, wherever it stands."""
        return self._judge.names

    def problems(self, record: object) -> list[RuleViolation]:
        """Every rule that one record (as parsed JSON) breaks; an empty list means that it may be sent."""
        return self._judge.problems(record)

    def accepts(self, attribute: str, value: object) -> bool:
        """Tell whether a value may stand in an attribute at the top of a record, such as ``la_child_id``."""
        judge = self._attribute_judges.get(attribute)
        return judge is not None and not judge.problems({attribute: value})

    @cached_property
    def _attribute_judges(self) -> dict[str, ChildValidator]:
        return {
            name: ChildValidator(Rule("object", attributes={name: one})) for name, one in self.rule.attributes.items()
        }

    def attribute_paths(self, text: str) -> list[str]:
        """Return the attribute paths that a text names, such as ``child_details.sex``; nothing else of it is kept."""
        return sorted(set(self._paths.findall(text)))

    @cached_property
    def _paths(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name) for name in sorted(self.names, key=lambda name: (-len(name), name)))
        one = rf"(?:{names})\b(?:\[\d{{1,4}}\])?"
        return re.compile(rf"\b{one}(?:\.{one})*")


@cache
def built_in() -> ChildSchema:
    """Return the rules that hold without CSC_SCHEMA."""
    data = files("dataflows.flows.csc").joinpath("openapi.json").read_bytes()
    return ChildSchema.of(parse_document(data))


def load_schema(path: Path | None) -> ChildSchema:
    """Return the rules of DfE's document at ``path`` (the setting CSC_SCHEMA), or the built-in ones.

    Raises:
        SettingUnusable: the document cannot be used.
    """
    return built_in() if path is None else ChildSchema.of(read_document(path), path)


def _kind(name: str, rule: Rule, id_field_: str | None = None) -> ObjectKind:
    single: dict[str, ObjectKind] = {}
    listed: dict[str, ObjectKind] = {}
    fields: list[str] = []
    plain_lists: list[str] = []
    for attribute, below in sorted(rule.attributes.items()):
        item_id = id_field(below)
        if item_id is not None and below.items is not None:
            listed[attribute] = _kind(attribute, below.items, item_id)
        elif below.type == "object":
            single[attribute] = _kind(attribute, below)
        elif below.type == "array":
            plain_lists.append(attribute)
        elif attribute != "purge":
            fields.append(attribute)
    return ObjectKind(name, id_field_, purgeable(rule), single, listed, tuple(fields), tuple(plain_lists))


# --- what another version says otherwise --------------------------------------------------------------------------


def differences(old: ChildSchema, new: ChildSchema) -> list[str]:
    """Say, attribute by attribute, what ``new`` has besides ``old``, has no more, or restricts otherwise."""
    before, after = dict(_flat(old.rule)), dict(_flat(new.rule))
    return [
        *(f"{path} is new" for path in after if path not in before),
        *(f"{path} is gone" for path in before if path not in after),
        *(line for path in after if path in before for line in _changed(path, before[path], after[path])),
    ]


def _flat(rule: Rule, at: str = "", required: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    if at:
        yield at, {"type": rule.type, **({"required": True} if required else {}), **rule.limits}
    for name, below in rule.attributes.items():
        yield from _flat(below, f"{at}.{shown(name)}".lstrip("."), name in rule.required)
    if rule.items is not None:
        yield from _flat(rule.items, f"{at}[]")


def _changed(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for keyword in sorted(before.keys() | after.keys()):
        then, now = before.get(keyword), after.get(keyword)
        if then != now:
            yield f"{path}: {keyword} is {_told(now)}, was {_told(then)}"


def _told(value: object) -> str:
    return "none" if value is None else shown(str(value))


CHILD: Final = built_in().kind
problems: Final = built_in().problems
attribute_paths: Final = built_in().attribute_paths
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
    return text_hash(canonical(payload))


def text_hash(text: bytes) -> bytes:
    """SHA-256 (32 bytes) of a canonical text that is at hand."""
    return hashlib.sha256(text).digest()
