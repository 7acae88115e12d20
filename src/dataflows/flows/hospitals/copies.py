"""What a file asks for, by what it is known again, and the copy that is kept of it."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dataflows.errors import BadInput
from dataflows.flows.hospitals.rows import Hospital, HospitalRow, batches
from dataflows.store.files import private_folder, unusable, write_whole

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


_KEEP_AT_LEAST_SECONDS = 86_400.0


class SkippedRow(NamedTuple):
    """A row of the file that cannot be sent (``--skip-invalid``)."""

    row: int
    code: str
    message: str


@dataclass(frozen=True)
class FileContent:
    """What a file asks for: where the hospitals go, how many to a batch, which, and what was left out."""

    address: str
    size: int
    rows: list[HospitalRow]
    invalid: list[SkippedRow]
    invalid_count: int

    @cached_property
    def key(self) -> str:
        """The name of this content."""
        return upload_key(self.address, self.rows, self.size)

    @cached_property
    def rows_key(self) -> str:
        """The name of its rows, however they are split into batches."""
        return rows_key(self.address, self.rows)


class CopyFolder:
    """The folder ``batches`` of a data folder: one file per content, for its owner only."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "batches"

    def has(self, key: str) -> bool:
        """Whether this content was kept before."""
        return self._path(key).exists()

    def keep(self, content: FileContent) -> None:
        """Write a copy, whole or not at all. Raises SettingUnusable or ServiceDown when it cannot be written."""
        kept = {
            "address": content.address,
            "size": content.size,
            "rows": [[row.number, *row.hospital] for row in content.rows],
            "invalid": content.invalid,
            "invalid_count": content.invalid_count,
        }
        data = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            private_folder(self._folder)
            write_whole(self._path(content.key), data)
        except OSError as error:
            raise unusable(self._folder, error, "the folder of rows", "check DATA_DIR and its permissions") from None

    def read(self, key: str) -> FileContent:
        """Return what was kept. Raises BadInput when it is gone or is not what was kept."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            kept["rows"] = [HospitalRow(number, Hospital(*texts)) for number, *texts in kept["rows"]]
            kept["invalid"] = [SkippedRow(*one) for one in kept["invalid"]]
            content = FileContent(**kept)
        except (OSError, ValueError, TypeError, KeyError):
            raise self._unusable() from None
        if content.key != key:
            raise self._unusable()
        return content

    def _unusable(self) -> BadInput:
        return BadInput(
            f"the kept copy of the rows is missing or damaged in {self._folder}",
            hint="run the command again with the file: what is at the Directory is found again",
        )

    def sweep(self, wanted: set[str]) -> None:
        """Remove the copies of runs that are pruned. Young ones stay: their journal may have been lost."""
        oldest = time.time() - _KEEP_AT_LEAST_SECONDS
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if path.stem not in wanted and path.stat().st_mtime < oldest:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
