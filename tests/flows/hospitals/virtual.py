"""The whole job in thought: its decisions, its ledger and its dispatcher are real, the Directory and the clock are not.

Several hosts can be at work at once; every request meets a fate of the test's choosing; any process can be killed at
every request and every commit. What must never happen is checked by the Directory as it happens.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dataflows.errors import BadInput, DataflowsError, ExitCode, ServiceDown
from dataflows.events import Event, Tally
from dataflows.flows.hospitals import directory, dispatch, earlier, job, ledger, plan, uploads
from dataflows.flows.hospitals.batch import Ask, QuestionKind
from dataflows.flows.hospitals.dispatch import Dispatcher
from dataflows.flows.hospitals.earlier import Abandoned
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.flows.hospitals.records import (
    Created,
    CreateOutcome,
    DirectoryRecord,
    HospitalRefused,
    Inventory,
    NotSent,
    Unknown,
)
from dataflows.flows.hospitals.rows import (
    COMMAND,
    NEVER,
    FileContent,
    Hospital,
    HospitalRow,
    directory_address,
    portions,
)
from dataflows.flows.hospitals.workers import Answered, RequestFailure, RequestWorker
from dataflows.runs import journal as states
from dataflows.runs import pool
from dataflows.runs.journal import Journal, RunRecord
from dataflows.runs.pool import Stop, TryLater
from dataflows.runs.runner import Listener, Run
from dataflows.settings import Settings

ADDRESS = "https://directory.example.org"
SETTLE, LATENCY, PATIENCE = 30.0, 5.0, 8.0
QUICK, SLOW = 0.05, 6.0

CREATES = {
    "lost": "it lands, and the answer does not come",
    "dropped": "it never lands, and no answer comes",
    "late": "it lands after it was given up",
    "latest": "it lands just before it is as old as the settle time",
    "not_sent": "no connection",
    "limited": "429",
    "error": "500, and nothing is done",
    "lying_error": "500, and it lands all the same",
    "slow": "answered after 20 s",
    "too_late": "it lands when it is older than the settle time",
    "restart": "the Directory loses its memory first",
}
LOOKS = {"dropped": "no answer, whatever is tried", "slow": "answered late", "restart": "as above"}
OTHERS = {"lost": "done, no answer", "dropped": "not done", "error": "500", "late": "done 6 s later", "restart": "..."}
FATES = sorted({*CREATES, *LOOKS, *OTHERS})


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Fuse:
    """Ends the process at its n-th step; a step is anything that outlives it (a commit, a request)."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps
        self.burnt = False

    def step(self) -> None:
        """Take one step, unless the process is dead by now."""
        if self.left is not None and not self.burnt:
            self.left -= 1
            self.burnt = self.left < 0
        if self.burnt:
            raise Killed


class FusedJournal(Journal):
    """A journal in memory whose process may die before and after every commit."""

    fuse = Fuse()

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """As the journal does it."""
        self.fuse.step()
        with super().transaction() as db:
            yield db
        self.fuse.step()


def _journal() -> FusedJournal:
    journal = FusedJournal.in_memory()
    assert isinstance(journal, FusedJournal)
    return journal


@dataclass(frozen=True)
class Pause:
    """An event that is none: the process waits until that second."""

    until: float


@dataclass(eq=False)
class Kept:
    """One record at the Directory."""

    number: int
    batch_id: str | None
    hospital: Hospital
    active: bool = False


@dataclass(eq=False)
class Landing:
    """A create that is on its way into the Directory's memory."""

    batch_id: str
    hospital: Hospital
    host: str
    life: int
    given_up: float = float("inf")
    number: int | None = None
    over: bool = False


@dataclass
class Far:
    """The Directory, and the time. ``alone``: one host at work, so that even one copy too many is wrong."""

    cap: int = 20
    alone: bool = True
    now: float = 1_000.0
    refuses: frozenset[Hospital] = frozenset()
    held: Counter[Hospital] = field(default_factory=Counter)
    """How often the file that holds a text most holds it, of all files since the Directory's memory began."""
    present: Counter[Hospital] = field(default_factory=Counter)
    """What the file that is at work now holds."""

    def __post_init__(self) -> None:
        self.agains: Counter[Hospital] = Counter()
        """What was to be created all the same."""
        self.done: Counter[Hospital] = Counter()
        """What has to be live, since a run that was to bring it there ended well."""
        self.same_id = False
        self.posted: defaultdict[str, set[Hospital]] = defaultdict(set)
        self.records: dict[int, Kept] = {}
        self.landings: list[Landing] = []
        self.foreign: set[int] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._arrived = self._last = 0
        self.life = 0
        self.history: list[tuple[float, str, str]] = []

    # --- time -------------------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen at that second."""
        self._order += 1
        heapq.heappush(self._events, (when, self._order, what))

    def go_on(self, until: float) -> None:
        """Let time go by until that second."""
        while self._events and self._events[0][0] <= until:
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)
            what()
        self.now = max(self.now, until)

    def log(self, who: str, what: str) -> None:
        """Remember what happened, for whoever reads a failure."""
        self.history.append((round(self.now, 2), who, what))

    # --- what it does -----------------------------------------------------------------------------------------

    def restart(self) -> None:
        """Lose everything, and what is on its way; ids begin at 1 again."""
        self.log("directory", "restart")
        self.records.clear()
        self.foreign.clear()
        self.posted.clear()
        self.held = Counter(self.present)
        self.agains, self.done = Counter(), Counter()
        self.life += 1
        self._last = 0

    def add(self, batch_id: str | None, hospital: Hospital, *, active: bool = False) -> int:
        """Store a record; returns its id, which can be that of the one before."""
        self._arrived += 1
        self._last += not (self.same_id and self._last)
        self.same_id = False
        self.records[self._arrived] = Kept(self._last, batch_id, hospital, active)
        self.log("directory", f"record {self._last} lands: {hospital.name} in {str(batch_id)[:4]}")
        return self._last

    def land(self, landing: Landing) -> None:
        """A create arrives in the memory, if that is still the one it was sent to."""
        if not landing.over and landing.life == self.life:
            landing.number = self.add(landing.batch_id, landing.hospital)
        landing.over = True

    def plant(self, batch_id: str) -> None:
        """Somebody else writes into a batch."""
        self.add(batch_id, Hospital("Foreign Clinic", "1 Other Road, Exampleton", None))
        self.foreign.add(self._arrived)

    def another_tool_creates(self, hospital: Hospital) -> None:
        """Somebody else brings a hospital there, without a batch."""
        self.add(None, hospital, active=True)
        self.foreign.add(self._arrived)
        self.held[hospital] = max(self.held[hospital], self.live()[hospital])

    def somebody_deletes(self, hospital: Hospital) -> None:
        """Somebody removes one live hospital."""
        found = next((key for key, one in self.records.items() if one.active and one.hospital == hospital), None)
        if found is not None:
            self.log("somebody", f"deletes {hospital.name}")
            del self.records[found]
            self.foreign.discard(found)
            self.done[hospital] = min(self.done[hospital], self.live()[hospital])

    @property
    def most(self) -> Counter[Hospital]:
        """How often each hospital may be live."""
        return self.held + self.agains

    def holds(self, batch_id: str) -> list[Kept]:
        """The records of a batch."""
        return [one for one in self.records.values() if one.batch_id == batch_id]

    def live(self) -> Counter[Hospital]:
        """What is active."""
        return Counter(one.hospital for one in self.records.values() if one.active)

    def expects(self, batch_id: str, hospital: Hospital) -> None:
        """Check that a create which arrives now cannot make one copy too many."""
        self.posted[batch_id].add(hospital)
        if not self.alone:
            return
        here = [one for one in self.holds(batch_id) if one.hospital == hospital]
        assert not any(one.active for one in self.holds(batch_id)), "a create into a batch that is active"
        coming = sum(
            one.batch_id == batch_id and one.hospital == hospital and one.life == self.life and not one.over
            for one in self.landings
        )
        there = self.live()[hospital]
        assert there + len(here) + coming < self.most[hospital], "a create that makes one copy too many"

    def activate(self, batch_id: str) -> int:
        """Activate a batch; returns the status."""
        held = self.holds(batch_id)
        self.log("directory", f"activation of {batch_id[:4]} ({len(held)} records)")
        if not held or any(one.active for one in held):
            return 400 if held else 404
        live = self.live()
        for hospital in self.posted[batch_id] - {one.hospital for one in held}:
            assert live[hospital] or hospital in self.refuses, "a batch is activated that lacks a row"
        for one in held:
            one.active = True
        if self.alone:
            more = Counter({h: n for h, n in self.live().items() if self._is_ours(h)}) - self.most
            assert not more, f"a batch is activated that makes a hospital live too often: {sorted(more)}"
        return 200

    def _is_ours(self, hospital: Hospital) -> bool:
        return not any(self.records[key].hospital == hospital for key in self.foreign if key in self.records)

    def delete(self, number: int) -> int:
        """Delete the first record with an id; returns the status."""
        key = next((key for key, one in self.records.items() if one.number == number), None)
        if key is None:
            return 404
        gone = self.records[key]
        self.log("directory", f"record {number} is deleted: {gone.hospital.name} in {str(gone.batch_id)[:4]}")
        assert key not in self.foreign, "somebody else's record is deleted"
        assert not gone.active or not self.alone, "a live hospital is deleted"
        del self.records[key]
        return 204

    def delete_batch(self, batch_id: str) -> int:
        """Delete all records of a batch; returns the status."""
        held = self.holds(batch_id)
        assert not any(one.active for one in held) or not self.alone, "live hospitals are deleted with their batch"
        assert not any(key in self.foreign for key, one in self.records.items() if one.batch_id == batch_id)
        self.log("directory", f"{len(held)} records of {batch_id[:4]} are deleted")
        self.records = {key: one for key, one in self.records.items() if one.batch_id != batch_id}
        return 200 if held else 404


class Line:
    """One host's way to the Directory. ``luck``: what becomes of the next requests; then all go well."""

    def __init__(self, far: Far, host: Host) -> None:
        self.far = far
        self.host = host
        self._listed: list[DirectoryRecord] = []

    def _fate(self, known: Iterable[str]) -> str:
        self.host.fuse.step()
        fate = self.host.luck.pop(0) if self.host.luck else "ok"
        fate = fate if fate in known else "ok"
        if fate == "restart":
            self.far.restart()
        return fate

    # --- in no time: what is asked outside of the dispatcher -----------------------------------------------------

    def wake(self, *_: object) -> None:
        """It is always awake here."""

    def look(self, batch_id: str) -> list[DirectoryRecord]:
        """The records of a batch."""
        if self._fate(LOOKS) == "dropped":
            raise ServiceDown("no answer", reason="test", hint="")
        return self.snapshot(batch_id)

    def list_all(self) -> Inventory:
        """Everything."""
        if self._fate(LOOKS) == "dropped":
            raise ServiceDown("no answer", reason="test", hint="")
        return Inventory(self.everything(), self.far.now)

    def everything(self) -> list[DirectoryRecord]:
        """What is there now, of all batches."""
        held = list(self.far.records.values())
        self.far.log(self.host.name, f"lists {[(one.number, str(one.batch_id)[:4], one.active) for one in held]}")
        self._listed = [DirectoryRecord(one.number, one.hospital, one.active, one.batch_id) for one in held]
        return self._listed

    def delete_batch(self, batch_id: str) -> int | None:
        """Delete a batch."""
        fate = self._fate(OTHERS)
        done = self.far.delete_batch(batch_id) if fate not in ("dropped", "error") else None
        return done if fate in ("ok", "restart") else None

    def snapshot(self, batch_id: str) -> list[DirectoryRecord]:
        """What is there now."""
        held = [DirectoryRecord(one.number, one.hospital, one.active) for one in self.far.holds(batch_id)]
        self.far.log(self.host.name, f"looks at {batch_id[:4]}: {[(one.id, one.active) for one in held]}")
        return held

    # --- in its time: what the dispatcher asks ---------------------------------------------------------------------

    def begin(self, ask: Ask) -> tuple[float, Callable[[], Answered]]:
        """Send a request: when it ends, and what its answer is then."""
        started = self.far.now
        ends, answer = self._create(ask) if ask.kind is QuestionKind.CREATE else self._single(ask)
        return ends, lambda: Answered(ask, answer(), started, self.far.now)

    def _create(self, ask: Ask) -> tuple[float, Callable[[], CreateOutcome]]:
        far, batch_id, hospital = self.far, ask.batch.batch_id, ask.batch.entries[ask.place].row.hospital
        ask.left = True
        fate = self._fate(CREATES)
        far.log(self.host.name, f"creates {hospital.name} in {batch_id[:4]}: {fate}")
        known: dict[str, CreateOutcome] = {
            "not_sent": NotSent("not_reached", error=ServiceDown("not reached", reason="test", hint="", sent=False)),
            "limited": NotSent("rate_limit", limited=True),
        }
        if fate in known:
            return far.now + QUICK, lambda: known[fate]
        if hospital in far.refuses:
            return far.now + QUICK, lambda: HospitalRefused("refused")
        if len(far.holds(batch_id)) >= far.cap:
            return far.now + QUICK, lambda: Unknown("batch_full", lasting=False)
        far.expects(batch_id, hospital)
        return self._sent(fate, Landing(batch_id, hospital, self.host.name, far.life))

    def _sent(self, fate: str, landing: Landing) -> tuple[float, Callable[[], CreateOutcome]]:
        far, now = self.far, self.far.now
        latency = 20.0 if fate == "slow" else LATENCY
        ends = now + (latency if fate in ("ok", "slow", "restart") else QUICK if "error" in fate else PATIENCE)
        lands = {
            "lost": now + LATENCY,
            "late": ends + 2,
            "latest": ends + SETTLE - 1,
            "too_late": ends + 2 * SETTLE,
            "lying_error": ends + LATENCY,
        }.get(fate, now + latency - 0.01)
        if fate not in ("dropped", "error"):
            landing.given_up = ends
            far.landings.append(landing)
            far.at(lands, lambda: far.land(landing))
        if fate not in ("ok", "slow", "restart"):
            return ends, lambda: Unknown("no_answer", error=ServiceDown("no answer", reason="test", hint=""))
        return ends, lambda: Created(landing.number, latency) if landing.number is not None else Unknown("answered_502")

    def _single(self, ask: Ask) -> tuple[float, Callable[[], Any]]:
        far, batch_id = self.far, ask.batch.batch_id
        if ask.kind in (QuestionKind.LOOK, QuestionKind.LIST):
            return self._look_in_time(None if ask.kind is QuestionKind.LIST else batch_id)
        fate = self._fate(OTHERS)
        far.log(self.host.name, f"{ask.kind} {batch_id[:4]} {ask.record_id}: {fate}")
        if ask.kind is QuestionKind.DELETE:
            seen = [(one.batch_id, one.active) for one in self._listed if one.id == ask.record_id]
            assert seen == [(batch_id, False)], (
                "an id is deleted that was not just seen, once, in our batch, not active"
            )
        done: Callable[[], int] = {
            QuestionKind.ACTIVATE: partial(far.activate, batch_id),
            QuestionKind.DELETE: partial(far.delete, ask.record_id),
            QuestionKind.DELETE_BATCH: partial(far.delete_batch, batch_id),
        }[ask.kind]
        status: list[int] = []
        life = far.life
        if fate not in ("dropped", "error"):
            far.at(
                far.now + (6.0 if fate == "late" else QUICK / 2),
                lambda: status.append(done()) if far.life == life else None,
            )
        if fate == "error":
            return far.now + QUICK, lambda: 500
        if fate in ("ok", "restart"):
            return far.now + QUICK, lambda: status[0] if status else None
        return far.now + (PATIENCE if fate != "late" else 1.0), lambda: None

    def _look_in_time(self, batch_id: str | None) -> tuple[float, Callable[[], Any]]:
        far, fate, started = self.far, self._fate(LOOKS), self.far.now
        if fate == "dropped":
            return far.now + PATIENCE, lambda: RequestFailure(ServiceDown("no answer", reason="test", hint=""))
        seconds = SLOW if fate == "slow" else QUICK
        answer: list[Any] = []

        def look() -> None:
            answer.append(Inventory(self.everything(), started) if batch_id is None else self.snapshot(batch_id))

        far.at(far.now + seconds / 2, look)
        return far.now + seconds, lambda: answer[0]


class _Stop(Stop):
    """A stop whose waits are over as soon as they begin."""

    def __init__(self, far: Far) -> None:
        super().__init__()
        self._far = far

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time go by."""
        if not self.is_set():
            self._far.go_on(self._far.now + (timeout or 0.0))
        return self.is_set()


class _Copies:
    """The kept copies of one host, in memory."""

    kept: ClassVar[dict[str, dict[str, FileContent]]] = {}

    def __init__(self, data_dir: Path) -> None:
        self._mine = self.kept.setdefault(data_dir.name, {})

    def has(self, key: str) -> bool:
        return key in self._mine

    def keep(self, content: FileContent) -> None:
        self._mine[content.key] = content

    def read(self, key: str) -> FileContent:
        if key not in self._mine:
            raise BadInput("gone", reason="test", hint="")
        return self._mine[key]

    def sweep(self, wanted: set[str]) -> None:
        pass


@dataclass
class Ended:
    """How a process ended; ``code`` is None when it was killed."""

    code: ExitCode | None
    run_id: str
    tally: Tally
    error: DataflowsError | None = None
    report: dict[str, Any] = field(default_factory=dict)


class Host:
    """One machine: a journal, kept copies, and at most one process at a time."""

    hosts: ClassVar[dict[str, Host]] = {}

    def __init__(self, name: str, far: Far) -> None:
        self.name = name
        self.far = far
        self.journal = _journal()
        self.fuse = Fuse()
        self.luck: list[str] = []
        self.stop = _Stop(far)
        self.running: set[str] = set()
        self.hosts[name] = self
        _Copies.kept[name] = {}
        self.settings = Settings(
            data_dir=Path(name), external_api_base_url=ADDRESS, hospitals_creates_per_minute=0, http_attempts=1
        )

    def lose_journal(self, *, copies: bool = False) -> None:
        """Forget every run, and if need be what was kept of them too."""
        self.journal = _journal()
        if copies:
            _Copies.kept[self.name].clear()

    def resumable(self) -> list[RunRecord]:
        """The runs that wait to be resumed, latest first; those too whose process died."""
        self.journal.fuse = Fuse()  # it is another process that looks
        for record in self.journal.runs(state="running"):
            if record.target not in self.running:
                self.journal.set_state(record.run_id, states.RESUMABLE)
        return self.journal.runs(state="resumable")

    # --- processes --------------------------------------------------------------------------------------------

    def begin(self, steps: int | None = None, luck: Iterable[str] = ()) -> None:
        """Make ready for a new process, which dies after so many steps."""
        self.fuse = self.journal.fuse = Fuse(steps)
        self.luck = list(luck)
        self.stop = _Stop(self.far)

    def upload(
        self, rows: list[HospitalRow], size: int, path: str = "file.csv", address: str = ADDRESS, **options: Any
    ) -> Iterator[Pause | Ended]:
        """The command, as a process that yields whenever it waits, and at last how it ended."""
        content = FileContent(directory_address(address), size, rows, [], 0)
        return self._process(job.Options(path, size, **options), content)

    def resume(self, record: RunRecord) -> Iterator[Pause | Ended]:
        """``runs resume``, likewise."""
        return self._process(*job.options_from_json(record.options, self.settings))

    def rows_of(self, record: RunRecord) -> list[HospitalRow]:
        """The rows that an earlier run carried."""
        return job.options_from_json(record.options, self.settings)[1].rows

    def abandon(self, record: RunRecord) -> Abandoned:
        """``runs abandon``, in one go."""
        return earlier.abandon(self.settings, self.journal, record, lambda _: None, delete_active=False)

    def _process(self, options: job.Options, content: FileContent) -> Iterator[Pause | Ended]:
        self.far.log(self.name, f"begins; dies after {self.fuse.left}")
        target = job.target(content, again=options.again)
        tally, error, run_id = Tally(), None, ""
        self.running = {target}
        try:
            events = job.upload(self.settings, options, content)
            run_id = self.journal.start(COMMAND, target, options=job.options_to_json(options, content))
            run = Run(run_id, self.journal, Path(self.name), lambda _: None, stop=self.stop)
            try:
                for event in events(run):
                    if isinstance(event, Pause):
                        yield event
                    else:
                        tally.add(event)
            except DataflowsError as caught:
                error = caught
            code = self._finish(run_id, tally, error)
            yield Ended(code, run_id, tally, error, run.report)
        except Killed:
            self.far.log(self.name, "is killed")
            self._hurry_landings()
            yield Ended(None, run_id, tally)
        finally:
            self.running = set()

    def _finish(self, run_id: str, tally: Tally, error: DataflowsError | None) -> ExitCode:
        code = error.exit_code if error else ExitCode.SOME_FAILED if tally.failed or tally.pending else ExitCode.OK
        if self.stop.is_set():
            code = ExitCode.INTERRUPTED
        later = (error is not None and error.resumable) or code in (ExitCode.SERVICE_DOWN, ExitCode.INTERRUPTED)
        ended = {ExitCode.OK: states.DONE, ExitCode.SOME_FAILED: states.PARTIAL}.get(code, states.FAILED)
        self.journal.finish(run_id, states.RESUMABLE if later else ended, code, {}, error)
        self.far.log(self.name, f"ends with {code}: {error.message if error else ''}")
        return code

    def _hurry_landings(self) -> None:
        """What was under way lands within the settle time of its client's death, or this would be no fair test."""
        for one in self.far.landings:
            if one.host == self.name and one.given_up > self.far.now and not one.over and self.far.alone:
                self.far.at(self.far.now + SETTLE - 1, partial(self.far.land, one))


def play(far: Far, *processes: Iterator[Pause | Ended]) -> list[Ended]:
    """Let processes run side by side to their ends."""
    ended: list[Ended | None] = [None] * len(processes)
    wakes = [(far.now, number) for number in range(len(processes))]
    for _ in range(20_000):
        if not wakes:
            return [one for one in ended if one is not None]
        until, number = heapq.heappop(wakes)
        far.go_on(until)
        said = next(processes[number])
        if isinstance(said, Ended):
            ended[number] = said
            processes[number].close()  # type: ignore[attr-defined]
        else:
            heapq.heappush(wakes, (said.until, number))
    raise AssertionError("no end")


# --- the pool, with a clock that is only thought of ------------------------------------------------------


def _each(work: Any, items: Iterable[Any], *, workers: int, stop: Any, grace: float = 30.0) -> Iterator[Any]:
    worker = getattr(work, "__self__", None)
    if not isinstance(worker, RequestWorker):
        yield from (work(item) for item in items)
        return
    yield from _Crew(worker, workers, stop).run(items)


class _Crew:
    def __init__(self, worker: RequestWorker, workers: int, stop: Any) -> None:
        line: Any = worker.directory
        self._line: Line = line
        self._far: Far = self._line.far
        self._worker = worker
        self._workers = workers
        self._stop = stop
        self._waiting: list[Ask] = []
        self._flight: list[tuple[float, int, Callable[[], Answered]]] = []
        self._order = 0

    def run(self, items: Iterable[Any]) -> Iterator[Any]:
        source, far = iter(items), self._far
        while not self._stop.is_set():
            yield from self._finished()
            if len(self._waiting) + len(self._flight) >= 2 * self._workers:
                yield Pause(self._flight[0][0])
                continue
            item = next(source, None)
            if item is None:
                break
            if isinstance(item, TryLater):
                yield Pause(min([far.now + item.seconds, *(one[0] for one in self._flight)]))
            else:
                self._waiting.append(item)
                self._set_out()
        while self._flight:
            yield Pause(self._flight[0][0])
            yield from self._finished()

    def _set_out(self) -> None:
        while self._waiting and len(self._flight) < self._workers and not self._stop.is_set():
            self._order += 1
            ends, answer = self._line.begin(self._waiting.pop(0))
            heapq.heappush(self._flight, (ends, self._order, answer))

    def _finished(self) -> Iterator[Answered]:
        while self._flight and self._flight[0][0] <= self._far.now:
            answer = heapq.heappop(self._flight)[2]
            self._line.host.fuse.step()
            yield answer()
            self._set_out()


def _taking(take: Callable[[Dispatcher, Answered], Iterator[Event]]) -> Callable[[Dispatcher, Any], Iterator[Any]]:
    def taking(self: Dispatcher, answered: Any) -> Iterator[Any]:
        yield from [answered] if isinstance(answered, Pause) else take(self, answered)

    return taking


def rig(patch: pytest.MonkeyPatch) -> None:
    """Put clock, Directory, pool, locks and copies into the job's hands."""
    clock = SimpleNamespace(monotonic=lambda: _far().now, time=lambda: _far().now)
    for module in (job, plan, ledger, dispatch, earlier, uploads):
        patch.setattr(module, "time", clock)
    for module in (job, uploads):
        patch.setattr(module, "CopyFolder", _Copies)
    patch.setattr(directory, "DirectoryApi", lambda _address, session, _policy: session.line)
    patch.setattr(directory, "make_session", _session)
    patch.setattr(pool, "each", _each)
    patch.setattr(Dispatcher, "take", _taking(Dispatcher.take))
    for module in (ledger, uploads):
        patch.setattr(module, "is_running", lambda data_dir, _, target: target in Host.hosts[data_dir.name].running)
    patch.setattr(earlier, "Run", _run)
    patch.setattr(earlier, "only_one", lambda *_: nullcontext())


def _far() -> Far:
    return next(iter(Host.hosts.values())).far


def _run(run_id: str, journal: Journal, data_dir: Path, notify: Listener, _stop: object = None) -> Run:
    return Run(run_id, journal, data_dir, notify, stop=_Stop(_far()))


def _session(settings: Settings, _workers: int, *_: object) -> SimpleNamespace:
    host = Host.hosts[settings.data_dir.name]
    return SimpleNamespace(line=Line(host.far, host), close=lambda: None)


# --- what the Directory should hold ----------------------------------------------------------------------------------


def wanted(rows: list[HospitalRow], size: int, occurrence: int = 0) -> dict[str, Counter[Hospital]]:
    """What the batches of a file are to hold."""
    return {
        part.batch_id: Counter(row.hospital for row in part.rows) for part in portions(ADDRESS, rows, size, occurrence)
    }


def file_of(rows: Iterable[HospitalRow]) -> Counter[Hospital]:
    """How often a file holds each hospital."""
    return Counter(row.hospital for row in rows)


def disagreement(far: Far, rows: list[HospitalRow], *, inactive: bool = True) -> str:
    """What is wrong with a file's rows at the Directory; nothing should be."""
    live, should = far.live(), Counter({h: n for h, n in file_of(rows).items() if h not in far.refuses})
    live = Counter({hospital: count for hospital, count in live.items() if hospital in should})
    if live != should:
        return f"live: {sorted(live.elements())}, in the file: {sorted(should.elements())}"
    left = sum(not one.active and one.hospital in should for one in far.records.values())
    return f"{left} records are left inactive" if left and inactive else ""


__all__ = ["NEVER", "BatchStore", "Ended", "Far", "Host", "disagreement", "file_of", "play", "rig", "wanted"]
