"""What the sandbox's Directory holds, takes and allows per minute."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dataflows.sandbox.service import Answer, Request

_REQUIRED = ("name", "address")
_TEXTS = (*_REQUIRED, "phone")
_ABSENT = object()


class UnprocessableEntity(Exception):
    """The request is refused with 422; carries what its ``detail`` lists."""

    def __init__(self, *problems: dict[str, Any]) -> None:
        super().__init__()
        self.problems = list(problems)

    def answer(self) -> Answer:
        """The refusal."""
        return Answer.json(422, {"detail": self.problems})


def new_hospital(request: Request, unwanted: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a create, every text exactly as sent.

    Args:
        request: the create.
        unwanted: texts that a name may not contain.

    Raises:
        UnprocessableEntity: a field is missing, has the wrong type or the name is not wanted; names all of them.
    """
    sent = _object(request)
    problems = [_missing(name, sent) for name in _REQUIRED if name not in sent]
    problems += _wrong_texts(sent)
    fields: dict[str, Any] = {name: sent.get(name) for name in _TEXTS}
    batch_id = sent.get("creation_batch_id")
    try:
        fields["creation_batch_id"] = None if batch_id is None else _uuid(batch_id, "body", "creation_batch_id")
    except UnprocessableEntity as refused:
        problems += refused.problems
    if not problems and any(text in fields["name"] for text in unwanted):
        problems = [_problem("value_error", ("body", "name"), "Value error, a synthetic refusal", sent["name"])]
    if problems:
        raise UnprocessableEntity(*problems)
    return fields


def batch_id_of(request: Request) -> str:
    """The batch id in the path, in its usual form.

    Raises:
        UnprocessableEntity: it is no UUID.
    """
    return _uuid(request.parts["batch"], "path", "batch_id")


def hospital_id_of(request: Request) -> int:
    """The record id in the path.

    Raises:
        UnprocessableEntity: it is no integer.
    """
    text = request.parts["id"]
    if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20:
        return int(text)
    words = "Input should be a valid integer, unable to parse string as an integer"
    raise UnprocessableEntity(_problem("int_parsing", ("path", "hospital_id"), words, text))


def _object(request: Request) -> dict[str, Any]:
    sent = request.parsed
    if isinstance(sent, dict):
        return sent
    if not request.body:
        raise UnprocessableEntity(_problem("missing", ("body",), "Field required", None))
    if sent is None and request.body.strip() != b"null":
        raise UnprocessableEntity(_problem("json_invalid", ("body", 0), "JSON decode error", {}))
    words = "Input should be a valid dictionary or object to extract fields from"
    raise UnprocessableEntity(_problem("model_attributes_type", ("body",), words, sent))


def _wrong_texts(sent: dict[str, Any]) -> list[dict[str, Any]]:
    optional = {"phone": None}
    return [
        _problem("string_type", ("body", name), "Input should be a valid string", sent[name])
        for name in _TEXTS
        if name in sent and not isinstance(sent[name], str) and sent[name] is not optional.get(name, _ABSENT)
    ]


def _uuid(value: Any, *where: str) -> str:
    if not isinstance(value, str):
        raise UnprocessableEntity(
            _problem("uuid_type", where, "UUID input should be a string, bytes or UUID object", value)
        )
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise UnprocessableEntity(_problem("uuid_parsing", where, "Input should be a valid UUID", value)) from None


def _missing(name: str, sent: dict[str, Any]) -> dict[str, Any]:
    return _problem("missing", ("body", name), "Field required", sent)


def _problem(kind: str, where: tuple[str | int, ...], words: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": list(where), "msg": words, "input": value}


Record = dict[str, Any]  # id, name, address, phone, creation_batch_id, active, created_at


class BatchActive(Exception):
    """Some record of the batch is active already."""


class Memory:
    """The records, in the order in which they landed. Two can have one id. What it gives away are copies."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}  # by their order of arrival
        self._ids: dict[int, list[int]] = {}
        self._batches: dict[str, dict[int, Record]] = {}
        self._arrived = self._last = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, fields: Mapping[str, Any], most: int, *, same_id: bool = False) -> Record:
        """Store a record (active at once without a batch) and let the oldest go while there are more than ``most``.

        ``same_id``: it gets the id of the record before it, as two creates can that count at once.
        """
        batch_id = fields["creation_batch_id"]
        with self._lock:
            self._arrived += 1
            self._last += not (same_id and self._last)
            created_at = datetime.now(UTC).replace(tzinfo=None).isoformat()
            record = {"id": self._last, **fields, "active": batch_id is None, "created_at": created_at}
            self._records[self._arrived] = record
            self._ids.setdefault(self._last, []).append(self._arrived)
            if batch_id is not None:
                self._batches.setdefault(batch_id, {})[self._arrived] = record
            while len(self._records) > most:
                self._forget(next(iter(self._records)))
            return dict(record)

    def all(self) -> list[Record]:
        """All records."""
        with self._lock:
            return [dict(one) for one in self._records.values()]

    def get(self, number: int) -> Record | None:
        """The first record with an id."""
        with self._lock:
            return dict(self._records[self._ids[number][0]]) if number in self._ids else None

    def delete(self, number: int) -> bool:
        """Forget the first record with an id; whether there was one."""
        with self._lock:
            if number not in self._ids:
                return False
            self._forget(self._ids[number][0])
            return True

    def batch(self, batch_id: str) -> list[Record]:
        """The records of one batch; empty when there are none."""
        with self._lock:
            return [dict(one) for one in self._batches.get(batch_id, {}).values()]

    def size(self, batch_id: str) -> int:
        """How many records a batch has."""
        return len(self._batches.get(batch_id, ()))

    def activate(self, batch_id: str) -> int:
        """Make all records of a batch active and say how many; 0 when there are none.

        Raises:
            BatchActive: one is active already; nothing was changed.
        """
        with self._lock:
            found = self._batches.get(batch_id, {}).values()
            if any(one["active"] for one in found):
                raise BatchActive
            for one in found:
                one["active"] = True
            return len(found)

    def delete_batch(self, batch_id: str) -> int:
        """Forget all records of a batch and say how many they were."""
        with self._lock:
            found = list(self._batches.get(batch_id, ()))
            for arrived in found:
                self._forget(arrived)
            return len(found)

    def batches(self) -> list[dict[str, Any]]:
        """Each batch with the number of its records and of the active ones."""
        with self._lock:
            return [
                {"batch_id": key, "hospitals": len(batch), "active": sum(one["active"] for one in batch.values())}
                for key, batch in self._batches.items()
            ]

    def _forget(self, arrived: int) -> None:
        record = self._records.pop(arrived)
        equal = self._ids[record["id"]]
        equal.remove(arrived)
        if not equal:
            del self._ids[record["id"]]
        batch_id = record["creation_batch_id"]
        if batch_id is not None:
            del self._batches[batch_id][arrived]
            if not self._batches[batch_id]:
                del self._batches[batch_id]


_MANY = 4_096  # windows; from here on those that are over are forgotten


class FixedWindows:
    """Counts per key. A window is over ``seconds`` after its first request, and the next request begins another.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, list[float]] = {}  # key -> [over at, requests]
        self._lock = threading.Lock()

    def admits(self, key: str, most: int, seconds: float) -> bool:
        """Count one request; whether it is among the first ``most`` of its window (0: no limit, nothing counted)."""
        if not most:
            return True
        with self._lock:
            now = self._clock()
            window = self._open.get(key)
            if window is None or now >= window[0]:
                window = self._begin(key, now, seconds)
            window[1] += 1
            return window[1] <= most

    def clear(self) -> None:
        """Forget all windows."""
        with self._lock:
            self._open.clear()

    def _begin(self, key: str, now: float, seconds: float) -> list[float]:
        if len(self._open) >= _MANY:
            self._open = {key: window for key, window in self._open.items() if now < window[0]}
        self._open[key] = window = [now + seconds, 0]
        return window
