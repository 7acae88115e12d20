"""The stand-in for the Hospital Directory, under ``/directory``: no idempotency, slow creates, records in memory only.

It does what was measured at the real one (the table of the spec page ``hospitals``), the awkward parts too: a create
lands although its client has gone, the cap of a batch is checked on arrival only, an empty batch is 404.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from dataflows.sandbox.directory_memory import (
    BatchActive,
    FixedWindows,
    Memory,
    Record,
    UnprocessableEntity,
    batch_id_of,
    hospital_id_of,
    new_hospital,
)
from dataflows.sandbox.faults import Fate, Faults, FaultVerdict
from dataflows.sandbox.service import Answer, Exchange, Request, Route, Service

PATH: Final = "/directory"
KINDS: Final = ("wake", "create", "list", "look", "activate", "delete", "record")
BATCH_CAP: Final = 20
_EMPTY: Final = "No hospitals found for this batch"
_GONE: Final = Answer(502, b"<html><body>A synthetic bad gateway.</body></html>", "text/html")


@dataclass
class CallFaults(Faults):
    """The faults of one kind of call; a busy Directory answers 500 where others answer 503."""

    error_status: int = 500


@dataclass
class DirectoryFaults(CallFaults):
    """What the Directory is like, and faults of every call to it; those of one kind of call come first.

    Attributes:
        create_ms: a create takes so long, and what ``latency_ms`` and ``jitter_ms`` add; the measured value is the
            default. Refusals come at once.
        wake_ms: set it, and the Directory sleeps: the first request wakes it up, and what is not refused waits until so
            long after that one.
        refuse_names: a create is refused with 422 when its name contains one of these texts.
        same_id_next: the next so many creates get the id of the record before them, as its counter can do.
        creates_per_minute, calls_per_minute: creates, and other calls per path, in one window; 0: no limit.
        window_seconds: how long a window is, from its first counted request.
        most_records: beyond these the oldest go.
    """

    create_ms: float = 5_000.0
    wake_ms: float = 0.0
    refuse_names: list[str] = field(default_factory=list)
    same_id_next: int = 0
    creates_per_minute: int = 30
    calls_per_minute: int = 50
    window_seconds: float = 60.0
    most_records: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._awake_at: float | None = None

    def set(self, **changes: Any) -> None:
        """Change some of the faults; ``wake_ms`` also puts the Directory to sleep."""
        super().set(**changes)
        if "wake_ms" in changes:
            self._awake_at = None

    def takes_same_id(self) -> bool:
        """Whether the next record gets the id of the one before it; counts down."""
        with self._lock:
            return self._take("same_id_next")

    def seconds_asleep(self) -> float:
        """Seconds until it is awake; the first to ask wakes it up."""
        with self._lock:
            now = self.clock()
            if self._awake_at is None:
                self._awake_at = now + self.wake_ms / 1000
            return max(0.0, self._awake_at - now)


class SandboxDirectory(Service):
    """Stores hospitals in memory, by id and by batch.

    Attributes:
        calls: how many requests of each kind arrived.
    """

    name = "directory"
    faults: DirectoryFaults

    def __init__(self, *, seed: int = 0, lean: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(DirectoryFaults(seed=seed, clock=clock), lean=lean)
        self.calls: Counter[str] = Counter()
        self._kinds = {kind: CallFaults(seed=f"{seed}/{kind}", clock=clock) for kind in KINDS}
        self._clock = clock
        self._windows = FixedWindows(clock)
        self._memory = Memory()
        self._restarted = 0.0
        self._lock = threading.Lock()

    def routes(self) -> Iterable[Route]:
        """The calls of the table, and the redirect to the slash."""
        hospitals, batch = f"{PATH}/hospitals/", rf"{PATH}/hospitals/batch/(?P<batch>[^/]+)"
        record = rf"{hospitals}(?P<id>[^/]+)"
        limited = self._limited
        return [
            Route("POST", re.compile(hospitals), self._create, "create", self._admit_create),
            Route("POST", re.compile(f"{PATH}/hospitals"), _to_the_slash),
            Route("GET", re.compile(hospitals), self._list, "list", limited()),
            Route("GET", re.compile(f"{PATH}/hospitals"), _to_the_slash),
            Route("GET", re.compile(batch), self._look, "look", limited(batch_id_of)),
            Route("PATCH", re.compile(f"{batch}/activate"), self._activate, "activate", limited(batch_id_of)),
            Route("DELETE", re.compile(batch), self._delete_batch, "delete", limited(batch_id_of)),
            Route("GET", re.compile(record), self._get, "record", limited(hospital_id_of)),
            Route("DELETE", re.compile(record), self._delete, "record", limited(hospital_id_of)),
            Route("GET", re.compile(f"{PATH}/?"), lambda _: Answer.json(200, {"status": "OK"}), "wake", limited()),
        ]

    def views(self) -> Mapping[str, Callable[[], Any]]:
        """Adds ``records`` and ``batches``; requests are shown with what was sent."""
        return {
            **super().views(),
            "requests": lambda: [_described(one) for one in self.requests],
            "records": lambda: self.records,
            "batches": self._memory.batches,
        }

    def doors(self) -> Mapping[str, Callable[[], None]]:
        """``restart``."""
        return {"restart": self.restart}

    def all_faults(self) -> Mapping[str, Faults]:
        """Those of every call as ``directory``, those of one kind as ``directory/create`` and so on."""
        return {self.name: self.faults, **{f"{self.name}/{kind}": one for kind, one in self._kinds.items()}}

    def faults_of(self, kind: str) -> Faults:
        """The faults of one kind of call: wake, create, list, look, activate, delete (of a batch), record (by id)."""
        return self._kinds[kind]

    def judge(self, request: Request, kind: str) -> FaultVerdict:
        """The faults of the kind strike first, then those of every call; what they wait adds up."""
        every = self.faults.judge()
        if kind not in self._kinds:
            return every
        with self._lock:
            self.calls[kind] += 1
        own = self._kinds[kind].judge()
        wait = every.wait + own.wait + self.faults.seconds_asleep()
        wait += self.faults.create_ms / 1000 if kind == "create" else 0
        return replace(every if own.fate is Fate.ANSWERED else own, wait=wait)

    def figures(self) -> dict[str, int]:
        """Adds the requests of each kind, the records, the active ones and the batches."""
        records = self.records
        return {
            **super().figures(),
            **{f"calls_{kind}": self.calls[kind] for kind in KINDS},
            "hospitals": len(records),
            "active": sum(one["active"] for one in records),
            "batches": len(self._memory.batches()),
        }

    def restart(self) -> None:
        """Lose all records and windows, and begin at id 1 again; creates that were under way never land."""
        with self._lock:
            self._restarted = time.monotonic()
            self._memory = Memory()
            self._windows.clear()

    def reset(self) -> None:
        """Forget records and requests."""
        super().reset()
        self.restart()
        self.calls.clear()

    @property
    def records(self) -> list[Record]:
        """All records as they are now, in order of arrival."""
        return self._memory.all()

    def _limited(self, *readers: Callable[[Request], object]) -> Callable[[Request], Answer | None]:
        """What is clear on arrival: 422 for what a reader cannot read, which does not count, then 429."""

        def admit(request: Request) -> Answer | None:
            try:
                for read in readers:
                    read(request)
            except UnprocessableEntity as refused:
                return refused.answer()
            return self._counted(request.path, self.faults.calls_per_minute)

        return admit

    def _counted(self, key: str, most: int) -> Answer | None:
        if self._windows.admits(key, most, self.faults.window_seconds):
            return None
        return Answer.json(429, {"error": f"Rate limit exceeded: {most} per 1 minute"})

    def _admit_create(self, request: Request) -> Answer | None:
        """The cap counts what has landed, so creates that are under way together can pass it."""
        try:
            fields = new_hospital(request, self.faults.refuse_names)
        except UnprocessableEntity as refused:
            return refused.answer()
        limited = self._counted(request.path, self.faults.creates_per_minute)
        if limited is None and self._memory.size(fields["creation_batch_id"] or "") >= BATCH_CAP:
            return _detail(400, f"Batch cannot exceed {BATCH_CAP} hospitals")
        return limited

    def _create(self, request: Request) -> Answer:
        fields = new_hospital(request)
        with self._lock:
            if request.arrived < self._restarted:
                return _GONE
            same_id = self.faults.takes_same_id()
            return Answer.json(200, self._memory.add(fields, self.faults.most_records, same_id=same_id))

    def _list(self, _: Request) -> Answer:
        return Answer.json(200, self._memory.all())

    def _look(self, request: Request) -> Answer:
        found = self._memory.batch(batch_id_of(request))
        return Answer.json(200, found) if found else _detail(404, _EMPTY)

    def _activate(self, request: Request) -> Answer:
        try:
            count = self._memory.activate(batch_id_of(request))
        except BatchActive:
            return _detail(400, "Batch is already active")
        return Answer.json(200, {"activated_count": count}) if count else _detail(404, _EMPTY)

    def _delete_batch(self, request: Request) -> Answer:
        count = self._memory.delete_batch(batch_id_of(request))
        return Answer.json(200, {"deleted_count": count}) if count else _detail(404, _EMPTY)

    def _get(self, request: Request) -> Answer:
        return _one(self._memory.get(hospital_id_of(request)))

    def _delete(self, request: Request) -> Answer:
        return Answer(204) if self._memory.delete(hospital_id_of(request)) else _one(None)


def _one(record: Record | None) -> Answer:
    return _detail(404, "Hospital not found") if record is None else Answer.json(200, record)


def _detail(status: int, words: str) -> Answer:
    return Answer.json(status, {"detail": words})


def _to_the_slash(request: Request) -> Answer:
    return Answer(307, headers={"Location": f"http://{request.headers.get('Host', '')}{PATH}/hospitals/"})


def _described(exchange: Exchange) -> dict[str, Any]:
    facts = exchange.described()
    del facts["records"]  # bodies are objects here
    try:
        return {**facts, "sent": orjson.loads(exchange.body)}
    except orjson.JSONDecodeError:
        return {**facts, "sent": None}
