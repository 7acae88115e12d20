"""The last step of a run: children that are to go, as rows ask for it or because no row names them any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflows.events import Event, Pending, Step, Warned
from dataflows.flows.csc.decisions import Decision
from dataflows.flows.csc.outgoing import Outgoing
from dataflows.flows.csc.planning import Planner
from dataflows.flows.csc.purges import Guard, Orphans
from dataflows.flows.csc.recording import Recorder
from dataflows.flows.csc.staging import PAGE, StagingTable


@dataclass
class Removals:
    """Purges of whole children, guarded; and the orphans, which are only purged where that is asked for."""

    staging: StagingTable
    planner: Planner
    recorder: Recorder
    orphans: Orphans
    guard: Guard

    def look_for_orphans(self, out: Outgoing, *, purge: bool, note: bool) -> Iterator[Event]:
        """Count the children that no row names any more, on the walk that was made anyway.

        Args:
            out: where their purges are owed.
            purge: owe them a purge (``--purge-orphans``); walks the table if nothing else did.
            note: keep the figure in the journal.
        """
        orphans = self.orphans
        if purge:
            orphans.names.walk()
        if not orphans.may_be_counted():
            if purge:
                yield Warned(
                    "no orphan was purged: the table has rows that name nobody, or is under half its usual size",
                    hint="look at the loader, and run it again when the table is as it should be",
                )
            return
        orphans.counted = 0
        for page in orphans.found():
            if purge:
                out.owed.owe(page)
            else:
                orphans.counted += len(page)
                yield from self.recorder.withheld(out.owed.keys(page), "orphaned")
        if note:
            orphans.acks.table.note_orphans(orphans.counted)

    def send(self, out: Outgoing, *, allow_mass_delete: bool) -> Iterator[Event]:
        """Send the purges that were deferred to the end of the run, unless they are too many."""
        for contradicted in out.owed.look_through():
            yield from self.recorder.contradicted(contradicted)
        asked, unnamed = out.deferred.counts()
        if not (waiting := asked + unnamed):
            return
        yield from self.recorder.recorded(wait=True)
        if not allow_mass_delete and self.guard.stops(waiting):
            yield from self._hold_back(out, waiting, unnamed)
            return
        yield Step("sending deletions")
        yield from out.send(self._purges(out))

    def _purges(self, out: Outgoing) -> Iterator[list[Decision]]:
        for ids in out.deferred.rows(PAGE // 2):
            yield self.planner.decide_deferred(self.staging.rows(ids))
        for children in out.deferred.purges(PAGE // 2):
            yield self.planner.purges_of(children)

    def _hold_back(self, out: Outgoing, waiting: int, unnamed: int) -> Iterator[Event]:
        for ids in out.deferred.rows(PAGE):
            yield from self.recorder.withheld([str(row_id) for row_id in ids])
        for children in out.deferred.purges(PAGE):
            yield from self.recorder.withheld(out.owed.keys(children))
        former = f" ({unnamed} of them because no row names them any more)" if unnamed else ""
        yield Warned(
            f"{waiting} of {max(waiting, self.guard.held())} children would be removed{former}: they were left as they"
            " are, everything else was sent",
            hint="look at the loader; if this is right: dataflows csc-submit --allow-mass-delete",
        )

    def remark(self, percent: float) -> Iterator[Event]:
        """Say how many orphans there are, counted in this run or before it; ``percent``: CSC_MAX_DELETE_PERCENT."""
        acks = self.orphans.acks
        count, at = acks.table.orphans()
        if self.orphans.counted is not None:
            count, at = self.orphans.counted, ""
        if not count:
            return
        if at:
            self.recorder.counts["orphaned"] = count
            yield Pending("orphans", "orphaned")
        few = count * 100 <= acks.holds() * percent
        yield Warned(
            f"{count} children are at the API although no row names them"
            f"{f' (counted on {at[:10]})' if at else ''}; nobody said that they may go",
            hint="if they are to go: dataflows csc-submit --purge-orphans" if few else "look at the loader first",
        )
