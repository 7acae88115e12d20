"""One child as it is sent: read, written in one canonical form, and judged by the built-in attribute rules.

``problems`` is the gate in front of every request: what it calls valid, the receiver can take. It never repeats a
value, so its answers may go into a status column, a log or a report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from dataflows.flows.csc.attributes import RuleViolation
from dataflows.flows.csc.schema import ObjectKind, built_in

__all__ = [
    "CHILD",
    "ObjectKind",
    "RuleViolation",
    "attribute_paths",
    "canonical",
    "parse",
    "payload_hash",
    "problems",
    "text_hash",
]

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
