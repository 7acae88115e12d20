"""The storage API's requests and answers, as far as they know nothing of what is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

import orjson

from dataflows.sandbox.objects import Object, crc32c, md5
from dataflows.sandbox.partial import selected
from dataflows.sandbox.service import Answer, Request

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
