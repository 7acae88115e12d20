"""One pass of an import into the practice database: open, lock, newest tables, work, mail, events, end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.events import Event, Step, Warned
from dataflows.flows.practice.notices import Message, Notice, mailed, post, published, require_kafka
from dataflows.runs.flow import UNANSWERED_IN_A_ROW, options_from_json, options_to_json
from dataflows.runs.runner import Job, Run
from dataflows.store.practice.database import is_missing, lock_for, open_engine, target, translated
from dataflows.store.practice.migrate import is_current, migrate

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = [
    "UNANSWERED_IN_A_ROW",
    "ImportPass",
    "Job",
    "Notice",
    "options_from_json",
    "options_to_json",
    "target",
]


class _Options(Protocol):
    @property
    def dry_run(self) -> bool: ...


OptionsT = TypeVar("OptionsT", bound=_Options)


class ImportPass(ABC, Generic[OptionsT]):
    """What the passes of both imports have in common; a flow fills in what is its own."""

    command: ClassVar[str]
    topic: ClassVar[str]
    """Where its events are published."""
    rehearses_alone: ClassVar[bool] = False
    """Whether a rehearsal, too, may not run beside another pass."""

    def __init__(self, settings: Settings, options: OptionsT, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.run = run
        self.stopped: DataflowsError | None = None

    @classmethod
    def job(cls, settings: Settings, options: OptionsT) -> Job:
        """The pass as the runner wants it."""
        return lambda run: cls(settings, options, run).events()

    @abstractmethod
    def prepare(self, engine: sa.Engine, may_write: Callable[[], None]) -> None:
        """Set up what reads and writes; the tables are there. ``may_write`` raises when the lock is held no longer."""

    @abstractmethod
    def work(self) -> Iterator[Event]:
        """Do the import. What it raises ends the pass, after the mail and the events about what was done."""

    @abstractmethod
    def news(self) -> Notice | None:
        """What the operator is to be told by mail."""

    @abstractmethod
    def fill_report(self) -> None:
        """Bring the report of the run up to date."""

    def rehearse(self) -> Iterator[Event]:
        """Do the same with what ``prepare`` has set up to take everything back."""
        yield from self.work()

    def remarks(self) -> Iterator[Event]:
        """What is said once the work is done."""
        yield from ()

    def post(self, message: Message) -> bool:
        """Mail something at once; returns whether it is on its way, or kept."""
        return post(self.settings, self.run, message).is_safe

    def end(self) -> None:
        """Raise what ended the pass early."""
        if self.stopped is not None:
            raise self.stopped

    def events(self) -> Iterator[Event]:
        """Run the pass."""
        self.fill_report()
        require_kafka(self.settings)
        yield Step("opening the practice database")
        engine = self._engine()
        try:
            yield from self._rehearse(engine) if self.options.dry_run else self._import(engine)
        finally:
            engine.dispose()  # Windows deletes and moves no file that is open
            self.fill_report()
        self.end()

    def _engine(self) -> sa.Engine:
        if self.options.dry_run and is_missing(self.settings):
            return nowhere()
        return open_engine(self.settings)

    def _import(self, engine: sa.Engine) -> Iterator[Event]:
        with lock_for(engine, self.command) as lock:
            with translated():
                migrate(engine)
            self.prepare(engine, lock.check)
            for step in (
                self.work(),
                self.remarks(),
                mailed(self.settings, self.run, self.news),
                published(self.settings, self.run, engine, self.topic, lock.check),
            ):
                try:
                    yield from step
                except DataflowsError as error:
                    self.stopped = self.stopped or error

    def _rehearse(self, engine: sa.Engine) -> Iterator[Event]:
        with translated():
            current = is_current(engine)
        if not current:
            yield Warned(
                "the practice database would be created or upgraded",
                reason="practice-database-new",
            )
            engine.dispose()
            engine = nowhere()
        with ExitStack() as stack:
            stack.callback(engine.dispose)
            if self.rehearses_alone:
                stack.enter_context(lock_for(engine, self.command))
            self.prepare(engine, lambda: None)
            yield from self.rehearse()
            yield from self.remarks()


def nowhere() -> sa.Engine:
    """A database of its own that is forgotten: nothing is known, and nothing is written."""
    engine = sa.create_engine("sqlite://", hide_parameters=True, poolclass=sa.StaticPool)
    migrate(engine)
    return engine
