"""What is around every job: run id, lock, signals, tally, journal. The job itself only yields events."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from dataflows.errors import DataflowsError, ExitCode, Interrupted
from dataflows.events import Event, Planned, Step, Tally, Waiting, Warned
from dataflows.hints import RESUME, about
from dataflows.runs import journal as states
from dataflows.runs.clock import AHEAD, Clock
from dataflows.runs.gc_tuning import sweep
from dataflows.runs.journal import Journal
from dataflows.runs.lock import only_one
from dataflows.runs.pool import Stop

Report: TypeAlias = dict[str, object]
Listener: TypeAlias = Callable[[Event], None]
_SAVE_EVERY_SECONDS = 0.5
WARNINGS = "warnings_given"
"""Where a report holds what the run warned of: a list of message and hint."""
_WARNINGS_KEPT = 50

_JUMPED = Warned(
    f"the clock is more than {AHEAD.days} days after the newest known date: nothing was removed for its age",
    reason="clock-jumped",
    hint="check this machine's clock; if it is right, a later run removes what is old",
)

log = logging.getLogger("dataflows.runner")


@dataclass(frozen=True)
class Run:
    """What a job is given: its id, the journal, the data folder, the event that asks it to stop, and the report
    that it fills as it goes (so that a run which breaks off still says how far it came).
    """

    id: str
    journal: Journal
    data_dir: Path
    notify: Listener  # for what happens in other threads, such as a retry; the job itself yields its events
    stop: Stop = field(default_factory=Stop)
    report: Report = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    """Asked before anything is removed for its age."""


Job: TypeAlias = Callable[[Run], Iterator[Event]]


@dataclass(frozen=True)
class Order:
    """What is to be run: the command, what it locks, and how it was asked for (kept for ``runs resume``)."""

    command: str
    target: str
    options: Mapping[str, object]
    data_dir: Path
    runs_keep_days: int = 90
    log_file: Path | None = None
    batch_id: str | None = None
    resumable: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: ExitCode
    run_id: str | None
    command: str
    state: str
    counts: dict[str, int]
    seconds: float
    report: Report
    error: DataflowsError | None
    log_file: Path | None
    clock_jumped: bool = False


class Bug(DataflowsError):
    """Something nobody foresaw. The traceback is in the log."""

    exit_code = ExitCode.BUG
    code = "bug"


def run_job(order: Order, job: Job, listener: Listener, *, stop: Stop | None = None) -> Outcome:
    """Run a job from lock to summary. Never raises what the job raises: it is in the outcome.

    A signal stops it; outside of the main thread, which alone hears signals, whoever sets ``stop``.

    Raises:
        AlreadyRunning: the same job runs on the same target.
        SettingUnusable: the data folder or the journal cannot be used.
    """
    sweep()
    journal = Journal.open(order.data_dir)
    try:
        with only_one(order.data_dir, order.command, order.target):
            return _JobRunner(order, journal, listener, stop or Stop()).run_job(job)
    finally:
        journal.close()


class _JobRunner:
    def __init__(self, order: Order, journal: Journal, listener: Listener, stop: Stop) -> None:
        self._order = order
        self._stop = stop
        self._journal = journal
        self._listener = listener
        self._tally = Tally()
        self._lock = threading.Lock()
        self._run_id = ""
        self._step = ""
        self._wait, self._wait_ends = "", 0.0
        self._total: int | None = None
        self._saved = 0.0
        self._error: DataflowsError | None = None

    def run_job(self, job: Job) -> Outcome:
        order, began = self._order, time.monotonic()
        run_id = self._journal.start(
            order.command, order.target, options=order.options, log_file=order.log_file, batch_id=order.batch_id
        )
        self._run_id = run_id
        clock = Clock(self._journal, run_id)
        run = Run(run_id, self._journal, order.data_dir, self._take, self._stop, clock=clock)
        if order.options.get("dry_run"):
            run.report["dry_run"] = True
        with signals(run.stop, self._stopping):
            self._events(run, job)
        if jumped := clock.jumped:
            self._take(_JUMPED)
            run.report["clock_jumped"] = True
        if given := self._tally.warnings:
            run.report[WARNINGS] = [{"message": one.message, "hint": one.hint} for one in given[:_WARNINGS_KEPT]]
        code = self._exit_code()
        state = states.RESUMABLE if self._error is not None and self._error.resumable else _state(code)
        if not order.resumable:
            state = state.replace(states.RESUMABLE, states.FAILED)
        if self._error is not None:
            self._error.hint = about(self._error.hint, run_id if state == states.RESUMABLE else "")
        self._journal.finish(run_id, state, code, self.counts(), self._error, run.report)
        clock.settle()
        if not jumped:
            self._journal.prune(older_than=timedelta(days=order.runs_keep_days))
        seconds = time.monotonic() - began
        return Outcome(
            code, run_id, order.command, state, self.counts(), seconds, run.report, self._error, order.log_file, jumped
        )

    def counts(self) -> dict[str, int]:
        tally = self._tally
        return {"done": tally.done, "failed": tally.failed, "skipped": tally.skipped, "pending": tally.pending}

    def _events(self, run: Run, job: Job) -> None:
        try:
            for event in job(run):
                self._take(event)
            if run.stop.is_set():
                self._error = Interrupted("stopped before it finished", reason="interrupted", hint=RESUME)
        except DataflowsError as error:  # a stop that was asked for outranks it (contract, exit codes)
            besides = Interrupted(
                f"stopped before it finished; also: {error.message}", reason="interrupted", hint=RESUME
            )
            self._error = besides if run.stop.is_set() and not isinstance(error, Interrupted) else error
        except KeyboardInterrupt:
            self._error = Interrupted("stopped at once", reason="interrupted", hint=RESUME)
        except Exception as error:
            log.exception("unexpected %s", type(error).__name__)
            self._error = Bug(
                f"unexpected {type(error).__name__}: this is a bug in dataflows",
                reason="bug",
                hint=f"please report it with the log: {self._order.log_file or 'none was written'}",
            )

    def _take(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event)
            self._notice(event)
            self._listener(event)
            now = time.monotonic()
            if now - self._saved > _SAVE_EVERY_SECONDS or isinstance(event, Waiting):  # no other event may come
                step = self._wait if now < self._wait_ends else self._step
                self._journal.progress(self._run_id, self.counts(), total=self._total, step=step)
                self._saved = now

    def _stopping(self) -> None:
        # from a thread of its own: the signal may have come in the middle of showing another event
        notice = Warned(
            "stopping once the requests under way are answered", reason="stopping", hint="a second Ctrl-C stops at once"
        )
        threading.Thread(target=self._take, args=(notice,), daemon=True).start()

    def _notice(self, event: Event) -> None:
        match event:
            case Planned(total=total):
                self._total = total
            case Step(text=text):
                self._step, self._wait_ends = text, 0.0
            case Waiting(seconds=seconds, why=why):
                self._wait, self._wait_ends = f"waiting {seconds:.0f} s ({why})", time.monotonic() + seconds
            case _:
                pass

    def _exit_code(self) -> ExitCode:
        tally = self._tally
        if self._error is not None:
            return self._error.exit_code
        if tally.failed and not (tally.done or tally.skipped or tally.pending or tally.known):
            return ExitCode.ALL_FAILED  # a failure that was there the night before is no news, so it makes no 4
        return ExitCode.SOME_FAILED if tally.failed or tally.pending else ExitCode.OK


def _state(code: ExitCode) -> str:
    return {
        ExitCode.OK: states.DONE,
        ExitCode.SOME_FAILED: states.PARTIAL,
        ExitCode.SERVICE_DOWN: states.RESUMABLE,
        ExitCode.INTERRUPTED: states.RESUMABLE,
        ExitCode.BUG: states.RESUMABLE,
    }.get(code, states.FAILED)


@contextmanager
def signals(stop: Stop, tell: Callable[[], None]) -> Iterator[None]:
    """Turn the first Ctrl-C, Ctrl-Break or SIGTERM into ``stop``, the second into KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            stop.hurry = True
            raise KeyboardInterrupt
        stop.set()
        tell()

    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before: dict[int, Any] = {getattr(signal, n): signal.signal(getattr(signal, n), on_signal) for n in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
