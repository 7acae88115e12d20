"""The schemas that tests are run under: the built-in one, DfE's own document, and one that has grown."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from dataflows.flows.csc.document import parse_document
from dataflows.flows.csc.schema import ChildSchema, built_in

DFE_FILE = Path(__file__).with_name("dfe") / "openapi.json"
"""DfE's own document, version 1.0.1, as it is in their repository children-in-social-care-schemas (MIT licence)."""

_DATE = {"type": "string", "format": "date"}
_PURGE = {"type": "boolean", "default": False}


def dfe_document() -> dict[str, Any]:
    """DfE's own document, parsed."""
    document: dict[str, Any] = json.loads(DFE_FILE.read_bytes())
    return document


def grown_document() -> dict[str, Any]:
    """A copy with a new field, a new purgeable list, an object without purge, and ``.`` in worker_id."""
    document = copy.deepcopy(dfe_document())
    document["info"]["version"] = "1.1.0"
    episode = record(document)["social_care_episodes"]["items"]["properties"]
    episode["closure_note_code"] = {"type": "string", "maxLength": 3}
    episode["care_worker_details"]["items"]["properties"]["worker_id"]["pattern"] = "^[A-Za-z0-9._-]*$"
    episode["family_meetings"] = {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "family_meeting_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]*$", "maxLength": 36},
                "held_on": _DATE,
                "topics": {"type": "array", "items": {"type": "string", "maxLength": 2}, "uniqueItems": True},
                "purge": _PURGE,
            },
            "required": ["family_meeting_id"],
            "additionalProperties": False,
        },
    }
    episode["court_order"] = {
        "type": "object",
        "properties": {"order_code": {"type": "string", "maxLength": 2}, "granted_on": _DATE},
        "additionalProperties": False,
    }
    return document


def record(document: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a child in a document."""
    attributes: dict[str, Any] = document["components"]["schemas"]["CSC"]["items"]["properties"]
    return attributes


def schema(document: dict[str, Any]) -> ChildSchema:
    """The schema of a document."""
    return ChildSchema.of(parse_document(json.dumps(document).encode()))


SCHEMAS = {"built-in": built_in(), "DfE's own": schema(dfe_document()), "grown": schema(grown_document())}
