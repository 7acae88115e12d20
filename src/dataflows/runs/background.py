"""Jobs beside a server, and passes in a loop that ends when it is asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from dataflows.errors import DataflowsError, ExitCode, Interrupted, ServiceDown
from dataflows.events import Event, Step
from dataflows.hints import RESUME
from dataflows.runs.logs import RunLog
from dataflows.runs.pool import Stop
from dataflows.runs.runner import Job, Order, Outcome, Run, run_job, signals

_HOPELESS = (ExitCode.USAGE, ExitCode.SETTINGS)  # what no waiting mends
_TICK = 0.5  # seconds; on Windows a longer wait would keep Ctrl-C from being seen


def watch(
    one_pass: Callable[[], int],
    every: float,
    stopping: Callable[[], None] | None = None,
    *,
    stop: Stop | None = None,
) -> ExitCode:
    """Run passes, ``every`` seconds from beginning to beginning, until a signal comes.

    Args:
        one_pass: does one, and returns its exit code; a signal during a run makes that 130.
        stopping: called when a signal comes between two passes.
        stop: outside of the main thread, which alone hears signals: ends the watch.

    Returns:
        130 when it was stopped; 2 or 10 at once, since waiting does not mend those.
    """
    stop = stop or Stop()
    with signals(stop, stopping or (lambda: None)):
        while True:
            began = time.monotonic()
            code = one_pass()
            if code in _HOPELESS:
                return ExitCode(code)
            if code == ExitCode.INTERRUPTED or _wait(stop, began + every):
                return ExitCode.INTERRUPTED


def _wait(stop: Stop, until: float) -> bool:
    """Wait for the next pass; True when there shall be none."""
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        stop.wait(min(left, _TICK))
    return stop.is_set()


MOST_AT_WORK = 4
"""So many jobs of one command are at work at the same time; others wait for their turn."""
MOST_TAKEN_IN = 64
"""So many jobs are taken in, those that wait included; further ones are refused."""


T = TypeVar("T")

log = logging.getLogger("dataflows.background")


class BackgroundJob:
    """One job in the background. ``begun`` gets its run id, ``ended`` its outcome; what kept it from beginning is
    raised by both.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.stop = Stop()
        self.begun: Future[str] = Future()
        self.ended: Future[Outcome] = Future()
        for future in (self.begun, self.ended):
            future.set_running_or_notify_cancel()  # whoever waits for it and goes away does not cancel it


class Background:
    """Takes in jobs, and stops them all when the process has to end.

    Args:
        on_outcome: is called with every outcome, in the thread of its job.
    """

    def __init__(self, on_outcome: Callable[[Outcome], None] = lambda _: None) -> None:
        self._on_outcome = on_outcome
        self._lock = threading.RLock()  # a signal may come while its own thread holds it
        self._slots: dict[str, threading.BoundedSemaphore] = {}
        self._threads: set[threading.Thread] = set()
        self._works: set[BackgroundJob] = set()
        self._stops: set[Stop] = set()
        self._stopping = False

    # --- jobs -------------------------------------------------------------------------------------------------

    def start(self, order: Order, job: Job, run_log: RunLog) -> BackgroundJob:
        """Take in a job and return at once.

        Raises:
            ServiceDown: there are too many already, or the process is about to end.
        """
        work = BackgroundJob(order)
        with self._lock:
            self._refuse_more()
            self._works.add(work)
            self._stops.add(work.stop)
        self._thread(lambda: self._run(work, job, run_log), order.command, lambda: self._let_go(work))
        return work

    def running(self) -> set[str]:
        """The ids of the runs that are at work here or wait for their turn."""
        with self._lock:
            works = list(self._works)
        return {work.begun.result() for work in works if work.begun.done() and work.begun.exception() is None}

    def _refuse_more(self) -> None:
        if self._stopping:
            raise ServiceDown("the server is stopping", reason="busy", hint="try again when it is back", wait=30.0)
        if len(self._stops) >= MOST_TAKEN_IN:
            raise ServiceDown(
                f"{MOST_TAKEN_IN} jobs are running or waiting",
                reason="busy",
                hint="try again when some have finished",
                wait=30.0,
            )

    def _run(self, work: BackgroundJob, job: Job, run_log: RunLog) -> None:
        order = work.order
        try:
            run_log.attach()
            run_log.log_start(order.command)
            outcome = run_job(order, lambda run: self._in_turn(work, job, run), run_log.log_event, stop=work.stop)
            run_log.log_end(outcome)
            self._report(outcome)
            work.ended.set_result(outcome)
        except BaseException as error:
            self._failed(work, error, run_log)
        finally:
            run_log.detach()
            self._let_go(work)

    def _report(self, outcome: Outcome) -> None:
        try:
            self._on_outcome(outcome)
        except Exception:  # such as a closed stderr: the run has ended as it has, whoever can be told
            log.exception("unexpected error in telling how a run ended")

    def _failed(self, work: BackgroundJob, error: BaseException, run_log: RunLog) -> None:
        for future in (work.begun, work.ended):  # first of all: somebody waits, and the log may be what failed
            if not future.done():
                future.set_exception(error)
        if not isinstance(error, DataflowsError):
            run_log.crash(error)
            return
        with suppress(DataflowsError):
            run_log.log_error(error)

    def _let_go(self, work: BackgroundJob) -> None:
        with self._lock:
            self._works.discard(work)
            self._stops.discard(work.stop)

    def _in_turn(self, work: BackgroundJob, job: Job, run: Run) -> Iterator[Event]:
        work.begun.set_result(run.id)
        slots = self._slots_of(work.order.command)
        if not slots.acquire(blocking=False):
            yield Step("waiting for its turn")
            while not slots.acquire(timeout=_TICK):
                if run.stop.is_set():
                    raise Interrupted("stopped before it started", reason="interrupted", hint=RESUME)
        try:
            if not run.stop.is_set():
                yield from job(run)
        finally:
            slots.release()

    def _slots_of(self, command: str) -> threading.BoundedSemaphore:
        with self._lock:
            return self._slots.setdefault(command, threading.BoundedSemaphore(MOST_AT_WORK))

    # --- what is no run ---------------------------------------------------------------------------------------

    def do(self, task: Callable[[Stop], T], name: str) -> Future[T]:
        """Call something in a thread of its own, such as a loop; it ends by itself or when its stop is set.

        Raises:
            ServiceDown: there is too much at work already, or the process is about to end.
        """
        stop, result = Stop(), Future[T]()
        result.set_running_or_notify_cancel()
        with self._lock:
            self._refuse_more()
            self._stops.add(stop)
        self._thread(lambda: self._called(task, stop, result), name, lambda: self._stops.discard(stop))
        return result

    def _called(self, task: Callable[[Stop], T], stop: Stop, result: Future[T]) -> None:
        try:
            result.set_result(task(stop))
        except DataflowsError as error:
            result.set_exception(error)
        except BaseException as error:
            log.exception("unexpected %s in the background", type(error).__name__)
            result.set_exception(error)
        finally:
            with self._lock:
                self._stops.discard(stop)

    # --- the end ----------------------------------------------------------------------------------------------

    def stop(self, *, hurry: bool = False) -> None:
        """Ask everything to stop. What waits for its turn or is under way becomes resumable."""
        with self._lock:
            self._stopping = True
            stops = list(self._stops)
        for stop in stops:
            stop.hurry = stop.hurry or hurry
            stop.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end of everything, at most so many seconds; returns whether it came."""
        limit = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _thread(self, target: Callable[[], None], name: str, undo: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        # a daemon: the grace is kept by ``join``, and a request that hangs must not keep the process from ending
        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the machine gives us no more threads
            with self._lock:
                self._threads.discard(thread)
                undo()
            raise ServiceDown(
                "the machine is too busy for another job", reason="busy", hint="try again later", wait=30.0
            ) from None
