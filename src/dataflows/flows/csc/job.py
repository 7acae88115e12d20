"""`csc-submit`, step by step: replay what is owed, read, plan, send, record; purges of children last, and guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dataflows.events import Event, Planned, Step, Warned
from dataflows.flows.csc.by_hand import OneChild
from dataflows.flows.csc.options import Options, options_from_json, options_to_json
from dataflows.flows.csc.outgoing import Outgoing
from dataflows.flows.csc.recording import Recorder
from dataflows.flows.csc.removals import Removals
from dataflows.flows.csc.sending import open_handler
from dataflows.flows.csc.workspace import Workspace, address
from dataflows.runs.gc_tuning import rare_collections
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["Options", "options_from_json", "options_to_json", "submit", "target"]

_COUNTS = (
    "rows", "full", "delta", "reset", "delete", "unchanged", "invalid", "withheld", "superseded", "contradicted",
    "orphaned", "sent", "refused", "failed", "held_back", "new_errors", "known_errors", "reloaded", "unwritten",
    "replayed", "untrusted", "batches",
)  # fmt: skip


def submit(settings: Settings, options: Options) -> Callable[[Run], Iterator[Event]]:
    """Return the job: send what is pending in the staging table to the CSC API.

    The job raises what ends a run early: SettingUnusable (also when the receiver changed), AccessRefused,
    ServiceDown, AlreadyRunning, Interrupted.
    """
    return lambda run: _Submit(settings, options, run).events()


def target(settings: Settings) -> str:
    """Name what a run locks and what acknowledgements belong to: the staging table in its database."""
    return address(settings)


class _Submit:
    def __init__(self, settings: Settings, options: Options, run: Run) -> None:
        self.settings, self.options, self.run = settings, options, run
        self.out: Outgoing | None = None

    def events(self) -> Iterator[Event]:
        """Open the table, under its lock, then submit."""
        yield Step("opening the staging table")
        with ExitStack() as closing:
            self.workspace = workspace = Workspace.of(self.settings, self.options, closing)
            workspace.lock()
            workspace.open_journal(self.run.journal)
            self.planner = workspace.planner
            self.recorder = Recorder.of(workspace, self.run)
            self.removals = Removals(workspace, self.recorder)
            try:
                with rare_collections(200_000, 50):  # payloads have no cycles, and looking costs a quarter of the run
                    yield from self._submit()
            finally:
                self.recorder.close(drop=self.run.stop.hurry)
                workspace.acks.flush()
                self._fill_report()

    def _submit(self) -> Iterator[Event]:
        options = self.options
        yield from self.workspace.settle_ownership()
        if options.writes:
            yield Step("writing back what an earlier run could not")
            yield from self.recorder.replayed()
            self.workspace.acks.flush()  # notes of the same children, reloaded since, must not be mixed with this
        yield from self._whole_table() if options.child is None else self._one_child(options.child)
        yield from self.recorder.recorded(wait=True)
        if self.out is not None:
            self.out.raise_errors()
        yield from self._remarks()

    def _whole_table(self) -> Iterator[Event]:
        options, staging = self.options, self.workspace.staging
        ids = staging.waiting(retry_errors=options.retry_errors)
        yield Planned(len(ids), "rows")
        if not ids and not self.workspace.acks.owes() and not options.purge_orphans:
            return
        self.workspace.names.expect(ids)
        out = self._outgoing(ids)
        yield Step("sending")
        yield from out.send(self.planner.decide(page) for page in self.recorder.read(staging.pages(ids)))
        if not out.is_over():
            yield from self.removals.look_for_orphans()
            self.removals.owed.recall()
            yield from self.removals.send(out)

    def _one_child(self, identifier: str) -> Iterator[Event]:
        by_hand, owed = self.options.by_hand, self.removals.owed
        self.workspace.names.pending = None
        child = OneChild(self.workspace.staging, self.workspace.acks, self.planner, identifier)
        pages = child.pages(by_hand, retry_errors=self.options.retry_errors)
        yield Planned(sum(len(page) for page in pages), "rows")
        out = self._outgoing([row.id for page in pages for row in page])
        yield Step("sending")
        if by_hand is None:
            owed.owe(child.owed())
            yield from out.send(self.planner.decide(page) for page in self.recorder.read(pages))
        else:
            yield from out.send([child.decide(by_hand)])
            yield from self.recorder.recorded(wait=True)
            yield from self.recorder.superseded(child.set_aside())
        if not out.is_over():
            yield from self.removals.send(out)

    def _outgoing(self, ids: Sequence[int]) -> Outgoing:
        """Open the way out. Before any row leaves, it is proven that rows can be written, and access that is refused
        changes nothing.
        """
        options = self.options
        if ids:
            self.recorder.prove(ids[0])
        workers = 1 if options.dry_run else options.workers  # files are numbered in order
        self.out = Outgoing(
            open_handler(self.workspace, self.run), self.recorder, self.removals.owed,
            self.run.stop, self.settings.batch_size, workers, options.limit,
        )  # fmt: skip
        return self.out

    def _remarks(self) -> Iterator[Event]:
        options, counts = self.options, self.recorder.counts
        if counts["contradicted"]:
            yield Warned(
                f"{counts['contradicted']} rows contradict another row of the same child: one is deleted, the other is"
                " not; nothing was sent for them",
                reason="csc-contradicted",
                hint="correct the table, or decide by hand: dataflows csc-submit --child ID --purge (or --resend)",
            )
        if options.child is None and not options.rehearsal:
            yield from self.removals.remark()
        if counts["untrusted"] and not (options.requeue or options.takeover or options.rehearsal):
            yield Warned(
                f"{counts['untrusted']} children were sent whole because it is uncertain what the API holds of them",
                reason="csc-baseline-untrusted",
                hint="what vanished from them meanwhile stays at the receiver; CSC_RESET=child clears it",
            )

    def _fill_report(self) -> None:
        counts, workspace = self.recorder.counts, self.workspace
        self.run.report.update({name: counts[name] for name in _COUNTS})
        if self.options.out is not None:
            self.run.report["written_to"] = str(self.options.out)
        if not counts["rows"]:
            self.run.report["looked_at"] = workspace.staging.address
        self.run.report.update(in_doubt=workspace.acks.in_doubt(), **workspace.figures.report())
