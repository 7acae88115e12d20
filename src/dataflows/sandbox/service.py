"""One stand-in: routes, faults, views, and the control paths under ``/_sandbox``."""

from __future__ import annotations

import re
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import orjson

from dataflows.sandbox.faults import Faults, FaultVerdict

_LOOPBACK: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


class Control:
    """Answers what is under ``/_sandbox``. Faults do not touch it."""

    def __init__(self, services: Mapping[str, Service], all_faults: Mapping[str, Faults]) -> None:
        self._services, self._all_faults = services, all_faults
        self._doors: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", ""): lambda _: Answer.json(200, self._overview()),
            ("GET", "/faults"): lambda _: Answer.json(200, self._faults()),
            ("PUT", "/faults"): self._set,
            ("POST", "/reset"): self._reset,
        }

    def answer(self, request: Request) -> Answer:
        """Answer one request to the back door."""
        if not _LOOPBACK.fullmatch(request.headers.get("Host", "")):
            return _refused(403, "by a loopback name only")  # else a web page could have a name of its own point here
        path = request.path.removeprefix("/_sandbox").rstrip("/")
        door = self._doors.get((request.method, path))
        if door:
            return door(request)
        name, _, view = path.removeprefix("/").rpartition("/")
        if request.method == "PUT" and view == "faults" and name in self._all_faults:
            return self._set_those({name: request.parsed})
        service = self._services.get(name)
        if service and request.method == "GET" and view in service.views():
            return Answer.json(200, service.views()[view]())
        if service and request.method == "POST" and view in service.doors():
            service.doors()[view]()
            return Answer.json(200, service.figures())
        return _refused(404, "nothing here; see GET /_sandbox")

    def _overview(self) -> dict[str, Any]:
        return {
            name: {"figures": service.figures(), "views": [f"/_sandbox/{name}/{view}" for view in service.views()]}
            for name, service in self._services.items()
        }

    def _faults(self) -> dict[str, Any]:
        return {name: faults.as_dict() for name, faults in self._all_faults.items()}

    def _set(self, request: Request) -> Answer:
        return self._set_those(request.parsed)

    def _set_those(self, wanted: Any) -> Answer:
        if not isinstance(wanted, dict) or not all(isinstance(changes, dict) for changes in wanted.values()):
            return _refused(400, 'the body is an object such as {"receiver": {"error_next": 3}}')
        if not wanted.keys() <= self._all_faults.keys():
            return _refused(400, f"there are faults of {', '.join(self._all_faults)}")
        try:
            for name, changes in wanted.items():
                self._all_faults[name].set(**changes)
        except ValueError as error:
            return _refused(400, str(error))
        return Answer.json(200, self._faults())

    def _reset(self, request: Request) -> Answer:
        for service in self._services.values():
            service.reset()
        return Answer.json(200, self._overview())


def _refused(status: int, words: str) -> Answer:
    return Answer.json(status, {"status": status, "errors": [words]})


HISTORY = 5_000  # exchanges kept per service, so that a long rehearsal does not fill the memory


@dataclass(frozen=True)
class Request:
    """One request as it came in; ``parts`` are the named groups of the route that took it.

    ``arrived`` are seconds of the monotonic clock.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    parts: Mapping[str, str] = field(default_factory=dict)
    arrived: float = field(default_factory=time.monotonic)

    @cached_property
    def parsed(self) -> Any:
        """The body read as JSON (once); None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, before any fault gets at it.

    ``framing`` is how its end is told: ``length`` (declared), ``chunked``, or ``close`` (the end of the connection).
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: str = "length"
    bytes_per_second: float = 0.0

    @classmethod
    def json(cls, status: int, value: object, **headers: str) -> Answer:
        """An answer that carries JSON."""
        return cls(status, orjson.dumps(value), headers=headers)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path (a regular expression for the whole of it) and what answers there.

    Attributes:
        answer: works on the request, after the latency.
        kind: which of the service's faults may strike here, where it has several (see ``Service.judge``).
        admit: asked on arrival, before the latency; an answer that it has is given at once, instead of the other.
    """

    method: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Answer]
    kind: str = ""
    admit: Callable[[Request], Answer | None] | None = None


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    Attributes:
        number: counts the requests of the service, from 1.
        started: seconds of the monotonic clock.
        status: what was answered; None while in flight and where no answer left.
        fate: ``answered``, or the fault that struck (``error``, ``dropped``, ``lost``, ``late``, ``cut``, ``silent``).
        committed: whether the service worked on the request (it may still have refused it).
    """

    number: int
    started: float
    method: str
    path: str
    body: bytes
    status: int | None = None
    fate: str = ""
    committed: bool = False

    @property
    def records(self) -> list[Any]:
        """The body as a JSON array; empty where it is none."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return []
        return value if isinstance(value, list) else []

    def described(self) -> dict[str, Any]:
        """The exchange as plain data, for ``/_sandbox/<name>/requests``."""
        facts = {name: getattr(self, name) for name in ("number", "method", "path", "status", "fate", "committed")}
        return {**facts, "bytes": len(self.body), "records": self.records}


class Service(ABC):
    """One stand-in. Subclasses give a name, their faults, routes, views and what ``reset`` forgets."""

    name: str
    keeps_bodies = True

    def __init__(self, faults: Faults, *, lean: bool = False) -> None:
        self.faults = faults
        self.lean = lean
        self.counts: Counter[str] = Counter()
        self.most_in_flight = 0
        self._history: deque[Exchange] = deque(maxlen=HISTORY)
        self._in_flight = 0
        self._number = 0
        self._history_lock = threading.Lock()

    @abstractmethod
    def routes(self) -> Iterable[Route]:
        """The paths that this stand-in answers."""

    def views(self) -> Mapping[str, Callable[[], Any]]:
        """What can be looked at under ``/_sandbox/<name>/<view>``, as functions that give plain data."""
        return {"requests": lambda: [one.described() for one in self.requests], "figures": self.figures}

    def doors(self) -> Mapping[str, Callable[[], None]]:
        """What can be done by POST to ``/_sandbox/<name>/<door>``."""
        return {}

    def all_faults(self) -> Mapping[str, Faults]:
        """Every set of faults, by the name that they have at the back door; most services have one."""
        return {self.name: self.faults}

    def judge(self, request: Request, kind: str) -> FaultVerdict:
        """Decide what becomes of a request, which a route of this kind took; a service may spare some."""
        return self.faults.judge()

    def reset(self) -> None:
        """Forget what arrived, and go back to the faults at the start; subclasses forget their state too."""
        for faults in self.all_faults().values():
            faults.clear()
        with self._history_lock:
            self._history.clear()
            self.counts.clear()
            self._number = self.most_in_flight = 0

    @property
    def requests(self) -> list[Exchange]:
        """The latest exchanges, oldest first (at most 5,000; none when lean)."""
        with self._history_lock:
            return list(self._history)

    def figures(self) -> dict[str, int]:
        """How often each status and fate occurred, requests in all, and the most that were in flight at once."""
        with self._history_lock:
            return {"requests": self._number, "most_in_flight": self.most_in_flight, **self.counts}

    def arrived(self, request: Request) -> Exchange:
        """Note a request on its way in."""
        body = request.body if self.keeps_bodies and not self.lean else b""
        with self._history_lock:
            self._number += 1
            exchange = Exchange(self._number, time.monotonic(), request.method, request.path, body)
            if not self.lean:
                self._history.append(exchange)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        return exchange

    def leaves(self, request: Request, exchange: Exchange, fate: str, status: int | None) -> None:
        """Note how a request ends, just before the client can know."""
        with self._history_lock:
            exchange.fate, exchange.status = fate, status
            self.counts[fate] += 1
            if status is not None:
                self.counts[f"status_{status}"] += 1
            self._in_flight -= 1
