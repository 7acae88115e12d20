"""``--child``: one child, looked for by its la_child_id, else by a person_id; and what a person decides about it."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.errors import WrongUsage
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import Decision, Superseded
from dataflows.flows.csc.options import ByHand
from dataflows.flows.csc.planning import Planner
from dataflows.flows.csc.reading import name_in, read_row
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import StagedRow

_AGAIN = "to send it again: add --resend; to remove a child that is deleted or has no row: add --purge"


class OneChild:
    """One child of the table: what is pending of it, and what is asked for by hand."""

    def __init__(self, staging: StagingTable, acks: Acknowledgements, planner: Planner, identifier: str) -> None:
        self._staging = staging
        self._acks = acks
        self._planner = planner
        self._identifier = identifier
        self._purged: dict[bytes, list[Superseded]] = {}

    # --- what is pending --------------------------------------------------------------------------------------

    def pages(self, by_hand: ByHand | None, *, retry_errors: bool) -> list[list[StagedRow]]:
        """Return the rows that are to be looked at.

        Raises:
            WrongUsage: nothing is about this child, or nothing of it is pending.
        """
        if by_hand is not None:
            return [rows] if (rows := self._rows()) else []
        rows = self._rows() or self._formerly()
        waiting = [row for row in rows if row.waiting and (retry_errors or row.deleted or not row.failed)]
        pages = [sorted(waiting, key=lambda row: row.id, reverse=True)] if waiting else []
        if pages or self.owed():
            return pages
        if rows:
            raise WrongUsage("nothing is pending for this child", reason="csc-child-not-pending", hint=_AGAIN)
        raise _nothing_found()

    def owed(self) -> list[bytes]:
        """Return the child itself when it is owed a purge."""
        child = self._acks.key(self._identifier)
        return [child] if any(child in page for page in self._acks.owed_purges()) else []

    def _rows(self) -> list[StagedRow]:
        rows = [reading.row for reading in self._planner.speakers.rows_of(self._identifier)]
        return rows or self._staging.of_person(self._identifier)

    def _formerly(self) -> list[StagedRow]:
        """Return the row that named this child when it was sent last, by the journal."""
        ack = self._acks.of([self._acks.key(self._identifier)]).get(self._acks.key(self._identifier))
        rows = self._staging.rows([ack.row_id]) if ack is not None and ack.row_id is not None else []
        return [row for row in rows if name_in(row.previous, self._acks.schema) == self._identifier]

    # --- by hand ----------------------------------------------------------------------------------------------

    def decide(self, by_hand: ByHand) -> list[Decision]:
        """Decide what is asked for by hand.

        Raises:
            WrongUsage: no such child, or it is to be purged although a row that is not deleted speaks for it.
        """
        names = sorted({name for row in self._rows() if (name := read_row(row, self._acks.schema).name) is not None})
        if not names:
            return self._without_rows(by_hand)
        decide = self._resend if by_hand is ByHand.RESEND else self._purge
        return [decision for name in names for decision in decide(name)]

    def _without_rows(self, by_hand: ByHand) -> list[Decision]:
        child = self._acks.key(self._identifier)
        ack = self._acks.of([child]).get(child)
        if by_hand is ByHand.PURGE and ack is not None and (ack.holds or ack.doubtful):
            return self._planner.purges_of([child], by_hand=True)
        raise _nothing_found()

    def _resend(self, name: str) -> list[Decision]:
        standing = self._planner.speakers.now([name])[name]
        reading, overruled = standing.reading, None
        if standing.living is not None:  # somebody decides against the deleted row
            overruled = standing.speaker
            reading = next(one for one in self._planner.speakers.rows_of(name) if one.row.id == standing.living)
        if reading is None:
            raise _nothing_found()
        return self._planner.by_hand(reading, overruled=overruled)

    def _purge(self, name: str) -> list[Decision]:
        standing = self._planner.speakers.now([name])[name]
        if standing.reading is None or not standing.reading.goes:
            raise WrongUsage(
                "this child still has a row that is not deleted, so it is not purged",
                reason="csc-child-not-deleted",
                hint="have the loader mark it Deleted first, or send it again: add --resend instead",
            )
        others = [one.row for one in self._planner.speakers.rows_of(name) if one.living]
        by = standing.reading.row.id
        self._purged[self._acks.key(name)] = [Superseded(row, by) for row in others]
        return self._planner.by_hand(standing.reading)

    def set_aside(self) -> Sequence[Superseded]:
        """Return the rows of children that were purged by hand, once the API acknowledged that."""
        acks = self._acks.of(list(self._purged))
        return [one for child, rows in self._purged.items() for one in rows if child in acks and acks[child].purged]


def _nothing_found() -> WrongUsage:
    return WrongUsage(
        "the staging table has no row for this child or person",
        reason="csc-child-unknown",
        hint="give the la_child_id exactly as in the table, or the person_id",
    )
