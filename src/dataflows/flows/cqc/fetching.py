"""The exports, and how one of them comes to disk."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import AccessRefused, DataflowsError, ExitCode, WrongUsage
from dataflows.events import Step
from dataflows.flows.cqc.folder import Folder, not_written
from dataflows.flows.cqc.verify import FileSummary, Verifier
from dataflows.remote.download import DownloadLimits, DownloadResult, download
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.route import shown
from dataflows.remote.session import Session, make_session
from dataflows.runs import pool

if TYPE_CHECKING:
    from dataflows.runs.runner import Run
    from dataflows.settings import Settings


_SEARCH = (
    "https://www.cqc.org.uk/search/all?query=&location-query=&radius=&display=csv&sort=relevance&last-published=week"
    "&filters[]=archived:active{homes}&filters[]=lastPublished:all&filters[]=more_services:all"
    "&filters[]=overallRating:Not%20rated&filters[]=overallRating:Inadequate"
    "&filters[]=overallRating:Requires%20improvement&filters[]=services:{service}&filters[]=specialisms:all"
)
DEFAULTS: Mapping[str, str] = {
    "homecare": _SEARCH.format(homes="", service="homecare-agencies"),
    "carehomes": _SEARCH.format(homes="&filters[]=careHomes:all", service="care-home"),
}
"""The two exports that are fetched when nobody says otherwise."""

HEADERS: Mapping[str, str] = {
    "User-Agent": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"
        " (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
    ),
    "Accept": "text/csv,application/csv,application/octet-stream;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip",
}
"""CQC's site turns programs away that do not look like a browser."""


class Unavailable(DataflowsError):
    """The service answers, but has no file for us."""

    exit_code = ExitCode.SOME_FAILED
    code = "unavailable"


@dataclass(frozen=True, slots=True)
class ExportSource:
    """One export: its name (part of the file names) and its address."""

    name: str
    url: str


def configured(settings: Settings) -> dict[str, ExportSource]:
    """All sources by name: the two of CQC, and those of CQC_URL_<NAME>."""
    return {name: ExportSource(name, url) for name, url in {**DEFAULTS, **settings.cqc_urls}.items()}


def chosen(settings: Settings, names: Collection[str]) -> list[ExportSource]:
    """The sources of these names, each once; without names all of them.

    Raises:
        WrongUsage: there is no source of some name.
    """
    known = configured(settings)
    wanted = list(dict.fromkeys(name.lower() for name in names)) or list(known)
    for name in wanted:
        if name not in known:
            raise WrongUsage(
                f"there is no source {name!r}",
                reason="source-unknown",
                hint=f"known are {', '.join(known)}; CQC_URL_{name.upper()} adds one",
            )
    return [known[name] for name in wanted]


def fetch(
    session: Session, source: ExportSource, take: Callable[[bytes], object], limits: DownloadLimits
) -> DownloadResult:
    """Get the file of a source once, its bytes handed to ``take``.

    Raises what ``download`` and ``take`` raise; AccessRefused and Unavailable for answers that bring no file.
    """
    arrival = download(session, source.url, take, headers=HEADERS, limits=limits)
    host = shown(source.url)
    if arrival.status in (401, 403):
        raise AccessRefused(
            f"{host} answered {arrival.status}: it takes this program for a robot, or does not give this file out",
            reason="cqc-blocked",
            hint="open the address in a browser; fetching less often may help",
        )
    if arrival.status != 200:
        raise Unavailable(
            f"{host} answered {arrival.status}", reason="service-error", hint="check the address of the source"
        )
    return arrival


class _SeenEnough(Exception):
    """The beginning of a file is here and is right."""


def look_at_header(session: Session, source: ExportSource, settings: Settings) -> float:
    """Ask once for an export, and go no further than its header; returns the seconds that took. Raises as ``fetch``."""
    began, verifier = time.monotonic(), Verifier(block=1)

    def take(piece: bytes) -> None:
        verifier.take(piece)
        if verifier.has_header:
            raise _SeenEnough

    limits = DownloadLimits(began + settings.http_deadline_seconds, settings.cqc_max_bytes)
    try:
        fetch(session, source, take, limits)
        verifier.finish()
    except _SeenEnough:
        pass
    return time.monotonic() - began


_REPORT_EVERY_SECONDS = 2.0
_WRITE_OUT_EVERY = 8 * 1024 * 1024

log = logging.getLogger("dataflows.cqc")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole and right. ``path`` is None where it was the same as the last one and not to be kept."""

    source: ExportSource
    path: Path | None
    content: FileSummary
    size: int
    headers: Mapping[str, str]
    seconds: float
    tries: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A source that brought no file, and why."""

    source: ExportSource
    error: DataflowsError
    tries: int


class Fetcher:
    """Fetches sources into a folder.

    ``known`` are the SHA-256 by source of files that need not be saved again; ``allow_ragged`` as of ``Verifier``.
    """

    def __init__(
        self, settings: Settings, folder: Folder, run: Run, known: Mapping[str, str], *, allow_ragged: int
    ) -> None:
        self._settings, self._folder, self._known, self._allow_ragged = settings, folder, known, allow_ragged
        self._stop = run.stop
        self._progress = FetchProgress(run)
        attempts, most = settings.cqc_retries + 1, settings.http_max_wait_seconds
        self._policy = RetryPolicy(attempts, settings.cqc_deadline_seconds, most, run.stop, run.notify)

    def fetch_all(self, sources: Sequence[ExportSource], workers: int) -> Iterator[Fetched | Missed]:
        """Fetch so many sources at the same time, and yield what became of each in the order of their ends."""
        with closing(make_session(self._settings, workers, self._stop.grace_is_over)) as session:
            yield from pool.each(partial(self._fetch, session), sources, workers=workers, stop=self._stop)

    def _fetch(self, session: Session, source: ExportSource) -> Fetched | Missed:
        """Fetch one source, with as many attempts as the policy allows. What goes wrong is a value, unless a bug."""
        began = time.monotonic()
        tries = 0

        def attempt() -> Fetched:
            nonlocal tries
            tries += 1
            return self._once(session, source, began, tries)

        try:
            return self._policy.call(attempt, source.name)
        except DataflowsError as error:
            log.warning("%s: not fetched after %d tries: %s", source.name, tries, error.message)
            return Missed(source, error, tries)

    def _once(self, session: Session, source: ExportSource, began: float, tries: int) -> Fetched:
        limits = DownloadLimits(began + self._policy.deadline, self._settings.cqc_max_bytes, self._stop.grace_is_over)
        try:
            with self._folder.temporary(source.name) as path:
                content, arrival = self._streamed(session, source, path, limits)
                final = self._kept(source, path, content)
        except OSError as error:  # of the network none gets here: they are ServiceDown
            raise not_written(error, f"the file of {source.name}") from None
        seconds = time.monotonic() - began
        log.info("%s: %d bytes, %d records, %s", source.name, arrival.size, content.rows, final or "not saved again")
        return Fetched(source, final, content, arrival.size, arrival.headers, seconds, tries)

    def _streamed(
        self, session: Session, source: ExportSource, path: Path, limits: DownloadLimits
    ) -> tuple[FileSummary, DownloadResult]:
        verifier = Verifier(allow_ragged=self._allow_ragged)
        log.info("%s: asking %s", source.name, shown(source.url))
        with _Sink(path) as sink:

            def take(piece: bytes) -> None:
                verifier.take(piece)
                sink.write(piece)
                self._progress(source.name, sink.size)

            arrival = fetch(session, source, take, limits)
            log.info("%s: status %d, %d bytes", source.name, arrival.status, arrival.size)
            content = verifier.finish()
            sink.finish()
        return content, arrival

    def _kept(self, source: ExportSource, path: Path, content: FileSummary) -> Path | None:
        if self._known.get(source.name) == content.sha256:
            return None
        return self._folder.publish(path, f"cqc_{source.name}")


class _Sink:
    """A new file, unbuffered, on its way to the disk while it is written, so that the flush at its end is short."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._sent = 0
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Append bytes, all of them."""
        view = memoryview(piece)
        while view:  # a file system that runs full may take a part first
            view = view[self._file.write(view) :]
        self.size += len(piece)
        if self.size - self._sent >= _WRITE_OUT_EVERY:
            self._write_out()

    def finish(self) -> None:
        """Flush to the disk."""
        os.fsync(self._file.fileno())

    def _write_out(self) -> None:
        if hasattr(os, "posix_fadvise"):  # on Linux this begins to write and does not wait
            os.posix_fadvise(self._file.fileno(), self._sent, self.size - self._sent, os.POSIX_FADV_DONTNEED)
        self._sent = self.size

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass
class FetchProgress:
    """Says now and then how far each source is. Called from the threads of the pool."""

    run: Run
    began: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)
    sizes: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str, size: int) -> None:
        self.sizes[name] = size
        if time.monotonic() - self.reported < _REPORT_EVERY_SECONDS or not self.lock.acquire(blocking=False):
            return
        try:
            self.reported = time.monotonic()
            sizes = list(self.sizes.items())
            total = sum(size for _, size in sizes) / 1e6
            each = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes)
            self.run.notify(Step(f"{total:.1f} MB, {total / (self.reported - self.began):.1f} MB/s ({each})"))
        finally:
            self.lock.release()
