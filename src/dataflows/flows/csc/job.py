"""`csc-submit`, step by step: replay what is owed, read, plan, send, record; purges of children last, and guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import DataflowsError, ServiceDown, WrongUsage
from dataflows.events import Event, Pending, Planned, Retrying, Step, Warned
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.by_hand import ByHand, OneChild
from dataflows.flows.csc.decisions import (
    Contradicted,
    Decision,
    DeferredRow,
    Former,
    InvalidRow,
    ResetRule,
    Rules,
    Submission,
    Superseded,
    Unchanged,
)
from dataflows.flows.csc.names import NamedRows
from dataflows.flows.csc.ownership import seal_of, settle_ownership
from dataflows.flows.csc.planning import Planner
from dataflows.flows.csc.purges import Deferred, Guard, Orphans, OwedPurges
from dataflows.flows.csc.receiver import CscApi, RequestCounts, RequestPacer, children_url
from dataflows.flows.csc.recording import NullWriter, Recorder, StagingWriter
from dataflows.flows.csc.records import Place
from dataflows.flows.csc.schema import load_schema
from dataflows.flows.csc.sending import BatchFileWriter, BatchHandler, BatchSender, SentBatch
from dataflows.flows.csc.staging import PAGE, StagedRow, StagingTable
from dataflows.flows.csc.table import open_engine, staging_table
from dataflows.remote.oauth import TokenSource
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import Session, make_session
from dataflows.runs import flow, pool
from dataflows.runs.flow import UNANSWERED_IN_A_ROW, Halt
from dataflows.runs.garbage import rare_collections
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
    return lambda run: _Submit(settings, options, run).play()


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
        self.figures = RequestCounts()
        self.retries = 0
        self.silent = 0
        self.left = options.limit
        self.stopped: DataflowsError | None = None

    # --- the story --------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Tell the story of one run."""
        options = self.options
        yield Step("opening the staging table")
        self.engine = engine = open_engine(self.settings)
        self.staging = StagingTable(engine, self.settings.table_name)
        with ExitStack() as self.closing:
            self.closing.callback(engine.dispose)  # Windows deletes and moves no file that is open
            table = self.staging.identity
            self.lock = DatabaseLock(engine, f"dataflows csc-submit {table.table}", database=table.place)
            if not options.dry_run:
                self.closing.enter_context(self.lock)
            yield from self._with_books()

    def _with_books(self) -> Iterator[Event]:
        self._open_books()
        self.recorder = Recorder(self.books, self.run.journal, self.run.id)
        try:
            with rare_collections(200_000, 50):  # payloads have no cycles, and looking costs a quarter of the run
                yield from self._story()
        finally:
            self.books.close(drop=self.run.stop.hurry)
            self.acks.flush()
            self._fill_report()

    def _open_books(self) -> None:
        settings, options = self.settings, self.options
        journal = Journal.in_memory() if options.rehearsal else self.run.journal
        takeover = options.takeover and not options.dry_run
        seal = (
            IdentifierCipher.forgotten()
            if options.rehearsal
            else seal_of(self.run.data_dir, journal, takeover=takeover)
        )
        schema = load_schema(settings.csc_schema)
        self.acks = Acknowledgements(journal, seal, place_of(settings, self.staging), schema)
        self.deferred = Deferred(journal)
        writes_nothing = options.dry_run or options.rehearsal
        self.books = NullWriter() if writes_nothing else StagingWriter(self.staging, self.acks)
        self.names = NamedRows(self.staging, journal, self.engine, schema)
        self.planner = Planner(self.staging, self.acks, self.names, Rules(options.full, ResetRule(settings.csc_reset)))
        self.speakers = self.planner.speakers
        self.owed = OwedPurges(self.acks, self.speakers, self.deferred, keeps=not options.dry_run)
        self.guard = Guard(self.acks, self.names, settings.csc_max_delete_percent)
        self.orphans = Orphans(self.acks, self.names)

    def _story(self) -> Iterator[Event]:
        options = self.options
        if not options.rehearsal:
            asked = {"dry_run": options.dry_run, "requeue": options.requeue, "takeover": options.takeover}
            yield from settle_ownership(self.acks, self.staging, **asked)
        yield from self._replay()
        if self.options.child is not None:
            yield from self._one_child(self.options.child)
        else:
            yield from self._whole_table()
        yield from self.recorder.recorded(wait=True)
        yield from self._end()

    def _whole_table(self) -> Iterator[Event]:
        ids = self.staging.waiting(retry_errors=self.options.retry_errors)
        yield Planned(len(ids), "rows")
        if not ids and not self.acks.owes() and not self.options.purge_orphans:
            return
        self.names.expect(ids)
        self._prove_writable(ids)
        self.carrier = self._carrier()
        yield Step("sending")
        yield from self._send(self.planner.decide(page) for page in self._counted(self.staging.pages(ids)))
        if not self._over():
            yield from self._look_for_orphans()
            self.owed.recall()
            yield from self._send_deferred()

    def _prove_writable(self, ids: Sequence[int]) -> None:
        if ids and isinstance(self.books, StagingWriter):
            self.staging.prove_writable(ids[0])

    def _one_child(self, identifier: str) -> Iterator[Event]:
        self.names.pending = None
        child = OneChild(self.staging, self.acks, self.planner, identifier)
        pages = child.pages(self.options.by_hand, retry_errors=self.options.retry_errors)
        yield Planned(sum(len(page) for page in pages), "rows")
        self._prove_writable([row.id for page in pages for row in page])
        self.carrier = self._carrier()
        yield Step("sending")
        if self.options.by_hand is None:
            self.owed.owe(child.owed())
            yield from self._send(self.planner.decide(page) for page in self._counted(pages))
        else:
            yield from self._send([child.decide(self.options.by_hand)])
            yield from self.recorder.recorded(wait=True)
            yield from self.recorder.superseded(child.set_aside())
        if not self._over():
            yield from self._send_deferred()

    def _replay(self) -> Iterator[Event]:
        if isinstance(self.books, StagingWriter):
            yield Step("writing back what an earlier run could not")
            for one in self.books.replay():
                self.recorder.counts["replayed"] += one.reloaded
                yield from self.recorder.unwritten(one.refused)
            self.acks.flush()  # what is noted later of the same children, reloaded since, must not be mixed with this

    def _counted(self, pages: Iterable[list[StagedRow]]) -> Iterator[list[StagedRow]]:
        for page in pages:
            self.recorder.counts["rows"] += len(page)
            yield page

    # --- purges of whole children -----------------------------------------------------------------------------

    def _look_for_orphans(self) -> Iterator[Event]:
        """Count the children that no row names any more, on the walk that was made anyway; purge them where asked to.

        Raises:
            SettingUnusable: they are to be purged, and the table does not allow to tell them.
        """
        if self.options.purge_orphans:
            self.names.walk()
        if not self.orphans.may_be_counted():
            if self.options.purge_orphans:
                yield Warned(
                    "no orphan was purged: the table has rows that name nobody, or is under half its usual size",
                    hint="look at the loader, and run it again when the table is as it should be",
                )
            return
        self.orphans.counted = 0
        for page in self.orphans.found():
            if self.options.purge_orphans:
                self.owed.owe(page)
            else:
                self.orphans.counted += len(page)
                yield from self.recorder.withheld(self.owed.keys(page), "orphaned")
        if not self.options.dry_run:
            self.acks.table.note_orphans(self.orphans.counted)

    def _send_deferred(self) -> Iterator[Event]:
        for contradicted in self.owed.look_through():
            yield from self.recorder.contradicted(contradicted)
        asked, unnamed = self.deferred.counts()
        if not (waiting := asked + unnamed):
            return
        yield from self.recorder.recorded(wait=True)
        if not self.options.allow_mass_delete and self.guard.stops(waiting):
            yield from self._hold_back(waiting, unnamed)
            return
        yield Step("sending deletions")
        yield from self._send(self._purges())

    def _purges(self) -> Iterator[list[Decision]]:
        for ids in self.deferred.rows(PAGE // 2):
            yield self.planner.decide_deferred(self.staging.rows(ids))
        for children in self.deferred.purges(PAGE // 2):
            yield self.planner.purges_of(children)

    def _hold_back(self, waiting: int, unnamed: int) -> Iterator[Event]:
        for ids in self.deferred.rows(PAGE):
            yield from self.recorder.withheld([str(row_id) for row_id in ids])
        for children in self.deferred.purges(PAGE):
            yield from self.recorder.withheld(self.owed.keys(children))
        former = f" ({unnamed} of them because no row names them any more)" if unnamed else ""
        yield Warned(
            f"{waiting} of {max(waiting, self.guard.held())} children would be removed{former}: they were left as they"
            " are, everything else was sent",
            hint="look at the loader; if this is right: dataflows csc-submit --allow-mass-delete",
        )

    # --- sending ----------------------------------------------------------------------------------------------

    def _send(self, pages: Iterable[list[Decision]]) -> Iterator[Event]:
        """Send what pages of decisions ask for; what needs no request is recorded on the way."""
        aside: list[Event] = []
        batches = self._batches(pages, aside)
        workers = 1 if self.options.dry_run else self.options.workers  # files are numbered in order
        for carried in pool.each(self.carrier.carry, batches, workers=workers, stop=Halt(self._over, self.run.stop)):
            yield from _emptied(aside)
            yield from self.recorder.carried(carried)
            self._judge(carried)
        yield from _emptied(aside)

    def _batches(self, pages: Iterable[list[Decision]], aside: list[Event]) -> Iterator[list[Submission]]:
        """Gather submissions into batches; children that need several requests go together."""
        single: list[Submission] = []
        several: list[Submission] = []
        size = self.settings.batch_size
        for page in pages:
            for submission in self._sorted_out(page, aside):
                gathered = single if len(submission.requests) == 1 else several
                gathered.append(submission)
                if len(gathered) == size:
                    yield gathered[:]
                    gathered.clear()
            if self.left == 0 or self._over():
                break
        yield from (gathered for gathered in (single, several) if gathered)

    def _sorted_out(self, page: list[Decision], aside: list[Event]) -> list[Submission]:
        recorder = self.recorder
        self.owed.owe(one.child for one in page if isinstance(one, Former))  # first: it must not be lost
        aside.extend(recorder.unchanged([one for one in page if isinstance(one, Unchanged)]))
        aside.extend(recorder.invalid([one for one in page if isinstance(one, InvalidRow)]))
        aside.extend(recorder.superseded([one for one in page if isinstance(one, Superseded)]))
        aside.extend(recorder.contradicted([one for one in page if isinstance(one, Contradicted)]))
        self.deferred.keep_rows(one.row.id for one in page if isinstance(one, DeferredRow))
        wanted = [one for one in page if isinstance(one, Submission)]
        if self.left is not None:
            wanted = wanted[: self.left]
            self.left -= len(wanted)
        return wanted

    def _carrier(self) -> BatchHandler:
        if self.options.dry_run:
            return BatchFileWriter(self.options.out)
        settings = self.settings
        settings.require("SUPPLIER_KEY", "TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE")
        session = self._session(self.options.workers)
        policy = RetryPolicy.of(settings, stop=self.run.stop, on_retry=self._retrying)
        tokens = TokenSource(settings, self._session(), policy)
        tokens.token()  # before any row is touched: refused access changes nothing
        receiver = CscApi(
            url=children_url(settings),
            supplier_key=settings.supplier_key.reveal() if settings.supplier_key else "",
            session=session,
            tokens=tokens,
            policy=policy,
            timeout=(settings.http_connect_timeout_seconds, settings.http_timeout_seconds),
            pace=RequestPacer(settings.csc_min_interval_ms / 1000, self.run.stop),
            may_send=self.lock.check,
            figures=self.figures,
            schema=self.acks.schema,
        )
        still_right = self.planner.still_right
        return BatchSender(receiver, self.acks, self.run, still_right, table=not self.options.rehearsal)

    def _session(self, workers: int = 1) -> Session:
        """A session for one far side, closed with the run."""
        session = make_session(self.settings, workers, self.run.stop.grace_is_over)
        self.closing.callback(session.close)
        return session

    def _retrying(self, event: Retrying) -> None:
        self.retries += 1
        self.run.notify(event)

    # --- the end ----------------------------------------------------------------------------------------------

    def _judge(self, carried: SentBatch) -> None:
        self.silent = 0 if carried.answered else self.silent + 1
        self.stopped = self.stopped or carried.stop

    def _over(self) -> bool:
        return self.stopped is not None or self.silent >= UNANSWERED_IN_A_ROW or self.run.stop.is_set()

    def _end(self) -> Iterator[Event]:
        if self.stopped is not None:
            raise self.stopped
        if self.silent:
            raise ServiceDown(
                f"the CSC API does not answer (the last {self.silent} batches in a row): {self._why_silent()}",
                hint="nothing is lost: run the same command again later; dataflows test-endpoint shows when it is back",
            )
        yield from self._tell_of_contradictions()
        yield from self._tell_of_orphans()
        whole_anyway = self.options.requeue or self.options.takeover or self.options.rehearsal
        if self.recorder.counts["untrusted"] and not whole_anyway:
            yield Warned(
                f"{self.recorder.counts['untrusted']} children were sent whole because their baseline is not trusted",
                hint="what had vanished from them meanwhile stays at the receiver; CSC_RESET=child clears it",
            )

    def _tell_of_contradictions(self) -> Iterator[Event]:
        if count := self.recorder.counts["contradicted"]:
            yield Warned(
                f"{count} rows are contradicted: of one child, one row is deleted and another is not, and nothing was"
                " sent for it",
                hint="correct the table, or decide by hand: dataflows csc-submit --child ID --purge (or --resend)",
            )

    def _tell_of_orphans(self) -> Iterator[Event]:
        if self.options.child is not None or self.options.rehearsal:
            return
        count, at = self.acks.table.orphans()
        if self.orphans.counted is not None:
            count, at = self.orphans.counted, ""
        if not count:
            return
        if at:
            self.recorder.counts["orphaned"] = count
            yield Pending("orphans", "orphaned")
        few = count * 100 <= self.acks.holds() * self.settings.csc_max_delete_percent
        yield Warned(
            f"{count} children are at the API although no row names them"
            f"{f' (counted on {at[:10]})' if at else ''}; nobody said that they may go",
            hint="if they are to go: dataflows csc-submit --purge-orphans" if few else "look at the loader first",
        )

    def _why_silent(self) -> str:
        return self.carrier.receiver.last_failure if isinstance(self.carrier, BatchSender) else ""

    def _fill_report(self) -> None:
        counts = self.recorder.counts
        self.run.report.update({name: counts[name] for name in _COUNTS})
        self.run.report["in_doubt"] = self.acks.in_doubt()
        self.run.report["requests"] = self.figures.requests
        self.run.report["retries"] = self.retries
        self.run.report["most_in_flight"] = self.figures.most_in_flight


def _emptied(events: list[Event]) -> Iterator[Event]:
    yield from events
    events.clear()


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
