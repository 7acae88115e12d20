"""The stand-in for DfE's receiver of children: strict to the attribute rules, with a choice of how it stores them.

What DfE leaves open (merge or replace, the shape of receipts, the words of a refusal) can be switched.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from dataflows.flows.csc.schema import ChildSchema, built_in, canonical
from dataflows.sandbox.faults import Faults
from dataflows.sandbox.model import MODELS, Model, Stored, TokenIssuer, normal
from dataflows.sandbox.service import Answer, Exchange, Request, Route, Service

LA_CODE = "999"
SUPPLIER_KEY = "synthetic-supplier-key"
_HTML = b"<html><head><title>403</title></head><body>The request was blocked by a synthetic firewall.</body></html>"

ChildKey = tuple[str, str]  # LA code, la_child_id


@dataclass
class ReceiverFaults(Faults):
    """The faults of the receiver.

    Attributes:
        max_batch: more records than this in one request get 413.
        max_bytes: a body larger than this gets 413 (0: no limit).
        refuse_ids: children (la_child_id) for whom a batch is refused with 400.
        names: how a 400 names the bad records: all of them, the first, none, or a wrong one.
        receipts: what a 200 carries: the right array, one receipt too few or too many, a single string for all, 204
            without a body, text that is no JSON, an array of nulls, or an object. Committed in every case.
        receipts_next: so many answers are like that, then they are right again (0: all).
    """

    max_batch: int = 100
    max_bytes: int = 0
    refuse_ids: list[str] = field(default_factory=list)
    names: str = field(default="all", metadata={"choices": ("all", "first", "none", "wrong")})
    receipts: str = field(
        default="array",
        metadata={"choices": ("array", "short", "long", "single", "empty", "text", "nulls", "object")},
    )
    receipts_next: int = 0

    def next_receipts(self) -> str:
        """What the next 200 carries; counts ``receipts_next`` down."""
        with self._lock:
            kind = self.receipts
            if self.receipts_next:
                self.receipts_next -= 1
                self.receipts = kind if self.receipts_next else "array"
            return kind


class SandboxReceiver(Service):
    """Stores children per LA code and la_child_id, and remembers what arrived."""

    name = "receiver"
    faults: ReceiverFaults

    def __init__(
        self,
        token: TokenIssuer,
        *,
        seed: int = 0,
        model: Model = "merge",
        lean: bool = False,
        schema: ChildSchema | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(ReceiverFaults(seed=seed, clock=clock), lean=lean)
        self.model = model
        self.schema = schema or built_in()
        self.overlaps = 0
        self._token = token
        self._dice = Random(f"{seed}/receipts")  # noqa: S311 - chance that repeats
        self._stored: dict[ChildKey, bytes] = {}
        self._receipts: dict[ChildKey, str] = {}
        self._busy: Counter[ChildKey] = Counter()
        self._lock = threading.Lock()

    def routes(self) -> Iterable[Route]:
        """One path, the LA code within it."""
        return [Route("POST", re.compile(r"/children_social_care_data/(?P<la>\d{3})/children"), self._receive)]

    def views(self) -> Mapping[str, Callable[[], Any]]:
        """Adds ``children``: all that is stored, with the latest receipt."""
        return {**super().views(), "children": self._described}

    def reset(self) -> None:
        """Forget children, receipts and requests."""
        super().reset()
        with self._lock:
            self._stored.clear()
            self._receipts.clear()
            self.overlaps = 0

    @property
    def children(self) -> dict[ChildKey, Stored]:
        """All stored children in normal form (see ``model``), by (LA code, la_child_id)."""
        with self._lock:
            stored = dict(self._stored)
        return {key: child for key, text in stored.items() if (child := self._read(text))}

    def child(self, la_child_id: str, la_code: str = LA_CODE) -> Stored | None:
        """One stored child, None if there is none (never sent, or purged)."""
        return self._read(self._stored.get((la_code, la_child_id)))

    def receipt(self, la_child_id: str, la_code: str = LA_CODE) -> str | None:
        """The receipt that the latest commit of a child was given (also when the answer was lost)."""
        return self._receipts.get((la_code, la_child_id))

    def figures(self) -> dict[str, int]:
        """Adds the number of children, and how often a child was sent while a request for it was still in flight."""
        return {**super().figures(), "children": len(self._stored), "overlaps": self.overlaps}

    def arrived(self, request: Request) -> Exchange:
        """Also notes which children are under way, to catch two requests for one child at once."""
        if not self.lean:
            keys = _keys(request)
            with self._lock:
                self.overlaps += any(self._busy[key] for key in keys)
                self._busy.update(keys)
        return super().arrived(request)

    def leaves(self, request: Request, exchange: Exchange, fate: str, status: int | None) -> None:
        """Its children are no longer under way."""
        super().leaves(request, exchange, fate, status)
        if not self.lean:
            with self._lock:
                self._busy.subtract(_keys(request))

    def _receive(self, request: Request) -> Answer:
        if b"0x" in request.body and _firewalled(request.parsed):
            return Answer(403, _HTML, "text/html")
        refused = self._at_the_door(request)
        if refused:
            return refused
        records = request.parsed
        if not isinstance(records, list):
            return _refused(400, ["the body must be a JSON array"])
        if not records:
            return Answer(204)
        if len(records) > self.faults.max_batch:
            return _refused(413, [f"at most {self.faults.max_batch} records"])
        bad = self._judged(records)
        return self._bad(bad, len(records)) if bad else self._committed(request.parts["la"], records)

    def _at_the_door(self, request: Request) -> Answer | None:
        if not self._token.accepts(request.headers.get("Authorization")):
            return _refused(401, ["the token is missing, unknown or expired"])
        if request.headers.get("SupplierKey") != SUPPLIER_KEY:
            return _refused(401, ["the supplier key is missing or unknown"])
        if request.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
            return _refused(415, ["the content type must be application/json"])
        if 0 < self.faults.max_bytes < len(request.body):
            return _refused(413, [f"at most {self.faults.max_bytes} bytes"])
        return None

    def _judged(self, records: list[Any]) -> dict[int, list[str]]:
        """What is wrong with which record."""
        unwanted = set(self.faults.refuse_ids)
        bad: dict[int, list[str]] = {}
        for index, record in enumerate(records):
            found = _unusable(record) if self.lean else [str(one) for one in self.schema.problems(record)]
            if not found and record["la_child_id"] in unwanted:
                found = ["la_child_id is not wanted"]
            if found:
                bad[index] = found
        return bad

    def _bad(self, bad: dict[int, list[str]], size: int) -> Answer:
        named = {index: words for index, words in bad.items() if self.faults.names == "all" or index == min(bad)}
        match self.faults.names:
            case "none":
                return _refused(400, ["one or more records are not valid"])
            case "wrong":
                named = {(index + 1) % size: words for index, words in named.items()}
            case _:
                pass
        return _refused(400, [f"[{index}].{one}" for index, words in named.items() for one in words])

    def _committed(self, la_code: str, records: list[dict[str, Any]]) -> Answer:
        with self._lock:
            receipts = [self._receipt() for _ in records]
            for record, receipt in zip(records, receipts, strict=True):
                key = (la_code, record["la_child_id"])
                self._receipts[key] = receipt
                self._store(key, record)
        return self._acknowledged(receipts)

    def _store(self, key: ChildKey, record: dict[str, Any]) -> None:
        """Keep the text that was sent, as long as it is the only one: most are, and reading brings it into form."""
        before = self._read(self._stored.get(key))
        alone = before is None and record.get("purge") is not True
        after = record if alone else MODELS[self.model](before, record, self.schema.kind)
        if after is None:
            self._stored.pop(key, None)
        else:
            self._stored[key] = canonical(after)

    def _read(self, text: bytes | None) -> Stored | None:
        return None if text is None else normal(orjson.loads(text), self.schema.kind)

    def _receipt(self) -> str:
        moment = datetime.now(UTC)
        stamp = f"{moment:%Y-%m-%d_%H:%M:%S}.{moment.microsecond // 10_000:02d}"
        return f"{stamp}_{uuid.UUID(int=self._dice.getrandbits(128), version=4)}.json"

    def _acknowledged(self, receipts: list[str]) -> Answer:
        return _RECEIPTS[self.faults.next_receipts()](receipts)

    def _described(self) -> list[dict[str, Any]]:
        return [
            {
                "la_code": la_code,
                "la_child_id": child,
                "receipt": self._receipts.get((la_code, child)),
                "payload": stored,
            }
            for (la_code, child), stored in self.children.items()
        ]


_RECEIPTS: dict[str, Callable[[list[str]], Answer]] = {
    "array": lambda receipts: Answer.json(200, receipts),
    "short": lambda receipts: Answer.json(200, receipts[:-1]),
    "long": lambda receipts: Answer.json(200, [*receipts, receipts[-1]]),
    "single": lambda receipts: Answer.json(200, receipts[0]),
    "empty": lambda _: Answer(204),
    "text": lambda _: Answer(200, b"<html><body>Thank you.</body></html>", "text/html"),
    "nulls": lambda receipts: Answer.json(200, [None] * len(receipts)),
    "object": lambda receipts: Answer.json(200, {"receipts": receipts}),
}


def _refused(status: int, errors: list[str]) -> Answer:
    return Answer.json(status, {"status": status, "errors": errors})


def _unusable(record: Any) -> list[str]:
    """The least that storing needs."""
    usable = isinstance(record, dict) and isinstance(record.get("la_child_id"), str)
    return [] if usable else ["la_child_id is required"]


def _keys(request: Request) -> set[ChildKey]:
    """The children that a request is about, as far as they can be read."""
    records = request.parsed if isinstance(request.parsed, list) else []
    ids = (record.get("la_child_id") for record in records if isinstance(record, dict))
    return {(request.parts["la"], one) for one in ids if isinstance(one, str)}


def _firewalled(value: Any) -> bool:
    """Whether any id holds ``0x``, as the firewall in front of the real receiver dislikes."""
    if isinstance(value, list):
        return any(_firewalled(one) for one in value)
    if not isinstance(value, dict):
        return False
    return any(
        (name.endswith("_id") and isinstance(one, str) and "0x" in one) or _firewalled(one)
        for name, one in value.items()
    )
