"""What lies in the sandbox's bucket: objects with generations and checksums, as Google Cloud Storage describes them."""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

_FIRST_GENERATION: Final = 1_700_000_000_000_000  # as long as the real ones, which are microseconds


class DamagedUpload(Exception):
    """What arrived is not what its sender's checksum says."""


@dataclass(frozen=True)
class Object:
    """One stored object. A generation is never given out twice and always rises.

    ``unsaid`` are details that its description lacks.
    """

    name: str
    data: bytes
    generation: int
    content_type: str
    updated: datetime
    content_encoding: str = ""
    unsaid: frozenset[str] = frozenset()

    @cached_property
    def etag(self) -> str:
        """Changes with each generation."""
        return base64.b64encode(str(self.generation).encode()).decode()

    def described(self) -> dict[str, Any]:
        """The object's metadata in the JSON API's names and types (numbers as text)."""
        moment = self.updated.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {
            "name": self.name,
            "generation": str(self.generation),
            "metageneration": "1",
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(len(self.data)),
            "md5Hash": md5(self.data),
            "crc32c": crc32c(self.data),
            "etag": self.etag,
            "timeCreated": moment,
            "updated": moment,
            **({"contentEncoding": self.content_encoding} if self.content_encoding else {}),
        }
        return {name: value for name, value in told.items() if name not in self.unsaid}


class Shelf:
    """The objects of a bucket by name; ``lock`` is held for what has to happen at once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._objects: dict[str, Object] = {}
        self._generation = _FIRST_GENERATION

    def put(self, name: str, data: bytes, content_type: str, updated: datetime | None = None, **details: Any) -> Object:
        """Store an object under a new generation, in place of a former one; ``details`` as in ``Object``."""
        with self.lock:
            self._generation += 1
            stored = Object(name, data, self._generation, content_type, updated or datetime.now(UTC), **details)
            self._objects[name] = stored
            return stored

    def get(self, name: str) -> Object | None:
        """The object of this name."""
        with self.lock:
            return self._objects.get(name)

    def remove(self, name: str) -> None:
        """Forget an object that is there."""
        with self.lock:
            del self._objects[name]

    def all(self) -> list[Object]:
        """All objects in the order of a list: by the UTF-8 of their names."""
        with self.lock:
            return sorted(self._objects.values(), key=lambda one: one.name.encode())

    def page(self, *, prefix: str, start: str, end: str, after: str) -> list[Object]:
        """The objects from ``start`` to before ``end`` that begin with ``prefix`` and come after ``after``."""
        return [
            one
            for one in self.all()
            if one.name.startswith(prefix)
            and one.name.encode() >= start.encode()
            and (not end or one.name.encode() < end.encode())
            and (not after or one.name.encode() > after.encode())
        ]

    def clear(self) -> None:
        """Forget all objects."""
        with self.lock:
            self._objects.clear()


def crc32c(data: bytes) -> str:
    """CRC32C (Castagnoli) in big-endian order, base64, as the storage API writes it."""
    import google_crc32c

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    """MD5 in base64, as the storage API writes it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
