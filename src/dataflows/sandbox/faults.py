"""The faults that every stand-in can have, monstrous answers among them."""

from __future__ import annotations

import difflib
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from itertools import chain, repeat
from random import Random
from typing import Any, Final

_PAUSE: Final = 0.2  # seconds: far below any timeout between two bytes
_GIGABYTE: Final = 1 << 30
_BLOCK: Final = 1 << 20
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

Pieces = Iterator[tuple[bytes, float]]


def endless(how: str, path: str) -> Pieces:
    """The pieces of such an answer to a request for ``path`` (see ``Faults.endless_by``)."""
    if how == "bomb":
        return chain([(_OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 0.0)], _bomb())
    if how == "redirects":
        moved = f"HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return iter([(moved.encode("latin-1", "replace"), 0.0)])
    return _PLAIN[how]()


def whole(body: bytes) -> Pieces:
    """An answer of this body."""
    return iter([(_OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, 0.0)])


def _bomb() -> Pieces:
    """1 GB of zeros in 1 MB of gzip."""
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(_BLOCK)
    for _ in range(_GIGABYTE // _BLOCK):
        yield _chunk(packer.compress(zeros)), 0.0
    yield _chunk(packer.flush()) + b"0\r\n\r\n", 0.0


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _beginning(first: bytes, then: bytes, pause: float = 0.0, times: int | None = None) -> Pieces:
    more = repeat((then, pause)) if times is None else repeat((then, pause), times)
    return chain([(first, pause)], more)


_LONG: Final = _CHUNKED + b"%x\r\n" % _GIGABYTE  # a length that is declared would be refused before the first byte
_PLAIN: Final = {
    "interim": lambda: _beginning(b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n", _PAUSE),
    "status": lambda: _beginning(b"HTTP/1.1 200 ", b"O" * 4096),
    "headers": lambda: _beginning(_OK, b"X-Synthetic: " + b"x" * 4096 + b"\r\n"),
    "slow headers": lambda: _beginning(_OK + b"X: ", b"x", _PAUSE),
    "trailers": lambda: _beginning(_CHUNKED + b"2\r\n[]\r\n0\r\n", b"X-Synthetic: x\r\n" * 100),
    "drip": lambda: _beginning(_LONG, b"x", _PAUSE),
    "flood": lambda: _beginning(_LONG, b" " * _BLOCK, times=_GIGABYTE // _BLOCK),
    "deep": lambda: whole(b"[" * 100_000),
    "wrong": lambda: whole(b'{"kind": [[1]], "items": [[1]], "error_codes": [[1]], "access_token": {}, "detail": 7}'),
}


class Fate(Enum):
    """What becomes of one request. The order is the order in which they are looked for."""

    SILENT = "silent"
    DROPPED = "dropped"
    ERROR = "error"
    LATE = "late"
    LOST = "lost"
    CUT = "cut"
    ENDLESS = "endless"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class FaultVerdict:
    """The fate of one request: seconds to wait first, and for an error its status and Retry-After (empty: none).

    ``late`` are the seconds until a late commit; ``silently``: a lost answer leaves the connection open; ``endless``
    is the way in which an answer has no end.
    """

    fate: Fate
    wait: float = 0.0
    status: int = 0
    retry_after: str = ""
    late: float = 0.0
    silently: bool = False
    endless: str = ""


ENDLESS: tuple[str, ...] = (
    "interim", "status", "headers", "slow headers", "trailers", "drip", "flood", "bomb", "deep", "wrong", "redirects",
)  # fmt: skip
"""The ways in which an answer can be endless or monstrous; ``wire`` knows how each is written."""


@dataclass
class Faults:
    """The faults that every service can have. Change them with ``set``, which checks names and types.

    Attributes:
        latency_ms, jitter_ms: every answer waits this long, and up to so much longer.
        error_share, error_next, error_seconds: answer ``error_status`` to a share (0 to 1) of the requests, to the next
            so many, or to all for so many seconds from the moment it is set. Nothing is committed.
        retry_after: the text of a Retry-After header on errors and rate limits, sensible or not.
        rate_limit: so many requests per second; what is above gets 429 (0: no limit).
        drop_share, drop_next: the connection ends before anything is committed.
        lost_share, lost_next: committed, then the connection ends without an answer; ``lost_by="silence"``: the
            connection stays open and the client runs into its timeout.
        late_share, late_next: the connection ends at once, and ``late_ms`` later the request is committed after all.
            With ``lost_by="silence"`` it stays open meanwhile, and the commit counts as a lost answer.
        cut_share, cut_next: committed, then the answer breaks off in the middle of its body.
        silent_share, silent_next: no answer ever, nothing committed, the connection stays open.
        endless_share, endless_next: committed, then an answer that does not end or should not be read, by
            ``endless_by``: interim answers (1xx), a status line, headers, headers at a byte per 0.2 s, or trailers for
            ever; a body that drips or one of 1 GB (flood); gzip that unpacks to 1 GB (bomb); JSON nested 100,000 deep;
            JSON of another shape (wrong); redirects to itself.
        forbid: 403 for everyone.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    error_share: float = 0.0
    error_status: int = 503
    error_next: int = 0
    error_seconds: float = 0.0
    retry_after: str = ""
    rate_limit: float = 0.0
    drop_share: float = 0.0
    drop_next: int = 0
    lost_share: float = 0.0
    lost_next: int = 0
    lost_by: str = field(default="drop", metadata={"choices": ("drop", "silence")})
    late_share: float = 0.0
    late_next: int = 0
    late_ms: float = 500.0
    cut_share: float = 0.0
    cut_next: int = 0
    silent_share: float = 0.0
    silent_next: int = 0
    endless_share: float = 0.0
    endless_next: int = 0
    endless_by: str = field(default="interim", metadata={"choices": ENDLESS})
    forbid: bool = False

    seed: int | str = field(default=0, kw_only=True, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._dice = Random(f"{self.seed}/{type(self).__name__}")  # noqa: S311 - chance that repeats
        self._error_until = 0.0
        self._bucket: tuple[float, float] | None = None  # requests that may pass, and when that was true
        self._at_start = self.as_dict()

    def set(self, **changes: Any) -> None:
        """Change some of the faults, all of the changes or none.

        Raises:
            ValueError: an unknown name, a value of the wrong type, or one out of range.
        """
        known = {one.name: one for one in _options(self)}
        checked = {}
        for name, value in changes.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                raise ValueError(f"no fault is called {name[:60]!r}" + (f"; did you mean {near[0]}?" if near else ""))
            checked[name] = _checked(name, getattr(self, name), known[name].metadata.get("choices"), value)
        with self._lock:
            for name, value in checked.items():
                setattr(self, name, value)
            if "error_seconds" in checked:
                self._error_until = self.clock() + self.error_seconds

    def begin_with(self, **changes: Any) -> None:
        """Change some of the faults, and let ``clear`` go back to them."""
        self.set(**changes)
        self._at_start |= changes

    def read(self, name: str, text: str) -> Any:
        """The value of one fault from a command line: as it stands for a text, else JSON (``true``, ``0.5``).

        Raises:
            ValueError: neither; ``set`` checks the rest.
        """
        if isinstance(getattr(self, name, None), str):
            return text
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise ValueError(f"{text[:60]!r} is not a value for {name[:60]}") from None

    def clear(self) -> None:
        """Back to the values that the sandbox was started with."""
        self.set(**self._at_start)

    def as_dict(self) -> dict[str, Any]:
        """The faults as they are now (``*_next`` counts what is left)."""
        return {one.name: getattr(self, one.name) for one in _options(self)}

    def judge(self) -> FaultVerdict:
        """Decide what becomes of the next request."""
        with self._lock:
            dice = {fate: self._dice.random() for fate in _CHANCES}
            wait = (self.latency_ms + self.jitter_ms * self._dice.random()) / 1000
            return self._judged(dice, wait)

    def _judged(self, dice: dict[Fate, float], wait: float) -> FaultVerdict:
        if self.forbid:
            return FaultVerdict(Fate.ERROR, wait, 403)
        if not self._passes():
            return FaultVerdict(Fate.ERROR, wait, 429, self.retry_after or "1")
        for fate, name in _CHANCES.items():
            if dice[fate] < getattr(self, f"{name}_share") or self._take(f"{name}_next"):
                return self._struck(fate, wait)
        if self._take("endless_next") or (self.endless_share and self._dice.random() < self.endless_share):
            return FaultVerdict(Fate.ENDLESS, wait, endless=self.endless_by)
        return FaultVerdict(Fate.ANSWERED, wait)

    def _struck(self, fate: Fate, wait: float) -> FaultVerdict:
        silently = self.lost_by == "silence"
        match fate:
            case Fate.ERROR:
                return FaultVerdict(fate, wait, self.error_status, self.retry_after)
            case Fate.LATE if silently:
                return FaultVerdict(Fate.LOST, wait + self.late_ms / 1000, silently=True)
            case Fate.LATE:
                return FaultVerdict(fate, wait, late=self.late_ms / 1000)
            case _:
                return FaultVerdict(fate, wait, silently=silently and fate is Fate.LOST)

    def _passes(self) -> bool:
        """A bucket that holds one second's worth and fills at the rate."""
        if not self.rate_limit:
            return True
        now, room = self.clock(), max(1.0, self.rate_limit)
        left, since = self._bucket or (room, now)
        left = min(room, left + (now - since) * self.rate_limit)
        self._bucket = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def _take(self, name: str) -> bool:
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0 or (name == "error_next" and self.clock() < self._error_until)


_CHANCES = {
    Fate.SILENT: "silent",
    Fate.DROPPED: "drop",
    Fate.ERROR: "error",
    Fate.LATE: "late",
    Fate.LOST: "lost",
    Fate.CUT: "cut",
}


def _options(faults: Faults) -> list[Any]:
    return [one for one in fields(faults) if one.name not in ("seed", "clock")]


def _checked(name: str, now: Any, choices: tuple[str, ...] | None, value: Any) -> Any:
    """The value in the type of the present one, or ValueError."""
    if isinstance(now, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(now):
        raise ValueError(f"{name} needs a {type(now).__name__}")
    if choices and value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}")
    if isinstance(value, (int, float)) and not 0 <= value <= (1 if name.endswith("_share") else float("inf")):
        raise ValueError(f"{name} is out of range")
    return value
