"""Which batch a row belongs to: ids that follow from the rows alone, so that they are found again without a journal."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from dataflows.flows.hospitals.rows import HospitalRow, batches

MOST_PER_BATCH = 20
"""The Directory's cap (spec page hospitals)."""

_NAMESPACE = uuid.UUID("5b1f0f4e-58c5-5f0a-9d5c-7a86d3a1f3c2")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "127.0.0.1"


class Portion(NamedTuple):
    """The rows that go into one batch of the Directory, and the batch's id."""

    batch_id: str
    rows: Sequence[HospitalRow]


def directory_address(url: str) -> str:
    """The one name of a Directory, however its address is spelt: what batch ids and the pace are made from.

    ``localhost`` is 127.0.0.1, the host is in lower case, no default port, no slash at the end, and http and https of
    one host are one (https, but http on the machine itself). It need not be an address that answers.
    """
    parts = urlsplit(url.strip())
    host = parts.hostname or ""
    host = _LOOPBACK if host == "localhost" else f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{'http' if host == _LOOPBACK else 'https'}://{host}{port}{parts.path.rstrip('/')}"


def spellings(address: str) -> list[str]:
    """The forms in which earlier versions wrote down the Directory at ``address``, itself first."""
    rest = directory_address(address).partition("://")[2]
    hosts = [rest, "localhost" + rest.removeprefix(_LOOPBACK)] if rest.startswith(_LOOPBACK) else [rest]
    found = [directory_address(address), *(f"{scheme}://{one}" for one in hosts for scheme in ("http", "https"))]
    return list(dict.fromkeys(found))


def portions(address: str, rows: Sequence[HospitalRow], size: int, number: int = 0) -> list[Portion]:
    """The batches of rows: ``size`` rows each, in order.

    A batch id is a UUIDv5 of the Directory's address, the exact ordered rows, and a number (0, unless a batch of these
    rows was activated before, or the operator wants the same rows once more). Where two batches of one file have the
    same rows, the later one counts them, since they are to be created as often as they are written.
    """
    found: list[Portion] = []
    before: Counter[str] = Counter()
    for part in batches(rows, size):
        content = _canonical([address, [row.hospital for row in part], number])
        found.append(Portion(_id(content, before[content]), part))
        before[content] += 1
    return found


def first_portion(address: str, rows: Sequence[HospitalRow], size: int) -> str:
    """The id of the first batch of rows: what they are known by, whatever becomes of them."""
    return portions(address, rows[:size], size)[0].batch_id


def fresh_portions(
    address: str, parts: Sequence[Portion], is_used: Callable[[Portion], bool], number: int
) -> list[Portion]:
    """These batches, which were named with ``number``, each under the first number from there on that is not used."""
    found: list[Portion] = []
    taken: set[str] = set()
    for part in parts:
        tried, one = number, part
        while is_used(one) or one.batch_id in taken:
            tried += 1
            [one] = portions(address, part.rows, len(part.rows), tried)
        found.append(one)
        taken.add(one.batch_id)
    return found


def upload_key(address: str, rows: Sequence[HospitalRow], size: int) -> str:
    """Name what a file asks for: the same for the same rows in the same batches, whatever the file is called."""
    return str(uuid.uuid5(_NAMESPACE, _canonical(["upload", *(one.batch_id for one in portions(address, rows, size))])))


def rows_key(address: str, rows: Sequence[HospitalRow]) -> str:
    """Name the rows alone, however they are split into batches."""
    return str(uuid.uuid5(_NAMESPACE, _canonical(["rows", address, [row.hospital for row in rows]])))


def _id(content: str, copy: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, content if not copy else _canonical([content, copy])))


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
