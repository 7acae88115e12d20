"""What one row of the staging table says: which child it names, letter for letter, and what it asks for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dataflows.flows.csc.delta import Payload
from dataflows.flows.csc.schema import CHILD_ID, ChildSchema, canonical, parse, text_hash
from dataflows.flows.csc.table import StagedRow

_MIS_ID = "mis_child_id"
_NAMES = re.compile(r'"la_child_id"[ \t\r\n]{0,40}:[ \t\r\n]{0,40}"([^"\\]{1,100})"')
_SHOWN_PROBLEMS = 5

INVALID, WITHHELD, CONTRADICTED, SUPERSEDED, REFUSED = (
    "Validation error: ",
    "Not sent: ",
    "Contradicted: ",
    "error: superseded by row ",
    "API error (",
)
_OWN_WORDS = (INVALID, WITHHELD, CONTRADICTED, SUPERSEDED, REFUSED)
_SUPERSEDED_BY = re.compile(re.escape(SUPERSEDED) + r"(-?\d{1,20})")


@dataclass(frozen=True, slots=True)
class Reading:
    """A row with what it says.

    Attributes:
        row: as it was read.
        name: the la_child_id that it names; None when it names nobody.
        payload: its content; of a row that asks for a removal, only the identifiers and ``purge``.
        text: the canonical text of the content; empty where nobody is named, or a removal is asked for.
        goes: it asks for the removal of its child: by its state, or by a purge of the whole child.
        problem: why it names nobody, in our words.
    """

    row: StagedRow
    name: str | None = None
    payload: Payload | None = None
    goes: bool = False
    problem: str = ""
    text: bytes = b""

    @property
    def hash(self) -> bytes:
        """What tells its content from another: as ``payload_hash``."""
        return text_hash(self.text)

    @property
    def living(self) -> bool:
        """Whether it stands for a child that is there: neither deleted nor superseded by us."""
        ours = self.row.failed and (self.row.response or "").lower().startswith(SUPERSEDED)
        return not self.goes and not ours


def read_row(row: StagedRow, schema: ChildSchema) -> Reading:
    """Read a row (csc.md: unreadable JSON, or a key that stands twice at the top, names nobody)."""
    try:
        payload, text = _read(row.payload or "")
    except ValueError as error:
        return _read_deletion(row, None, schema, f"json_payload {error}")
    if row.deleted or payload.get("purge") is True:
        return _read_deletion(row, payload, schema, "la_child_id is missing or malformed")
    name = _identifier(payload, schema)
    if name is None:
        return Reading(row, problem=broken_rules(payload, schema))
    return Reading(row, name, payload, text=text)


def _read_deletion(row: StagedRow, payload: Payload | None, schema: ChildSchema, problem: str) -> Reading:
    ids = _identifiers(payload, schema)
    if ids is None and row.deleted:
        ids = _identifiers(child_of(row.previous), schema)
    if ids is None:
        return Reading(row, problem=problem)
    return Reading(row, str(ids["la_child_id"]), ids, goes=True)


def _identifiers(payload: Payload | None, schema: ChildSchema) -> Payload | None:
    """Return the identifiers of a payload, or None when la_child_id is not usable."""
    child = _identifier(payload, schema)
    if payload is None or child is None:
        return None
    known = {CHILD_ID: child, "purge": True}
    mis = payload.get(_MIS_ID)
    return {**known, _MIS_ID: mis} if schema.accepts(_MIS_ID, mis) else known


def _identifier(payload: Payload | None, schema: ChildSchema) -> str | None:
    """Return the la_child_id of a payload, where it is one; an empty one names nobody, whatever the schema says."""
    child = (payload or {}).get(CHILD_ID)
    return child if isinstance(child, str) and child and schema.accepts(CHILD_ID, child) else None


def read_child(text: str) -> Payload:
    """Read one child from JSON.

    Raises:
        ValueError: it is no JSON, not an object, nested too deeply, or holds a key twice at its top; the message holds
            nothing of it.
    """
    return _read(text)[0]


def _read(text: str) -> tuple[Payload, bytes]:
    """Return one child with its canonical text. Raises as ``read_child``."""
    payload = parse(text)
    try:
        written = canonical(payload)
    except TypeError:  # what is read may be four times as deep as what is written; a child has five levels
        written = b""
    if not written:  # raised out here, because an exception chain would carry the text along
        raise ValueError("is nested too deeply")
    if _lost_a_key(text, written) and _repeats_a_key(text):  # only what is odd is read once more, slowly
        raise ValueError("has a key twice at its top level")
    return payload, written


def _lost_a_key(text: str, written: bytes) -> bool:
    """Tell whether the text may hold a key twice, at whatever depth: of two, reading kept the last one.

    Both forms hold the same quotes then but for those of the lost keys; within a value a quote is escaped in either,
    unless the text has it as a number.
    """
    return "\\u0022" in text or text.count('"') != written.count(b'"')


def _repeats_a_key(text: str) -> bool:
    top: list[tuple[str, Any]] = []

    def note(pairs: list[tuple[str, Any]]) -> None:  # called from the inside out: the last object is the top
        top[:] = pairs

    try:
        json.loads(text, object_pairs_hook=note, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return True
    return len({key for key, _ in top}) != len(top)


def child_of(text: str | None) -> Payload | None:
    """Return a payload that can be read; None where there is none."""
    try:
        return read_child(text) if text else None
    except ValueError:
        return None


def name_in(text: str | None, schema: ChildSchema) -> str | None:
    """Return the la_child_id that a payload names."""
    return _identifier(child_of(text), schema)


def seems_to_name(text: str, name: str) -> bool:
    """Tell, without reading all of it, whether a payload names this child and no other (or cannot be read)."""
    found = _NAMES.search(text)
    return found is not None and found[1] == name and text.count('"la_child_id"') == 1 and "\\u00" not in text


def broken_rules(payload: Payload, schema: ChildSchema) -> str:
    """Return the attribute rules that a payload breaks, in one line; empty when it may be sent."""
    found = [str(problem) for problem in schema.problems(payload)]
    more = f" (and {len(found) - _SHOWN_PROBLEMS} more)" if len(found) > _SHOWN_PROBLEMS else ""
    return "; ".join(found[:_SHOWN_PROBLEMS]) + more


def superseded_by(row: StagedRow) -> int | None:
    """Return the row that we said speaks in the place of this one, as long as the row still shows it."""
    match = _SUPERSEDED_BY.fullmatch(row.response or "") if row.failed else None
    return int(match[1]) if match else None


def says_nothing(response: str | None) -> bool:
    """Tell whether a response holds nothing, or words of this program: it is no receipt of anybody's."""
    return not response or response.startswith(_OWN_WORDS)


def shows_it_was_sent(row: StagedRow) -> bool:
    """Tell whether the row itself says that some program sent it before."""
    return row.settled or not says_nothing(row.response)


def shows_its_purge(row: StagedRow) -> bool:
    """Tell whether the row's own word is that its child was purged: by this program, or by the D2I tool.

    It decides only where the journal knows nothing of the child (csc.md, "The guard").
    """
    if not (row.deleted and row.settled):
        return False
    if not row.previous and not says_nothing(row.response):
        return True
    partial = child_of(row.partial)
    return partial is not None and partial.get("purge") is True
