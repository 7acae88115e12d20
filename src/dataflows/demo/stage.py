"""What every scene of the demo is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.errors import ExitCode, Interrupted
from dataflows.runs.runner import Job, Order, Outcome
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Settings, fields_of
from dataflows.store.practice.database import open_engine

Figures: TypeAlias = Mapping[str, int | range]
RunJob: TypeAlias = Callable[[Order, Job], Outcome]


@dataclass(frozen=True)
class ResultLine:
    """One line of the table: what became of so many items. ``run`` None: how things stand after the last run."""

    flow: str
    run: int | None
    items: int
    outcome: str
    look_at: str
    seconds: float | None = None


@dataclass(frozen=True)
class Shown:
    """A figure of a run that the table shows: what it must be, its name there, and what to look at."""

    figure: str
    must: int
    outcome: str
    look_at: str


@dataclass
class Comparison:
    """How many checks were made, and what was found not to be what it must be."""

    checked: int = 0
    differences: list[str] = field(default_factory=list)

    def must(self, what: str, found: object, wanted: object) -> None:
        """Check one thing against what it must be."""
        self.figures(what, {"": found}, {"": wanted})

    def figures(self, name: str, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
        """Check figures together, each against what it must be or the range that it must lie in; else it must be 0."""
        self.checked += 1
        for figure in {**found, **wanted}:
            value, must = found.get(figure), wanted.get(figure, 0)
            if value not in must if isinstance(must, range) else value != must:
                shown = f"{must.start} to {must.stop - 1}" if isinstance(must, range) else must
                self.differences.append(f"{name}{figure and ': '}{figure} is {value}, must be {shown}")

    def right(self, what: str, *verdicts: bool) -> None:
        """Check something that says too much to be shown, such as children's records; several are numbered from 1."""
        self.checked += 1
        for number, right in enumerate(verdicts, start=1):
            if not right:
                self.differences.append(f"{what}{f' {number}' * (len(verdicts) > 1)} is not what it must be")


def figures_of(outcome: Outcome) -> dict[str, int]:
    """Return a run's counts ("items done") and the whole numbers of its report, also those one level down."""
    found = {f"items {state}": count for state, count in outcome.counts.items()}
    for name, value in outcome.report.items():
        parts = {f"{name} {part}": one for part, one in value.items()} if isinstance(value, Mapping) else {name: value}
        found |= {part: one for part, one in parts.items() if isinstance(one, int)}
    return found


@dataclass
class Stage:
    """Where the scenes run: a temporary folder, the stand-ins, and the way to run a job as a command would.

    ``run_job`` runs a job with journal, lock and log; ``say`` tells the operator what is going on.
    """

    folder: Path
    box: Sandbox
    run_job: RunJob
    say: Callable[[str], None]
    findings: Comparison = field(default_factory=Comparison)
    runs: list[Outcome] = field(default_factory=list)

    def settings(self, values: Mapping[str, object]) -> Settings:
        """The settings of a run: these values, the address of the sandbox, and defaults for all the rest.

        Neither the environment nor an env file is looked at.
        """
        # the sandbox words its settings for an env file; here nobody reads a number or a yes from a text
        typed = {"SMTP_PORT": self.box.mailbox.port, "SMTP_STARTTLS": False}
        return Settings(**fields_of({**self.box.settings(), **typed, "DATA_DIR": self.folder, **values}))

    def run(
        self,
        flow: str,
        order: Order,
        job: Job,
        code: ExitCode,
        shown: Iterable[Shown] = (),
        others: Figures | None = None,
        figures: Callable[[Outcome], Mapping[str, int]] = figures_of,
    ) -> Iterator[ResultLine]:
        """Run a job to its end, check how it ended, and yield the lines of the figures that are shown.

        Args:
            others: figures that are not shown; what neither names must be 0, unless this is None.
            figures: those of an outcome, by name.

        Raises:
            Interrupted: the operator stopped it; the demo ends there.
        """
        outcome = self.run_job(order, job)
        self.runs.append(outcome)
        if outcome.exit_code is ExitCode.INTERRUPTED:
            raise Interrupted("stopped before it finished", reason="interrupted", hint="run it again: dataflows demo")
        run = sum(one.command == flow for one in self.runs)
        wanted = {"exit code": int(code), **{one.figure: one.must for one in shown}, **(others or {})}
        found = {"exit code": int(outcome.exit_code), **figures(outcome)}
        compared = found if others is not None else {name: found.get(name, 0) for name in wanted}
        self.findings.figures(f"{flow}, run {run}", compared, wanted)
        seconds: float | None = round(outcome.seconds, 3)
        for one in shown:
            yield ResultLine(flow, run, found.get(one.figure, 0), one.outcome, one.look_at, seconds)
            seconds = None

    def judge_mails(self, flow: str, subject: str, named: str) -> None:
        """Check that a flow has sent one mail so far, with this subject, and that it names what is to be looked at."""
        mails = [mail.described() for mail in self.box.mailbox.messages]
        mine = [(mail["subject"], named in mail["text"]) for mail in mails if mail["subject"].startswith(f"{flow}:")]
        self.findings.must(f"{flow}: mails, and whether they name the item", mine, [(subject, True)])


def rows(settings: Settings, table: sa.Table) -> list[sa.Row[Any]]:
    """All rows of a table of the practice as they are now, oldest first."""
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key)))
    finally:
        engine.dispose()  # Windows removes no file that is open


Scene: TypeAlias = Callable[[Stage], Iterator[ResultLine]]
"""One flow of the demo: run it, change some data and break some calls, run it once more, look at what is there then.

What is found is put before ``stage.findings``; nothing is raised for a figure that is wrong.
"""
