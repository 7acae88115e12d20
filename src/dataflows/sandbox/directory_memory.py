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
    """The records, in the order in which they landed. What it gives away are copies."""

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}
        self._batches: dict[str, dict[int, Record]] = {}
        self._last = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, fields: Mapping[str, Any], most: int) -> Record:
        """Store a record (active at once without a batch) and let the oldest go while there are more than ``most``."""
        batch_id = fields["creation_batch_id"]
        with self._lock:
            self._last += 1
            created_at = datetime.now(UTC).replace(tzinfo=None).isoformat()
            record = {"id": self._last, **fields, "active": batch_id is None, "created_at": created_at}
            self._records[self._last] = record
            if batch_id is not None:
                self._batches.setdefault(batch_id, {})[self._last] = record
            while len(self._records) > most:
                self._forget(next(iter(self._records)))
            return dict(record)

    def all(self) -> list[Record]:
        """All records."""
        with self._lock:
            return [dict(one) for one in self._records.values()]

    def get(self, number: int) -> Record | None:
        """One record."""
        with self._lock:
            return dict(self._records[number]) if number in self._records else None

    def change(self, number: int, fields: Mapping[str, Any]) -> Record | None:
        """Change some fields of one record; None if there is none."""
        with self._lock:
            if number not in self._records:
                return None
            self._records[number].update(fields)
            return dict(self._records[number])

    def delete(self, number: int) -> bool:
        """Forget one record; whether there was one."""
        with self._lock:
            return self._forget(number)

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
            for number in found:
                self._forget(number)
            return len(found)

    def batches(self) -> list[dict[str, Any]]:
        """Each batch with the number of its records and of the active ones."""
        with self._lock:
            return [
                {"batch_id": key, "hospitals": len(batch), "active": sum(one["active"] for one in batch.values())}
                for key, batch in self._batches.items()
            ]

    def _forget(self, number: int) -> bool:
        record = self._records.pop(number, None)
        if record is None:
            return False
        batch_id = record["creation_batch_id"]
        if batch_id is not None:
            del self._batches[batch_id][number]
            if not self._batches[batch_id]:
                del self._batches[batch_id]
        return True
