"""Objects of the sandbox's bucket: what is stored, and the calls that list, read and delete it."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

import orjson

from dataflows.sandbox.service import Answer, Request

_FIRST_GENERATION: Final = 1_700_000_000_000_000  # as long as the real ones, which are microseconds


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
        about = {
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
        return {name: value for name, value in about.items() if name not in self.unsaid}


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


Tree = dict[str, "Tree"]


def selected(value: Mapping[str, Any], fields: str) -> Any:
    """The value with only what ``fields`` names; an empty text (or ``*``) names all."""
    return _picked(value, _tree(iter(re.findall(r"[\w*]+|[/(),]", fields))))


def _tree(words: Iterator[str]) -> Tree:
    """The names up to the closing bracket, each with what is wanted below it."""
    result: Tree = {}
    here, last = result, result
    for word in words:
        match word:
            case "(":
                last.update(_tree(words))
            case ")":
                break
            case ",":
                here = result
            case "/":
                here = last
            case _:
                last = here.setdefault(word, {})
    return result


def _picked(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_picked(one, tree) for one in value]
    if not tree or "*" in tree or not isinstance(value, Mapping):
        return value
    return {name: _picked(value[name], below) for name, below in tree.items() if name in value}


BUCKET: Final = "synthetic-registrations"


class Call:
    """A request with its query and object name taken apart."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.pairs = parse_qsl(request.query, keep_blank_values=True)
        self.query = dict(self.pairs)
        self.name = unquote(request.parts.get("object") or "")
        self.base = f"http://{request.headers.get('Host', '')}"

    def selected(self, value: Mapping[str, Any], **headers: str) -> Answer:
        """The answer, with the fields that were asked for."""
        return Answer.json(200, selected(value, self.query.get("fields", "")), **headers)


def condition(query: Mapping[str, str], found: Object | None) -> Answer | None:
    """412 when a precondition does not hold (generation 0: there is no such object), 304 where only news is wanted."""
    generation = str(found.generation) if found else "0"
    match, no_match = query.get("ifGenerationMatch"), query.get("ifGenerationNotMatch")
    if match not in (None, generation) or (found and query.get("ifMetagenerationMatch", "1") != "1"):
        return refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    return Answer(304) if no_match == generation else None


def resource(one: Object, call: Call) -> dict[str, Any]:
    """An object as the API describes it, with the addresses at which this caller reaches it."""
    path = f"/storage/v1/b/{BUCKET}/o/{quote(one.name, safe='')}"
    return {
        "kind": "storage#object",
        "id": f"{BUCKET}/{one.name}/{one.generation}",
        "selfLink": call.base + path,
        "mediaLink": f"{call.base}/download{path}?generation={one.generation}&alt=media",
        "bucket": BUCKET,
        **one.described(),
    }


def headers_of(one: Object) -> dict[str, str]:
    """The headers that come with an object's content."""
    stored = one.content_encoding or "identity"
    return {
        **({"Content-Encoding": stored} if one.content_encoding else {}),
        "X-Goog-Generation": str(one.generation),
        "X-Goog-Metageneration": "1",
        "X-Goog-Hash": hash_header(one.data),
        "X-Goog-Stored-Content-Encoding": stored,
        "X-Goog-Stored-Content-Length": str(len(one.data)),
        "ETag": one.etag,
    }


def hash_header(data: bytes) -> str:
    """The value of ``x-goog-hash`` for these bytes."""
    return f"crc32c={crc32c(data)},md5={md5(data)}"


def ranged(call: Call, data: bytes, headers: dict[str, str], content_type: str) -> Answer:
    """The whole, or from the byte on that is asked for: so the library goes on after an answer that broke off."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", call.request.headers.get("Range", ""))
    if not asked:
        return Answer(200, data, content_type, headers)
    first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    if first >= len(data):
        return Answer(416, b"", content_type, {"Content-Range": f"bytes */{len(data)}"})
    headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}
    return Answer(206, data[first : last + 1], content_type, headers)


def refused(status: int, reason: str, words: str) -> Answer:
    """An error in the API's JSON."""
    detail = {"message": words, "domain": "global", "reason": reason}
    return Answer.json(status, {"error": {"code": status, "message": words, "errors": [detail]}})


def in_plain_text(refusal: Answer) -> Answer:
    """Downloads are refused in plain text, with the object's name in it, by the real one too."""
    words: bytes = orjson.loads(refusal.body)["error"]["message"].encode() if refusal.body else b""
    return replace(refusal, body=words, content_type="text/plain; charset=utf-8")


# --- uploads --------------------------------------------------------------------------------------------------------


@dataclass
class ReceivedObject:
    """An upload in one piece: what it is to be called, what arrived, and what its sender says of it."""

    name: str
    content_type: str
    data: bytes
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def damage(self) -> str:
        """What is wrong, empty where every checksum of the sender fits."""
        wrong = (name for name, of in (("crc32c", crc32c), ("md5Hash", md5)) if self._differs(name, of(self.data)))
        return "".join(f"Provided {name} doesn't match what was received." for name in wrong)

    def _differs(self, name: str, worked_out: str) -> bool:
        return self.checksums.get(name, worked_out) != worked_out


def uploaded(request: Request, query: Mapping[str, str]) -> ReceivedObject:
    """Read an upload: the content alone (``media``, as curl sends it) or with metadata (``multipart``, the library).

    Raises:
        ValueError: it is malformed, or a resumable one, which nothing as small as a registration needs.
    """
    content_type = request.headers.get("Content-Type", "")
    match query.get("uploadType"):
        case "media":
            return _named({}, query, content_type, request.body)
        case "multipart":
            about, content_type, data = _parts(content_type, request.body)
            return _named(about, query, content_type, data)
        case _:
            raise ValueError("uploadType is media or multipart")


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], str, bytes]:
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    parts = body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(parts) != 4:
        raise ValueError("the body is metadata and content, as multipart/related")
    (_, text), (head, data) = (part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts[1:3])
    about, kind = orjson.loads(text), re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    if not isinstance(about, dict):
        raise ValueError("the metadata is a JSON object")
    return about, kind[1].decode("latin-1") if kind else "", data.removesuffix(b"\r\n")


def _named(about: Mapping[str, Any], query: Mapping[str, str], content_type: str, data: bytes) -> ReceivedObject:
    name = query.get("name") or about.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("Required parameter: name")
    checksums = {one: str(about[one]) for one in ("crc32c", "md5Hash") if one in about}
    return ReceivedObject(
        name, str(about.get("contentType") or content_type or "application/octet-stream"), data, checksums
    )
