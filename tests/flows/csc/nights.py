"""Nights of the program in one process: the real job, journal and table, and the sandbox as receiver over loopback.

Cheap enough for thousands: no command line, engines that stay warm, a data folder in memory where there is one. A
night can be killed before any of its commits, in journal, table or receiver.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.flows.csc import job
from dataflows.flows.csc.table import staging_table
from dataflows.runs import gc_tuning
from dataflows.runs.journal import Journal
from dataflows.runs.runner import Order, Outcome, run_job
from dataflows.sandbox.receiver import ChildKey
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Answer
from dataflows.settings import Settings
from dataflows.store import database
from tests.flows.csc.judge import Night

Object = dict[str, Any]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Fuse:
    """Ends the process before its n-th step; a step is anything that outlives it (a commit, a request)."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps
        self.burnt = False
        self._lock = threading.Lock()

    def count(self) -> bool:
        """Take a step, in whichever thread, and tell whether the process is still there to take it."""
        with self._lock:
            if self.left is not None and not self.burnt:
                self.left -= 1
                self.burnt = self.left < 0
            return not self.burnt

    def step(self) -> None:
        """Take a step of the program, or end it."""
        if not self.count():
            raise Killed


@dataclass
class Plan:
    """How a night goes: what the receiver does wrong, when it is killed, what the loader does meanwhile, the clock."""

    faults: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    meanwhile: Callable[[], Any] | None = None
    days_ahead: float = 0.0

    @property
    def disturbed(self) -> bool:
        """Whether anything may be left undone."""
        return bool(self.faults) or self.steps is not None or self.meanwhile is not None


class Service:
    """Runs nights against one sandbox. A context manager; everything it changes in the process ends with it."""

    def __init__(self) -> None:
        self.box = Sandbox(seed=1)
        self.wrong: list[str] = []
        self._night: Night | None = None
        self._la_code = ""
        self._meanwhile: Callable[[], Any] | None = None
        self._fuse = Fuse()
        self._loader = threading.local()  # at work in this thread
        self._closing = ExitStack()

    def __enter__(self) -> Service:
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        with ExitStack() as closing:
            self.folder = Path(closing.enter_context(tempfile.TemporaryDirectory(dir=base)))
            closing.enter_context(self.box)
            patch = closing.enter_context(pytest.MonkeyPatch.context())
            engines = _Engines()
            closing.callback(engines.close)
            _everywhere(patch, database.connect, engines.connect)
            patch.setattr(Journal, "transaction", self._stepping(Journal.transaction))
            sa.event.listen(sa.Engine, "commit", self._before_commit)
            closing.callback(sa.event.remove, sa.Engine, "commit", self._before_commit)
            # else every night would have statements of its own to compile
            _everywhere(patch, staging_table, cache(staging_table))
            _everywhere(patch, gc_tuning.sweep, lambda: None)  # it looks at all of the test tools, every eighth night
            gc.freeze()
            closing.callback(gc.unfreeze)
            self._commit = self.box.receiver._committed
            patch.setattr(self.box.receiver, "_committed", self._committed)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def url(self, name: str) -> str:
        """The address of a database of this service."""
        return f"sqlite:///{self.folder / name}.db"

    def held(self, la_code: str) -> dict[str, Any]:
        """What the receiver holds of an authority, by la_child_id."""
        return {name: child for (la, name), child in self.box.receiver.children.items() if la == la_code}

    def sent_before(self, la_code: str, payload: Object) -> str:
        """Another tool sends a child; returns its receipt."""
        self._commit(la_code, [payload])
        return str(self.box.receiver.receipt(payload["la_child_id"], la_code))

    def run(
        self, settings: Settings, options: job.Options, night: Night, plan: Plan, rows: Callable[[], Sequence[Any]]
    ) -> Outcome | DataflowsError | None:
        """Run the program once; None when it was killed, an error when it did not even start."""
        self._night, self._meanwhile, self._rows = night, plan.meanwhile, rows
        self._fuse = Fuse(plan.steps)
        before = set(threading.enumerate())
        self._la_code = str(settings.la_code)
        if plan.faults:
            self.box.receiver.faults.set(**plan.faults)
        try:
            with _clock(plan.days_ahead):
                order = Order("csc-submit", job.target(settings), {}, settings.data_dir)
                return run_job(order, job.submit(settings, options), lambda _: None)
        except Killed:
            _join(set(threading.enumerate()) - before)
            return None
        except DataflowsError as error:
            return error
        finally:
            self._night, self._fuse = None, Fuse()
            if plan.faults:
                self.box.receiver.faults.clear()

    # --- what the program's commits and requests meet ------------------------------------------------------------

    def _stepping(self, method: Callable[[Journal], Any]) -> Callable[[Journal], Any]:
        @contextmanager
        def transaction(journal: Journal) -> Iterator[Any]:
            self._fuse.step()
            with method(journal) as db:
                yield db
                self._fuse.step()  # rolled back

        return transaction

    def _before_commit(self, _: sa.Connection) -> None:
        if not getattr(self._loader, "at_work", False):
            self._fuse.step()

    def _committed(self, la_code: str, records: list[Object]) -> Answer:
        night = self._night
        if night is None or not self._fuse.count():
            return Answer(503)
        if la_code != self._la_code:
            self.wrong.append("a request for another authority")
        if wrong := night.arrives(records):
            self.wrong.append(wrong)
        answer = self._commit(la_code, records)
        night.accepted(records, _receipts(answer, len(records)), self.held(la_code))
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            self._loader.at_work = True
            meanwhile()
            self._loader.at_work = False
            night.loader_acted(self._rows())
        return answer

    def stored(self) -> dict[ChildKey, Any]:
        """Everything that the receiver holds."""
        return self.box.receiver.children


def _receipts(answer: Answer, count: int) -> list[str]:
    """What an answer acknowledges, record by record; nothing where it is not well-formed."""
    try:
        told = json.loads(answer.body)
    except ValueError:
        return []
    if isinstance(told, str):
        return [told] * count
    return told if isinstance(told, list) and len(told) == count and all(isinstance(one, str) for one in told) else []


def _join(threads: set[threading.Thread]) -> None:
    """Wait for what the killed program left running; not for the sandbox, which waits for its clients."""
    for thread in threads:
        if "process_request" not in thread.name:
            thread.join(5)


class _Engines:
    """One engine for each database and way to open it: what SQLAlchemy compiled stays with it.

    Not one made ready again and again: each time adds listeners, and they would all be called for every connection.
    """

    def __init__(self) -> None:
        self._connect = database.connect
        self._engines: dict[tuple[object, ...], sa.Engine] = {}

    def connect(self, setting: Any, **ways: Any) -> sa.Engine:
        url = setting if isinstance(setting, str) else setting.reveal()
        key = (url, *sorted(ways.items()))
        if key not in self._engines:
            engine = self._engines[key] = self._connect(url, **ways)
            sa.event.listen(engine, "connect", _in_haste)
        return self._engines[key]

    def close(self) -> None:
        for engine in self._engines.values():
            engine.dispose()


def _everywhere(patch: pytest.MonkeyPatch, function: Any, other: Any) -> None:
    """Put another function in the place of one, in every module that took it over by its name."""
    own: str = function.__name__
    for name, module in list(sys.modules.items()):
        if name.startswith(("dataflows.", "tests.")) and getattr(module, own, None) is function:
            patch.setattr(module, own, other)


def _in_haste(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")  # these processes end, the machine does not


@contextmanager
def _clock(days_ahead: float) -> Iterator[None]:
    """Let the program's clock be ahead by so many days."""
    if not days_ahead:
        yield
        return

    class Likewise(type):
        def __instancecheck__(cls, one: object) -> bool:
            return isinstance(one, datetime)

    class Ahead(datetime, metaclass=Likewise):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=days_ahead)

    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            ours = name.startswith("dataflows.") and not name.startswith("dataflows.sandbox")
            if ours and getattr(module, "datetime", None) is datetime:
                patch.setattr(module, "datetime", Ahead)
        yield
