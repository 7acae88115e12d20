"""One log file per run, in JSON lines, swept when old.

A log never holds data of a person. Our own messages are written with that in mind; of foreign ones (exceptions and
libraries) only the kind and the place are written, since their texts may quote what they were given.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from itertools import chain as chain_of
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dataflows import __version__
from dataflows.errors import DataflowsError, marked, printable
from dataflows.events import Done, Event, Failed, Pending, Planned, Reached, Retrying, Skipped, Step, Waiting, Warned

if TYPE_CHECKING:
    from dataflows.runs.journal import RunRecord
    from dataflows.runs.runner import Outcome

OURS = "dataflows"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_EVENT_LEVELS: dict[type, int] = {
    Planned: logging.INFO,
    Step: logging.INFO,
    Done: logging.DEBUG,
    Skipped: logging.DEBUG,
    Failed: logging.WARNING,
    Pending: logging.INFO,
    Retrying: logging.INFO,
    Waiting: logging.INFO,
    Reached: logging.DEBUG,
    Warned: logging.WARNING,
}

log = logging.getLogger("dataflows.run")
_naming = threading.Lock()
_given: deque[Path] = deque(maxlen=1000)
"""Names that runs of this process have, whose files may not be there yet: a server starts many in a millisecond."""
_current: contextvars.ContextVar[RunLog | None] = contextvars.ContextVar("run_log", default=None)


class RunLog(logging.Handler):
    """The log file of one run. It is made, for its owner only, when the first record comes.

    Several runs may be at work in one process: each log takes what is said in the context in which it was attached,
    which the threads of the pool share, and what is said in no run's context.
    """

    def __init__(self, data_dir: Path, command: str, *, level: str = "info", keep_days: int = 30) -> None:
        super().__init__(_LEVELS[level])
        self.path = _free_path(data_dir / "logs", command)
        self._keep_days = keep_days
        self._stream: TextIO | None = None
        self._ended = False

    def attach(self) -> RunLog:
        """Take in what is logged from now on, by us and by the libraries."""
        self._ended = False
        self.take_over()
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(logging.WARNING)
        logging.getLogger(OURS).setLevel(self.level)
        return self

    def take_over(self) -> None:
        """Take in, from now on and alone, what is said in the context of the caller, such as a task of a server."""
        _current.set(self)

    def detach(self) -> None:
        """Close the file and let go of the loggers."""
        logging.getLogger().removeHandler(self)
        if _current.get() is self:
            _current.set(None)
        with self.lock or nullcontext():  # another thread may be just about to write
            self._ended = True
            self.close()

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what belongs to another run of this process."""
        return _current.get() in (None, self) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        if self._ended:
            return
        if self._stream is None:
            self._stream = self._open()
        line = printable(json.dumps(entry(record), ensure_ascii=False, default=str))  # escapes as JSON has them
        with suppress(OSError):  # a full disk must not stop the run
            self._stream.write(line + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            with suppress(OSError):  # what a full disk did not take is tried once more by closing
                self._stream.close()
            self._stream = None
        super().close()

    def log_start(self, command: str) -> None:
        """Write what is running, and on what."""
        log.info("%s starts: dataflows %s, Python %s, %s", command, __version__, sys.version.split()[0], sys.platform)

    def log_end(self, outcome: Outcome) -> None:
        """Write how it ended."""
        if outcome.error is not None:
            self.log_error(outcome.error)
        log.info("run %s ends with exit code %d: %s", outcome.run_id, outcome.exit_code, outcome.counts)
        if not outcome.clock_jumped:
            _sweep(self.path.parent, self._keep_days)

    def log_error(self, error: DataflowsError) -> None:
        """Write what an operator is told."""
        log.error("%s: %s (%s)", error.code, marked(error.message, error.reason), error.hint)

    def log_event(self, event: Event) -> None:
        """Write one event of a job; those of single items that went well only at level debug."""
        level = _EVENT_LEVELS[type(event)]
        if level >= self.level:
            log.log(level, "event", extra={"event": event})

    def crash(self, error: BaseException) -> Path | None:
        """Write the traceback of a bug. Returns the file, None when it could not be written."""
        try:
            log.error("unexpected %s", type(error).__name__, exc_info=error)
        except Exception:  # a bug is being reported: this must not raise another one
            return None
        return self.path

    def _open(self) -> TextIO:
        from dataflows.store.files import private_folder, unusable

        try:
            private_folder(self.path.parent)
            try:
                return _create(self.path)
            except FileExistsError:
                self.path = self.path.with_name(f"{self.path.stem}-{os.getpid()}.log")
                return _create(self.path)
        except OSError as error:
            raise unusable(self.path, error, "the log", "check DATA_DIR and its permissions") from None


@contextmanager
def off_the_screen() -> Iterator[None]:
    """While this lasts, what libraries say and threads that break go to the log if there is one, never to stderr."""
    hooks = threading.excepthook, sys.unraisablehook
    silent, last_resort = logging.NullHandler(), logging.lastResort
    logging.getLogger().addHandler(silent)
    logging.lastResort = silent  # it writes to stderr what a logger that is cut off from the root says
    google = logging.getLogger("google")  # Google's libraries cut it off, unless it has a handler of its own
    google.addHandler(silent)
    google.propagate = True
    logging.captureWarnings(True)
    threading.excepthook, sys.unraisablehook = _log_thread, _log_unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        logging.lastResort = last_resort
        logging.getLogger().removeHandler(silent)
        google.removeHandler(silent)


def entry(record: logging.LogRecord) -> dict[str, Any]:
    """One record as a JSON line holds it."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    line: dict[str, Any] = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
    event: Event | None = getattr(record, "event", None)
    if event is not None:
        return {**line, "event": type(event).__name__.lower(), **_fields(event)}
    if record.name == OURS or record.name.startswith(OURS + "."):
        line["message"] = record.getMessage()
    else:
        line |= _foreign(record)
    if record.exc_info and record.exc_info[1] is not None:
        line["traceback"] = chain(record.exc_info[1])
    return line


def chain(error: BaseException) -> list[dict[str, Any]]:
    """An exception and what led to it: kinds and places, the text only where it is one of our own errors."""
    links: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(links) < 10:
        link: dict[str, Any] = {"type": f"{type(current).__module__}.{type(current).__qualname__}"}
        if isinstance(current, DataflowsError):
            link["message"] = current.message
        frames = traceback.extract_tb(current.__traceback__, limit=-50)
        link["frames"] = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        links.append(link)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return links


def _fields(event: Event) -> dict[str, object]:
    return {name: value for name in type(event).__slots__ if (value := getattr(event, name)) not in ("", None)}


def _foreign(record: logging.LogRecord) -> dict[str, str]:
    """A library's record: where it was made and, when its arguments stand apart, the template without them."""
    place = {"place": f"{record.pathname}:{record.lineno}"}
    return {**place, "template": record.msg} if record.args and isinstance(record.msg, str) else place


def _free_path(folder: Path, command: str) -> Path:
    """A name that neither another run of this process has been given nor a file has."""
    now = datetime.now().astimezone()
    stem = f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{command.replace(' ', '-')}"
    numbered = (f"{stem}-{os.getpid()}-{number}.log" for number in count(2))
    with _naming:
        names = chain_of([f"{stem}.log", f"{stem}-{os.getpid()}.log"], numbered)
        path = next(path for path in map(folder.joinpath, names) if path not in _given and not os.path.lexists(path))
        _given.append(path)
    return path


def _create(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="\n")


def _sweep(folder: Path, keep_days: int) -> None:
    """Remove logs that nobody wrote to for so many days. One that is held open (Windows) is left for another time."""
    oldest = time.time() - keep_days * 86_400
    for path in folder.glob("*.log"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _log_thread(arguments: threading.ExceptHookArgs) -> None:
    log.error("unexpected error in a thread", exc_info=arguments.exc_value)


def _log_unraisable(arguments: sys.UnraisableHookArgs) -> None:
    log.error("unexpected error that nobody could take", exc_info=arguments.exc_value)


LARGEST_LOG = 5_000_000
"""Bytes; of a larger log the end is shown."""


def log_of(record: RunRecord, most: int = LARGEST_LOG) -> str | None:
    """Return the log of a run, or the last ``most`` bytes of it; None where it has none any more."""
    path = Path(record.log_file) if record.log_file else None
    if path is None or not path.is_file():
        return None
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - most))
        return stream.read(most).decode("utf-8", "replace").rstrip("\n")
