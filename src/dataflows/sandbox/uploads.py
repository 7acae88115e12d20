"""How objects arrive in the sandbox's bucket: in one piece, in one piece with metadata, or resumably in several.

Source: https://cloud.google.com/storage/docs/uploads-downloads and google-cloud-storage 3.x, which sends small things
as multipart/related and large ones in resumable sessions.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from dataflows.sandbox.service import Answer, Request
from dataflows.sandbox.storage import DamagedUpload, crc32c, md5


@dataclass
class Received:
    """An upload: what it is to be called, what arrived, what its sender says of it."""

    name: str
    content_type: str
    data: bytes
    checksums: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)

    def verify(self) -> None:
        """Raise DamagedUpload when a checksum of the sender does not fit."""
        for name, worked_out in (("crc32c", crc32c), ("md5Hash", md5)):
            if name in self.checksums and self.checksums[name] != worked_out(self.data):
                raise DamagedUpload(f"Provided {name} doesn't match what was received.")


class UploadSessions:
    """Reads uploads, and keeps those that are under way."""

    def __init__(self) -> None:
        self._open: dict[str, Received] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget what is under way."""
        with self._lock:
            self._open.clear()

    def take(self, request: Request, query: Mapping[str, str]) -> Received | Answer:
        """What arrived, once it is whole; until then the answer that asks for the rest.

        Raises:
            ValueError: the request is malformed.
        """
        if request.method == "PUT":
            return self._continued(request, query.get("upload_id", ""))
        how = query.get("uploadType")
        if how == "media":
            return _named({}, query, request.headers.get("Content-Type", ""), request.body)
        if how == "multipart":
            return _multipart(request, query)
        if how == "resumable":
            return self._begun(request, query)
        raise ValueError("uploadType is media, multipart or resumable")

    def _begun(self, request: Request, query: Mapping[str, str]) -> Answer:
        about = _about(request.body or b"{}")
        received = _named(about, query, request.headers.get("X-Upload-Content-Type", ""), b"")
        received.conditions = {name: value for name, value in query.items() if name.startswith("if")}
        session = secrets.token_hex(16)
        with self._lock:
            self._open[session] = received
        bucket = quote(request.parts["bucket"])
        where = f"http://{request.headers.get('Host')}/upload/storage/v1/b/{bucket}/o"
        return Answer(200, b"", headers={"Location": f"{where}?uploadType=resumable&upload_id={session}"})

    def _continued(self, request: Request, session: str) -> Received | Answer:
        span = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("Content-Range", ""))
        if not span:
            raise ValueError("Content-Range is missing or malformed")
        with self._lock:
            received = self._open.get(session)
            if received is None:
                return Answer(410)
            if span[1] is not None and int(span[1]) == len(received.data):
                received.data += request.body
            if span[3] != str(len(received.data)):
                return _go_on(received)
            del self._open[session]
        received.checksums = {**received.checksums, **_hashes(request.headers.get("X-Goog-Hash", ""))}
        return received


def _go_on(received: Received) -> Answer:
    size = len(received.data)
    return Answer(308, b"", headers={"Range": f"bytes=0-{size - 1}"} if size else {})


def _multipart(request: Request, query: Mapping[str, str]) -> Received:
    boundary = re.search(r'boundary="?([^";]+)"?', request.headers.get("Content-Type", ""))
    parts = request.body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(parts) != 4:
        raise ValueError("the body is metadata and content, as multipart/related")
    (_, about), (head, data) = (part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts[1:3])
    content_type = re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    return _named(
        _about(about), query, content_type[1].decode("latin-1") if content_type else "", data.removesuffix(b"\r\n")
    )


def _about(text: bytes) -> dict[str, Any]:
    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the metadata is a JSON object")
    return value


def _named(about: Mapping[str, Any], query: Mapping[str, str], content_type: str, data: bytes) -> Received:
    name = query.get("name") or about.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError("Required parameter: name")
    checksums = {one: str(about[one]) for one in ("crc32c", "md5Hash") if one in about}
    return Received(name, str(about.get("contentType") or content_type or "application/octet-stream"), data, checksums)


def _hashes(header: str) -> dict[str, str]:
    """``crc32c=...,md5=...`` by the names that metadata has for them."""
    pairs = [one.strip().split("=", 1) for one in header.split(",") if "=" in one]
    return {"md5Hash" if name == "md5" else name: value for name, value in pairs}
