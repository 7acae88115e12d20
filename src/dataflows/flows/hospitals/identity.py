"""Which batch a row belongs to: ids that follow from the rows alone, so that they are found again without a journal."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from dataflows.flows.hospitals.rows import Hospital, Row, batches

MOST_PER_BATCH = 20
"""The Directory's cap (spec page hospitals)."""

_NAMESPACE = uuid.UUID("5b1f0f4e-58c5-5f0a-9d5c-7a86d3a1f3c2")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Portion(NamedTuple):
    """The rows that go into one batch of the Directory, and the batch's id."""

    batch_id: str
    rows: Sequence[Row]


def directory_address(url: str) -> str:
    """The Directory's address in its one form: host in lower case, no default port, no slash at the end."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def portions(address: str, rows: Sequence[Row], size: int, occurrence: int = 0) -> list[Portion]:
    """The batches of a file: ``size`` rows each, in order.

    A batch id is a UUIDv5 of the Directory's address, the exact ordered rows, and the occurrence (0 unless the
    operator wants the same rows once more). Where two batches of one file have the same rows, the later one counts
    them, since they are to be created as often as they are written.
    """
    found: list[Portion] = []
    before: Counter[str] = Counter()
    for part in batches(rows, size):
        content = _canonical([address, [row.hospital for row in part], occurrence])
        found.append(Portion(_id(content, before[content]), part))
        before[content] += 1
    return found


def upload_key(address: str, rows: Sequence[Row], size: int) -> str:
    """Name what a file asks for: the same for the same rows in the same batches, whatever the file is called."""
    return str(uuid.uuid5(_NAMESPACE, _canonical(["upload", *(one.batch_id for one in portions(address, rows, size))])))


def rows_key(address: str, rows: Sequence[Row]) -> str:
    """Name the rows alone, however they are split into batches."""
    return str(uuid.uuid5(_NAMESPACE, _canonical(["rows", address, [row.hospital for row in rows]])))


def repair_id(batch_id: str, place: int, hospital: Hospital) -> str:
    """The one-row batch that takes the place of a row which the Directory lost after activation."""
    return _id(_canonical(["repair", batch_id, place, hospital]), 0)


def _id(content: str, copy: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, content if not copy else _canonical([content, copy])))


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
