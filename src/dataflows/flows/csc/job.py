"""`csc-submit`, step by step: replay what is owed, read, plan, send, record; purges of children last, and guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import WrongUsage
from dataflows.events import Event, Planned, Retrying, Step, Warned
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.by_hand import ByHand, OneChild
from dataflows.flows.csc.decisions import ResetRule, Rules
from dataflows.flows.csc.names import NamedRows
from dataflows.flows.csc.outgoing import Outgoing
from dataflows.flows.csc.ownership import cipher_of, settle_ownership
from dataflows.flows.csc.planning import Planner
from dataflows.flows.csc.purges import Deferred, Guard, Orphans, OwedPurges
from dataflows.flows.csc.receiver import RequestCounts, children_url
from dataflows.flows.csc.recording import Recorder
from dataflows.flows.csc.records import Place
from dataflows.flows.csc.removals import Removals
from dataflows.flows.csc.schema import load_schema
from dataflows.flows.csc.sending import BatchFileWriter, BatchSender, open_api
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import StagedRow, open_engine, staging_table
from dataflows.flows.csc.writers import NullWriter, StagingWriter
from dataflows.remote.retry import RetryPolicy
from dataflows.runs import flow
from dataflows.runs.gc_tuning import rare_collections
from dataflows.runs.journal import Journal
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from dataflows.store.database import DatabaseLock, identity

if TYPE_CHECKING:
    from dataflows.settings import Settings

_COUNTS = (
    "rows", "full", "delta", "reset", "delete", "unchanged", "invalid", "withheld", "superseded", "contradicted",
    "orphaned", "sent", "refused", "failed", "held_back", "new_errors", "known_errors", "reloaded", "unwritten",
    "replayed", "untrusted", "batches",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How the operator asked for the run; the fields are the options of ``csc-submit``."""

    full: bool = False
    limit: int | None = None
    child: str | None = None
    by_hand: ByHand | None = None
    purge_orphans: bool = False
    retry_errors: bool = True
    dry_run: bool = False
    out: Path | None = None
    rehearsal: bool = False
    requeue: bool = False
    takeover: bool = False
    allow_mass_delete: bool = False
    workers: int = 4


def place_of(settings: Settings, staging: StagingTable) -> Place:
    """Say where children go to, and which table they come from, however it is spelled."""
    url, la_code = children_url(settings), str(settings.la_code or "")
    former = f"{identity(staging.url)}#{settings.table_name.lower()}"  # as earlier versions named it
    return Place(url, la_code, staging.identity.key, former)


def submit(settings: Settings, options: Options) -> Callable[[Run], Iterator[Event]]:
    """Return the job: send what is pending in the staging table to the CSC API.

    The job raises what ends a run early: SettingUnusable (also when the receiver changed), AccessRefused,
    ServiceDown, AlreadyRunning, Interrupted.
    """
    return lambda run: _Submit(settings, options, run).events()


def target(settings: Settings) -> str:
    """Name what a run locks and what acknowledgements belong to: the staging table in its database."""
    engine = open_engine(settings)
    engine.dispose()
    return f"{identity(engine.url)}#{staging_table(settings.table_name).fullname.lower()}"


class _Submit:
    def __init__(self, settings: Settings, options: Options, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.run = run
        self.requests = RequestCounts()
        self.retries = 0
        self.out: Outgoing | None = None

    # --- opening ----------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Open the table, under its lock, then submit."""
        yield Step("opening the staging table")
        self.engine = engine = open_engine(self.settings)
        with ExitStack() as self.closing:
            self.closing.callback(engine.dispose)  # Windows deletes and moves no file that is open
            self.staging = StagingTable(engine, self.settings.table_name)
            table = self.staging.identity
            self.lock = DatabaseLock(engine, f"dataflows csc-submit {table.table}", database=table.place)
            if not self.options.dry_run:
                self.closing.enter_context(self.lock)
            self._open_journal()
            try:
                with rare_collections(200_000, 50):  # payloads have no cycles, and looking costs a quarter of the run
                    yield from self._submit()
            finally:
                self.writer.close(drop=self.run.stop.hurry)
                self.acks.flush()
                self._fill_report()

    def _open_journal(self) -> None:
        settings, options, run = self.settings, self.options, self.run
        if options.rehearsal:
            journal, cipher = Journal.in_memory(), IdentifierCipher.forgotten()
        else:
            journal = run.journal
            cipher = cipher_of(run.data_dir, journal, takeover=options.takeover and not options.dry_run)
        schema = load_schema(settings.csc_schema)
        self.acks = acks = Acknowledgements(journal, cipher, place_of(settings, self.staging), schema)
        self.names = NamedRows(self.staging, journal, self.engine, schema)
        self.planner = Planner(self.staging, acks, self.names, Rules(options.full, ResetRule(settings.csc_reset)))
        self.deferred = Deferred(journal)
        self.owed = OwedPurges(acks, self.planner.speakers, self.deferred, keeps=not options.dry_run)
        self.writer = NullWriter() if options.dry_run or options.rehearsal else StagingWriter(self.staging, acks)
        self.recorder = Recorder(self.writer, run.journal, run.id)
        guard = Guard(acks, self.names, settings.csc_max_delete_percent)
        self.removals = Removals(self.staging, self.planner, self.recorder, Orphans(acks, self.names), guard)

    # --- submitting -------------------------------------------------------------------------------------------

    def _submit(self) -> Iterator[Event]:
        options = self.options
        if not options.rehearsal:
            asked = {"dry_run": options.dry_run, "requeue": options.requeue, "takeover": options.takeover}
            yield from settle_ownership(self.acks, self.staging, **asked)
        yield from self._replay()
        yield from self._whole_table() if options.child is None else self._one_child(options.child)
        yield from self.recorder.recorded(wait=True)
        if self.out is not None:
            self.out.raise_errors()
        yield from self._remarks()

    def _replay(self) -> Iterator[Event]:
        if isinstance(self.writer, StagingWriter):
            yield Step("writing back what an earlier run could not")
            for one in self.writer.replay():
                self.recorder.counts["replayed"] += one.reloaded
                yield from self.recorder.unwritten(one.refused)
            self.acks.flush()  # what is noted later of the same children, reloaded since, must not be mixed with this

    def _whole_table(self) -> Iterator[Event]:
        options = self.options
        ids = self.staging.waiting(retry_errors=options.retry_errors)
        yield Planned(len(ids), "rows")
        if not ids and not self.acks.owes() and not options.purge_orphans:
            return
        self.names.expect(ids)
        out = self._outgoing(ids)
        yield Step("sending")
        yield from out.send(self.planner.decide(page) for page in self._counted(self.staging.pages(ids)))
        if not out.is_over():
            yield from self.removals.look_for_orphans(out, purge=options.purge_orphans, note=not options.dry_run)
            self.owed.recall()
            yield from self.removals.send(out, allow_mass_delete=options.allow_mass_delete)

    def _one_child(self, identifier: str) -> Iterator[Event]:
        by_hand = self.options.by_hand
        self.names.pending = None
        child = OneChild(self.staging, self.acks, self.planner, identifier)
        pages = child.pages(by_hand, retry_errors=self.options.retry_errors)
        yield Planned(sum(len(page) for page in pages), "rows")
        out = self._outgoing([row.id for page in pages for row in page])
        yield Step("sending")
        if by_hand is None:
            self.owed.owe(child.owed())
            yield from out.send(self.planner.decide(page) for page in self._counted(pages))
        else:
            yield from out.send([child.decide(by_hand)])
            yield from self.recorder.recorded(wait=True)
            yield from self.recorder.superseded(child.set_aside())
        if not out.is_over():
            yield from self.removals.send(out, allow_mass_delete=self.options.allow_mass_delete)

    def _counted(self, pages: Iterable[list[StagedRow]]) -> Iterator[list[StagedRow]]:
        for page in pages:
            self.recorder.counts["rows"] += len(page)
            yield page

    def _outgoing(self, ids: Sequence[int]) -> Outgoing:
        """Open the way out. Before any row leaves, it is proven that rows can be written, and access that is refused
        changes nothing.
        """
        options = self.options
        if ids and isinstance(self.writer, StagingWriter):
            self.staging.prove_writable(ids[0])
        self.out = Outgoing(
            BatchFileWriter(options.out) if options.dry_run else self._sender(),
            self.recorder, self.owed, self.deferred, self.run.stop, self.settings.batch_size,
            1 if options.dry_run else options.workers,  # files are numbered in order
            options.limit,
        )  # fmt: skip
        return self.out

    def _sender(self) -> BatchSender:
        policy = RetryPolicy.of(self.settings, stop=self.run.stop, on_retry=self._retrying)
        api = open_api(self.settings, self.run.stop, policy, self.closing, workers=self.options.workers)
        api.may_send, api.figures, api.schema = self.lock.check, self.requests, self.acks.schema
        return BatchSender(api, self.acks, self.run, self.planner.still_right, table=not self.options.rehearsal)

    def _retrying(self, event: Retrying) -> None:
        self.retries += 1
        self.run.notify(event)

    # --- the end ----------------------------------------------------------------------------------------------

    def _remarks(self) -> Iterator[Event]:
        options, counts = self.options, self.recorder.counts
        if counts["contradicted"]:
            yield Warned(
                f"{counts['contradicted']} rows are contradicted: of one child, one row is deleted and another is not,"
                " and nothing was sent for it",
                hint="correct the table, or decide by hand: dataflows csc-submit --child ID --purge (or --resend)",
            )
        if options.child is None and not options.rehearsal:
            yield from self.removals.remark(self.settings.csc_max_delete_percent)
        if counts["untrusted"] and not (options.requeue or options.takeover or options.rehearsal):
            yield Warned(
                f"{counts['untrusted']} children were sent whole because their baseline is not trusted",
                hint="what vanished from them meanwhile stays at the receiver; CSC_RESET=child clears it",
            )

    def _fill_report(self) -> None:
        counts = self.recorder.counts
        self.run.report.update({name: counts[name] for name in _COUNTS})
        self.run.report["in_doubt"] = self.acks.in_doubt()
        self.run.report["requests"] = self.requests.requests
        self.run.report["retries"] = self.retries
        self.run.report["most_in_flight"] = self.requests.most_in_flight


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``: nothing that names a child."""
    never = ("child", "by_hand", "requeue", "takeover", "purge_orphans")
    return {**flow.options_to_json(options, without=never), "one_child": options.child is not None}


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal.

    Raises:
        WrongUsage: that run was for one child, which the journal does not name.
    """
    if options.get("one_child"):
        raise WrongUsage(
            "this run was for one child, and the journal does not keep which", hint="run the same command again"
        )
    return flow.options_from_json(Options, options)
