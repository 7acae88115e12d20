"""The last step of a run: children that are to go, as rows ask for it or because no row names them any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dataflows.events import Event, Pending, Step, Warned
from dataflows.flows.csc.decisions import Decision
from dataflows.flows.csc.outgoing import Outgoing
from dataflows.flows.csc.purges import Guard, Orphans, OwedPurges
from dataflows.flows.csc.recording import Recorder
from dataflows.flows.csc.scratch import Deferred
from dataflows.flows.csc.staging import PAGE

if TYPE_CHECKING:
    from dataflows.flows.csc.workspace import Workspace


class Removals:
    """Purges of whole children, guarded; and the orphans, which are only purged where that is asked for."""

    def __init__(self, workspace: Workspace, recorder: Recorder) -> None:
        acks, planner, names = workspace.acks, workspace.planner, workspace.names
        self.options, self.staging, self.planner = workspace.options, workspace.staging, planner
        self.acks, self.recorder = acks, recorder
        self.percent = workspace.settings.csc_max_delete_percent
        self.deferred = Deferred(acks.journal)
        self.owed = OwedPurges(acks, planner.speakers, self.deferred, keeps=not self.options.dry_run)
        self.orphans, self.guard = Orphans(acks, names), Guard(acks, names, self.percent)

    def look_for_orphans(self) -> Iterator[Event]:
        """Count the children that no row names any more, on the walk that was made anyway.

        With ``--purge-orphans`` they are owed a purge, and the table is walked if nothing else did.
        """
        orphans, purge = self.orphans, self.options.purge_orphans
        if purge:
            orphans.names.walk()
        if not orphans.may_be_counted():
            if purge:
                yield Warned(
                    "no orphan was purged: the table has rows that name no child, or is under half its usual size",
                    reason="csc-orphans-kept",
                    hint="check the loader, and run this again once the table is correct",
                )
            return
        orphans.counted = 0
        for page in orphans.found():
            if purge:
                self.owed.owe(page)
            else:
                orphans.counted += len(page)
                yield from self.recorder.withheld(self.owed.keys(page), "orphaned")
        if not self.options.dry_run:
            self.acks.table.note_orphans(orphans.counted)

    def send(self, out: Outgoing) -> Iterator[Event]:
        """Send the purges that were deferred to the end of the run, unless they are too many."""
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
        yield from out.send(self._purges())

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
        former = f" ({unnamed} of them because they no longer have a row)" if unnamed else ""
        yield Warned(
            f"{waiting} of {max(waiting, self.guard.held())} children would be removed{former}: they were left"
            " unchanged, everything else was sent",
            reason="csc-mass-delete",
            hint="check the loader; if this is right: dataflows csc-submit --allow-mass-delete",
        )

    def remark(self) -> Iterator[Event]:
        """Say how many orphans there are, counted in this run or before it."""
        count, at = self.acks.table.orphans()
        if self.orphans.counted is not None:
            count, at = self.orphans.counted, ""
        if not count:
            return
        if at:
            self.recorder.counts["orphaned"] = count
            yield Pending("orphans", "orphaned")
        few = count * 100 <= self.acks.holds() * self.percent
        yield Warned(
            f"{count} children are at the API although no row names them"
            f"{f' (counted on {at[:10]})' if at else ''}; they were not marked as deleted",
            reason="csc-orphans",
            hint="to remove them: dataflows csc-submit --purge-orphans" if few else "check the loader first",
        )
