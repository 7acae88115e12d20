"""What the stand-in Hospital Directory keeps: records in memory, by id and by batch, the oldest going first."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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

    def change(self, number: int, fields: Mapping[str, Any]) -> Record | None:
        """Change some fields of one record; None if there is none."""
        with self._lock:
            if number not in self._ids:
                return None
            record = self._records[self._ids[number][0]]
            record.update(fields)
            return dict(record)

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
