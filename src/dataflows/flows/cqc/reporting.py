"""What a run tells of its sources: while they come, in its report, and in the journal."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataflows.events import Step
from dataflows.flows.cqc.changes import ChangeCount, Fetch
from dataflows.flows.cqc.fetching import Fetched
from dataflows.flows.cqc.layout import plain
from dataflows.flows.cqc.verify import FileSummary
from dataflows.runs.runner import Run

_TELL_EVERY_SECONDS = 2.0
_A_FEW = 5  # rows without an identifier; more of them make a file suspect


@dataclass(slots=True)
class Result:
    """What became of one source: the seed's fields, and ours."""

    file: str | None = None
    bytes: int | None = None
    url: str | None = None
    error: str | None = None
    code: str | None = None
    warning: str | None = None
    rows: int | None = None
    blank: int | None = None
    ragged: int | None = None
    nameless: int | None = None
    sha256: str | None = None
    unchanged: bool | None = None
    tries: int = 0
    seconds: float | None = None
    changes: dict[str, object] | None = None


def of_fetch(got: Fetched, path: Path, *, unchanged: bool) -> Result:
    """The result of a source whose file is at ``path``."""
    content = got.content
    return Result(
        file=path.name,
        bytes=got.size,
        url=f"/files/{path.name}",
        rows=content.rows,
        blank=content.blank,
        ragged=content.ragged,
        nameless=content.nameless,
        sha256=content.sha256,
        unchanged=unchanged,
        tries=got.tries,
        seconds=round(got.seconds, 3),
    )


def recorded(got: Fetched, path: Path, *, good: bool) -> Fetch:
    """The same for the journal."""
    return Fetch(
        got.source.name,
        got.source.url,
        path.name,
        got.size,
        got.content.rows,
        got.content.sha256,
        got.headers.get("ETag"),
        got.headers.get("Last-Modified"),
        got.seconds,
        got.tries,
        good,
        json.dumps(got.content.columns),
    )


def suspicions(content: FileSummary) -> Iterator[str]:
    """Why a file is not to be the measure of later ones."""
    if content.nameless > _A_FEW:
        yield f"{content.nameless} rows have no identifier and are no records"
    if content.is_twice:
        yield f"the whole content stands twice: record {content.rows // 2 + 1} is the first one again"


def repetitions(content: FileSummary) -> Iterator[str]:
    """Where the header stands again."""
    if content.headers:
        rows = ", ".join(map(str, content.headers))
        yield f"the header stands again in the middle, at record {rows}"


def came_and_went(before: Sequence[str], now: Sequence[str]) -> str:
    """Which columns only one of two files has; empty when they have the same. Names are compared loosely."""
    old, new = {plain(name): name for name in before}, {plain(name): name for name in now}
    words = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("new columns", [name for key, name in new.items() if key not in old]),
            ("columns that are gone", [name for key, name in old.items() if key not in new]),
        )
        if names
    ]
    return "; ".join(words)


def counted(changes: ChangeCount, path: Path) -> dict[str, object]:
    """What a comparison found, and the file that holds it."""
    return {"file": path.name, "new": changes.new, "gone": changes.gone, "changed": changes.changed}


@dataclass
class FetchProgress:
    """Tells now and then how far each source is. Called from the threads of the pool."""

    run: Run
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)
    sizes: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str, size: int) -> None:
        self.sizes[name] = size
        if time.monotonic() - self.told < _TELL_EVERY_SECONDS or not self.lock.acquire(blocking=False):
            return
        try:
            self.told = time.monotonic()
            sizes = list(self.sizes.items())
            total = sum(size for _, size in sizes) / 1e6
            each = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes)
            self.run.notify(Step(f"{total:.1f} MB, {total / (self.told - self.began):.1f} MB/s ({each})"))
        finally:
            self.lock.release()
