"""The stand-in for a bucket of Google Cloud Storage: the part of its JSON API that google-cloud-storage 3.x speaks.

Point the library at it by ``STORAGE_EMULATOR_HOST``. Unlike the emulators on PyPI it honours generations and their
preconditions, and what it sends can be damaged. Sources: https://cloud.google.com/storage/docs/json_api/v1, and the
requests that the library really makes (tests/sandbox/test_bucket.py runs it against this).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from dataflows.sandbox.faults import Fate, Faults, FaultVerdict
from dataflows.sandbox.service import Answer, Request, Route, Service
from dataflows.sandbox.storage import (
    BUCKET,
    Call,
    Object,
    Shelf,
    condition,
    hash_header,
    headers_of,
    in_plain_text,
    ranged,
    refused,
    resource,
    uploaded,
)

__all__ = ["BUCKET", "KINDS", "BucketFaults", "SandboxBucket"]

_LARGEST_PAGE: Final = 1_000

_RIGHTS: Final = {
    "list": "storage.objects.list",
    "get": "storage.objects.get",
    "upload": "storage.objects.create",
    "delete": "storage.objects.delete",
    "bucket": "storage.buckets.get",
}
_ROUTES: Final = (
    ("list", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o"),
    ("download", "GET", r"/download/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>.+)"),
    ("get", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>.+)"),
    ("delete", "DELETE", r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<object>.+)"),
    ("upload", "POST", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o"),
    ("bucket", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)"),
    ("rights", "GET", r"/storage/v1/b/(?P<bucket>[^/]+)/iam/testPermissions"),
)
KINDS: Final = tuple(dict.fromkeys(kind for kind, _, _ in _ROUTES))
"""What a request can be: list, download, get, delete, upload, bucket (its metadata), rights."""


@dataclass
class BucketFaults(Faults):
    """What the bucket is like, and its faults.

    Attributes:
        only: the faults named in ``Faults`` (all but ``forbid``) strike requests of this kind only; so
            ``only="delete", lost_next=1`` is a delete whose answer is lost, and with ``error_status=412,
            error_next=1`` one that is refused. Empty: all kinds but ``bucket``, because the library asks for the
            bucket's metadata in the background whenever it likes, and ``*_next`` is to count what a caller does.
        bad_hash_share, bad_hash_next: downloads come with an ``x-goog-hash`` that is not theirs.
        no_hash_next: so many downloads come without an ``x-goog-hash``.
        damaged_next: so many downloads come with one byte changed, under the right hash.
        endless_list: the list always has another page.
        page_size: objects on one page of a list, however many were asked for (the real one has 1,000).
        deny: the caller lacks this right: 403 for what needs it, and testPermissions says so.
        versioning, soft_delete_seconds: what the bucket's metadata says of how long deleted objects are kept.
    """

    only: str = field(default="", metadata={"choices": ("", *KINDS)})
    bad_hash_share: float = 0.0
    bad_hash_next: int = 0
    no_hash_next: int = 0
    damaged_next: int = 0
    endless_list: bool = False
    page_size: int = _LARGEST_PAGE
    deny: str = field(default="", metadata={"choices": ("", *_RIGHTS)})
    versioning: bool = False
    soft_delete_seconds: int = 0

    def next_hash_is_bad(self) -> bool:
        """Whether the next download comes with a hash that is not its own."""
        with self._lock:
            return self._dice.random() < self.bad_hash_share or self._take("bad_hash_next")

    def next_has_no_hash(self) -> bool:
        """Whether the next download comes without its hash."""
        with self._lock:
            return self._take("no_hash_next")

    def next_is_damaged(self) -> bool:
        """Whether the next download is damaged on its way."""
        with self._lock:
            return self._take("damaged_next")


class SandboxBucket(Service):
    """One bucket. ``put`` fills it past all faults, ``objects`` shows what is in it."""

    name = "bucket"
    faults: BucketFaults

    def __init__(self, *, seed: int = 0, lean: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(BucketFaults(seed=seed, clock=clock), lean=lean)
        self._shelf = Shelf()
        self._then: list[tuple[str, Callable[[], object]]] = []
        self._patterns = [(kind, method, re.compile(pattern)) for kind, method, pattern in _ROUTES]

    # --- for the one who runs the sandbox ---------------------------------------------------------------------

    @property
    def objects(self) -> dict[str, tuple[int, bytes]]:
        """Generation and content of each object, by its name."""
        return {one.name: (one.generation, one.data) for one in self._shelf.all()}

    def put(
        self,
        name: str,
        data: bytes,
        *,
        updated: datetime | None = None,
        content_encoding: str = "",
        unsaid: Iterable[str] = (),
    ) -> int:
        """Store an object, over a former one of its name; returns its generation.

        ``updated`` is the time it shows (with a zone; now by default). ``content_encoding="gzip"``: ``data`` is packed.
        ``unsaid`` are details that lists do not say of it, such as ``size``.
        """
        details: dict[str, Any] = {"content_encoding": content_encoding, "unsaid": frozenset(unsaid)}
        return self._shelf.put(name, data, "application/json", updated, **details).generation

    def then(self, kind: str, action: Callable[[], object]) -> None:
        """Call ``action`` once: after the next request of this kind was worked on, before its answer leaves.

        Such as ``bucket.then("download", lambda: bucket.put(name, other))``: an object that is replaced right after
        it was read. Actions of one kind are called one per request, in the order in which they were given.
        """
        if kind not in KINDS:
            raise ValueError(f"a request is one of {', '.join(KINDS)}")
        self._then.append((kind, action))

    def routes(self) -> Iterable[Route]:
        """The paths of the JSON API; a download, a list and an upload have one of their own each."""
        return [Route(method, pattern, self._doing(kind)) for kind, method, pattern in self._patterns]

    def views(self) -> Mapping[str, Callable[[], Any]]:
        """The objects too, without their content."""
        return {**super().views(), "objects": lambda: [one.described() for one in self._shelf.all()]}

    def figures(self) -> dict[str, int]:
        """How many objects are stored too."""
        return {**super().figures(), "objects": len(self._shelf.all())}

    def reset(self) -> None:
        """Forget the objects too; generations go on rising."""
        super().reset()
        self._shelf.clear()
        self._then.clear()

    def judge(self, request: Request, route: str) -> FaultVerdict:
        """The fate of a request; ``faults.only`` says which kind it may strike."""
        kind, only = self._kind(request), self.faults.only
        struck = kind == only if only else kind != "bucket"
        return super().judge(request, route) if struck or self.faults.forbid else FaultVerdict(Fate.ANSWERED)

    # --- requests ---------------------------------------------------------------------------------------------

    def _kind(self, request: Request) -> str:
        for kind, method, pattern in self._patterns:
            if method == request.method and pattern.fullmatch(request.path):
                wants_media = kind == "get" and ("alt", "media") in parse_qsl(request.query)
                return "download" if wants_media else kind
        return ""

    def _doing(self, kind: str) -> Callable[[Request], Answer]:
        work: Callable[[Call], Answer] = getattr(self, f"_{kind}")

        def answer(request: Request) -> Answer:
            result = self._worked(Call(request), kind, work)
            self._go_on(self._kind(request))
            return result

        return answer

    def _go_on(self, kind: str) -> None:
        due = next((one for one in self._then if one[0] == kind), None)
        if due:
            self._then.remove(due)
            due[1]()

    def _worked(self, call: Call, kind: str, work: Callable[[Call], Answer]) -> Answer:
        if unquote(call.request.parts["bucket"]) != BUCKET:
            return refused(404, "notFound", "The specified bucket does not exist.")
        denied = self.faults.deny
        if denied and denied == ("get" if kind == "download" else kind):
            return refused(403, "forbidden", f"synthetic@example.org does not have {_RIGHTS[denied]} access.")
        return work(call)

    def _bucket(self, call: Call) -> Answer:
        seconds = self.faults.soft_delete_seconds
        about = {
            "kind": "storage#bucket",
            "id": BUCKET,
            "name": BUCKET,
            "location": "EUROPE-WEST3",
            "storageClass": "STANDARD",
            "versioning": {"enabled": self.faults.versioning},
            "softDeletePolicy": {"retentionDurationSeconds": str(seconds), "effectiveTime": "2026-01-01T00:00:00Z"},
        }
        return call.selected(about)

    def _rights(self, call: Call) -> Answer:
        denied = _RIGHTS.get(self.faults.deny)
        asked = [value for name, value in call.pairs if name == "permissions"]
        granted = [one for one in asked if one in _RIGHTS.values() and one != denied]
        return Answer.json(200, {"kind": "storage#testIamPermissionsResponse", "permissions": granted})

    def _list(self, call: Call) -> Answer:
        most = min(self.faults.page_size, int(call.query.get("maxResults", _LARGEST_PAGE)))
        found = self._shelf.page(
            prefix=call.query.get("prefix", ""),
            start=call.query.get("startOffset", ""),
            end=call.query.get("endOffset", ""),
            after="" if self.faults.endless_list else bytes.fromhex(call.query.get("pageToken", "")).decode(),
        )
        page = found[: max(1, most)]
        value: dict[str, Any] = {"kind": "storage#objects"}
        if self.faults.endless_list:
            return call.selected({**value, **_another_page(call.query.get("pageToken", ""), most)})
        if page:
            value["items"] = [resource(one, call) for one in page]
        if len(found) > len(page):
            value["nextPageToken"] = page[-1].name.encode().hex()
        return call.selected(value)

    def _get(self, call: Call) -> Answer:
        if call.query.get("alt") == "media":
            return self._download(call)
        found = self._found(call)
        return call.selected(resource(found, call)) if isinstance(found, Object) else found

    def _download(self, call: Call) -> Answer:
        found = self._found(call)
        if not isinstance(found, Object):
            return in_plain_text(found)
        data, headers = found.data, headers_of(found)
        if self.faults.next_hash_is_bad():
            headers["X-Goog-Hash"] = hash_header(found.data + b"?")
        if self.faults.next_has_no_hash():
            del headers["X-Goog-Hash"]
        if data and self.faults.next_is_damaged():
            data = bytes([data[0] ^ 1]) + data[1:]
        return ranged(call, data, headers, found.content_type)

    def _delete(self, call: Call) -> Answer:
        with self._shelf.lock:
            found = self._found(call)
            if not isinstance(found, Object):
                return found
            self._shelf.remove(found.name)
        return Answer(204)

    def _upload(self, call: Call) -> Answer:
        try:
            upload = uploaded(call.request, call.query)
        except ValueError as error:
            return refused(400, "invalid", str(error))
        with self._shelf.lock:
            wrong = condition(call.query, self._shelf.get(upload.name))
            if wrong or upload.damage:
                return wrong or refused(400, "invalid", upload.damage)
            stored = self._shelf.put(upload.name, upload.data, upload.content_type)
        return call.selected(resource(stored, call), **headers_of(stored))

    def _found(self, call: Call) -> Object | Answer:
        """The object that a request is about, if it is there in the generation that is asked for."""
        found = self._shelf.get(call.name)
        wanted = call.query.get("generation")
        if found is None or (wanted is not None and wanted != str(found.generation)):
            return refused(404, "notFound", f"No such object: {BUCKET}/{call.name}")
        return condition(call.query, found) or found


def _another_page(token: str, size: int) -> dict[str, Any]:
    """A page of objects that nobody put there, and the way to the next."""
    number = int(token or "0", 16)
    made = {"generation": "1", "size": "1", "crc32c": "AAAAAA==", "timeCreated": "2026-01-01T00:00:00Z"}
    names = (f"endless_{number}_{one}.json" for one in range(size))
    return {"items": [{"name": name, **made} for name in names], "nextPageToken": f"{number + 1:08x}"}
