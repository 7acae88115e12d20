"""What a run works on, opened once: the staging table, the journal's knowledge of it, and the planner over both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dataflows.events import Event
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.options import Options
from dataflows.flows.csc.ownership import named_children, settle_ownership
from dataflows.flows.csc.planning import Planner
from dataflows.flows.csc.receiver import RequestCounts, children_url
from dataflows.flows.csc.schema import load_schema
from dataflows.flows.csc.staging import StagingTable
from dataflows.runs.journal import Journal

if TYPE_CHECKING:
    from dataflows.settings import Settings


def address(settings: Settings) -> str:
    """Name the staging table by the settings, without asking the database: what a run locks."""
    staging = StagingTable.open(settings)
    staging.engine.dispose()
    return staging.address


class Workspace:
    """The table and what is known of it, for one run with its options; closed by ``closing``.

    ``figures`` counts the requests that are made.
    """

    def __init__(self, settings: Settings, options: Options, staging: StagingTable, closing: ExitStack) -> None:
        self.settings, self.options, self.staging, self.closing = settings, options, staging, closing
        self.figures = RequestCounts()

    @classmethod
    def of(cls, settings: Settings, options: Options, closing: ExitStack) -> Workspace:
        """Open the staging table. Raises SettingUnusable: there is none."""
        staging = StagingTable.open(settings)
        closing.callback(staging.engine.dispose)  # Windows deletes and moves no file that is open
        return cls(settings, options, staging, closing)

    def lock(self) -> None:
        """Keep other runs off the table; a dry run needs not. Raises AlreadyRunning."""
        self.table_lock = self.staging.lock("dataflows csc-submit")
        if not self.options.dry_run:
            self.closing.enter_context(self.table_lock)

    def open_journal(self, journal: Journal) -> None:
        """Look up what the journal knows of the table; a rehearsal starts from nothing, and leaves nothing.

        Raises:
            SettingUnusable: the key of the journal is missing or another one, or a setting is.
        """
        settings, options = self.settings, self.options
        kept = None if options.rehearsal else journal
        takeover = options.takeover and not options.dry_run
        self.journal, cipher = named_children(settings.data_dir, kept, takeover=takeover)
        place = self.staging.place(children_url(settings), str(settings.la_code or ""))
        self.acks = Acknowledgements(self.journal, cipher, place, load_schema(settings.csc_schema))
        self.planner = Planner(self.staging, self.acks, full=options.full, reset=settings.csc_reset)
        self.names = self.planner.speakers.names

    def settle_ownership(self) -> Iterator[Event]:
        """Make sure that this journal may send what the table says. Raises SettingUnusable: it may not."""
        options = self.options
        if not options.rehearsal:
            asked = {"dry_run": options.dry_run, "requeue": options.requeue, "takeover": options.takeover}
            yield from settle_ownership(self.acks, self.staging, **asked)
