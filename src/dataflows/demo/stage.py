"""What every scene of the demo is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from dataflows.errors import ExitCode, Interrupted
from dataflows.runs.runner import Job, Order, Outcome
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Settings, fields_of

Figure: TypeAlias = int | range


@dataclass(frozen=True)
class ResultLine:
    """One line of the table: what became of so many items. ``run`` None: how things stand after the last run."""

    flow: str
    run: int | None
    items: int
    outcome: str
    look_at: str
    seconds: float | None = None


@dataclass
class Comparison:
    """How many things were looked at, and which of them are not what they must be."""

    checked: int = 0
    differences: list[str] = field(default_factory=list)

    def must(self, what: str, found: object, wanted: object) -> None:
        """Note whether something is what it must be (or lies in a range)."""
        self.checked += 1
        right = found in wanted if isinstance(wanted, range) else found == wanted
        if not right:
            shown = f"{wanted.start} to {wanted.stop - 1}" if isinstance(wanted, range) else wanted
            self.differences.append(f"{what} is {found}, must be {shown}")

    def right(self, what: str, right: bool) -> None:
        """Note whether something is right that says too much to be shown, such as a child's record."""
        self.checked += 1
        if not right:
            self.differences.append(f"{what} is not what it must be")


@dataclass
class Stage:
    """Where a scene plays: a temporary folder, the stand-ins, and the way to run a job as a command would.

    ``conduct`` runs a job with journal, lock and log; ``say`` tells the operator what is going on.
    """

    folder: Path
    box: Sandbox
    run_job: Callable[[Order, Job], Outcome]
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

    def run(self, order: Order, job: Job) -> Outcome:
        """Run a job to its end.

        Raises:
            Interrupted: the operator stopped it; the demo ends there.
        """
        outcome = self.run_job(order, job)
        self.runs.append(outcome)
        if outcome.exit_code is ExitCode.INTERRUPTED:
            raise Interrupted("stopped before its end", hint="run it again: dataflows demo")
        return outcome

    def judge(
        self, name: str, outcome: Outcome, code: ExitCode, counts: Mapping[str, Figure], figures: Mapping[str, Figure]
    ) -> None:
        """Compare how a run ended with how it must end: exit code, counts of items, every figure of its report.

        What ``counts`` and ``figures`` do not name must be 0.
        """
        must = self.findings.must
        must(f"{name}: its error", outcome.error.message if outcome.error else None, None)
        must(f"{name}: exit code", int(outcome.exit_code), int(code))
        report = {figure: value for figure, value in outcome.report.items() if isinstance(value, int)}
        for found, wanted in ((outcome.counts, counts), (report, figures)):
            for figure in {**found, **wanted}:
                must(f"{name}: {figure}", found.get(figure), wanted.get(figure, 0))


Scene: TypeAlias = Callable[[Stage], Iterator[ResultLine]]
"""One flow of the demo: run it, change some data and break some calls, run it once more, look at what is there then.

Every figure is put before ``stage.findings``; nothing is raised for one that is wrong.
"""
