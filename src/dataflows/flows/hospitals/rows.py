"""Hospitals as rows of a file and of a batch, and stable names for what is wrong with them."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

COMMAND = "hospitals-bulk"


class Hospital(NamedTuple):
    """The exact text that is sent: trimmed, never empty; ``phone`` is None where the file has none."""

    name: str
    address: str
    phone: str | None


class HospitalRow(NamedTuple):
    """One hospital of a file; ``number`` is 1 for the first record below the header (as in seed 003)."""

    number: int
    hospital: Hospital


def batches(rows: Sequence[HospitalRow], size: int) -> list[Sequence[HospitalRow]]:
    """The rows in their order, ``size`` (1 or more) at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


FileError = Literal[
    "encoding",
    "empty_file",
    "no_header",
    "missing_column",
    "duplicate_column",
    "unknown_column",
    "no_rows",
    "too_many_rows",
    "record_too_long",
    "blank_lines",
    "sep_line",
]
"""The file as a whole cannot be used, whatever its rows are."""

QuoteError = Literal["blank_before_quote", "quote_in_field", "text_after_quote", "unclosed_quote"]
"""One row cannot be read; where it is not sure where that row ends, the file as a whole cannot be used."""

RowError = Literal[
    "field_count",
    "header_repeated",
    "required",
    "too_short",
    "too_long",
    "control_character",
    "phone_characters",
    "phone_digits",
]
"""One row cannot be sent; the others can."""

Warned = Literal["duplicate_row", "invisible_character", "blank_lines", "sep_line"]
"""Strange, but no error."""

Error = FileError | QuoteError | RowError


NEVER = float("-inf")


class State(StrEnum):
    """Where a row stands in its batch. ``PENDING``, ``SENDING`` and ``UNKNOWN`` are not its end.

    A row that is ``THERE`` or ``MOVED`` has left the batch: it is active in another one of whoever's, or another batch
    of the same run has it now.
    """

    PENDING = "pending"
    SENDING = "sending"
    CREATED = "created"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    THERE = "there"
    MOVED = "moved"


LEFT = frozenset({State.THERE, State.MOVED})
"""The states of rows that their batch is not to hold any more."""


@dataclass(slots=True)
class BatchEntry:
    """One row of a batch.

    Attributes:
        row: number in the file, and the text that is sent.
        state: where it stands.
        hospital_id: the record that stands for it at the Directory, as far as we know.
        attempts: how often it was sent.
        unanswered: how many of those creates got no answer; one may have landed, or land yet.
        given_up: the second of the system's monotonic clock when the last of them was given up.
        seconds: how long its create took.
        code, message: why it was refused, or is not known.
    """

    row: HospitalRow
    state: State = State.PENDING
    hospital_id: int | None = None
    attempts: int = 0
    unanswered: int = 0
    given_up: float = NEVER
    seconds: float | None = None
    code: str | None = None
    message: str | None = None


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

    @cached_property
    def first_batch(self) -> str:
        """The id of its first batch: what it is known by, whatever becomes of it."""
        return portions(self.address, self.rows[: self.size], self.size)[0].batch_id

    @cached_property
    def known_names(self) -> list[str]:
        """The names that its rows have in the journal, whichever spelling of the address was used."""
        return [rows_key(address, self.rows) for address in spellings(self.address)]


class KeptPlan(NamedTuple):
    """A plan as the journal has it: batch ids with the places of their rows, and the records of rows that are there."""

    batches: list[tuple[str, list[int]]]
    there: dict[int, int]

    @classmethod
    def whole(cls, content: FileContent, number: int, extra: Iterable[tuple[str, str, int]] = ()) -> KeptPlan:
        """What a run of an earlier version brought: all rows for the ``number``-th time, and one-row batches that stood
        in for lost rows (``extra``: id, the batch that lost the row, and the place of the row in that).
        """
        found: list[tuple[str, list[int]]] = []
        for part in portions(content.address, content.rows, content.size, number):
            first = sum(len(places) for _, places in found)
            found.append((part.batch_id, list(range(first, first + len(part.rows)))))
        by_id = dict(found)
        return cls([*found, *((batch_id, [by_id[parent][place]]) for batch_id, parent, place in extra)], {})

    def portions(self, rows: Sequence[HospitalRow]) -> list[Portion]:
        """Its batches with their rows."""
        return [Portion(batch_id, [rows[place] for place in places]) for batch_id, places in self.batches]

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps([self.batches, list(self.there.items())], separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str) -> KeptPlan:
        """Read what ``to_json`` wrote."""
        batches, there = json.loads(text)
        return cls([(batch_id, places) for batch_id, places in batches], dict(there))
