"""What has to be true at the end of every night, however it went: the receiver holds what the table says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from dataflows.sandbox.model import merge, normal
from dataflows.sandbox.receiver import SandboxReceiver

Object = dict[str, Any]


def spoken(value: Any) -> Any:
    """A stored child without its empty lists: an emptied list says no more than an absent one."""
    if isinstance(value, dict):
        return {key: spoken(below) for key, below in value.items() if below != []}
    return [spoken(item) for item in value] if isinstance(value, list) else value


def same(held: Mapping[str, Any] | None, payload: Mapping[str, Any] | None) -> bool:
    """Tell whether a receiver that holds ``held`` holds exactly ``payload``; None stands for no child."""
    return bool(spoken(held) == spoken(normal(payload) if payload is not None else None))


def contains(held: Mapping[str, Any] | None, payload: Mapping[str, Any]) -> bool:
    """Tell whether all of ``payload`` is held, whatever is held besides."""
    return bool(held is not None and spoken(merge(held, payload)) == spoken(held))


def disagreement(row: sa.Row[Any], receiver: SandboxReceiver) -> str:
    """Say what is wrong about a row after a clean run, in one line; empty when receiver and table agree."""
    gone = row.row_state.lower() == "deleted"
    payload = json.loads(row.json_payload)
    child = payload["la_child_id"]
    if not same(receiver.child(child), None if gone else payload):
        return f"row {row.id}: the receiver holds something else (row state {row.row_state})"
    if row.submission_status != "sent":
        return f"row {row.id}: status is {row.submission_status}"
    if row.api_response != receiver.receipt(child):
        return f"row {row.id}: another receipt than the receiver's"
    previous = json.loads(row.previous_json_payload) if row.previous_json_payload else None
    if previous != (None if gone else payload):
        return f"row {row.id}: previous_json_payload is not what was sent (row state {row.row_state})"
    return ""
