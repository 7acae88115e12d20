"""Applies the entries of one file, page by page, inside the file's transaction; nothing counts before its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from dataflows.flows.therapists.changes import Change
from dataflows.flows.therapists.claims import Claims, Target, Verdict
from dataflows.flows.therapists.creating import Creating
from dataflows.flows.therapists.deciding import (
    Create,
    Decision,
    Delete,
    Nothing,
    Sight,
    Touch,
    Update,
    decide,
    needs_row,
)
from dataflows.flows.therapists.events import announce
from dataflows.flows.therapists.figures import Figures
from dataflows.flows.therapists.identity import Known, Match, needs_ids, who
from dataflows.flows.therapists.record import STATUSES, Broken, Entry, Item, folded, natural_key
from dataflows.flows.therapists.staging import Row, Staging
from dataflows.store.practice.transactions import savepoint

__all__ = ["PAGE", "How", "Suspicious", "apply"]

PAGE = 500  # entries; more of them cost memory and save nothing
_MANY, _SHARE = 5, 0.2  # deletions at once that are suspicious: more than so many, and more than this share of an area
_TOUCHED_AT_ONCE = 5000
_MANY_NEW = 1000


class Suspicious(Exception):
    """A file deletes more therapists at once than is believable: ``deleted`` of ``active`` ones in its area."""

    def __init__(self, deleted: int, active: int) -> None:
        super().__init__("suspicious")
        self.deleted, self.active = deleted, active


class How(NamedTuple):
    """What is known of a file beside its entries."""

    sight: Sight
    run_id: str
    allow_mass_delete: bool = False


class _Again(Exception):
    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


def apply(connection: sa.Connection, how: How, read: Callable[[], Iterable[Item]]) -> Figures:
    """Apply the entries of a file; ``read`` yields them, each time from the first one.

    Raises:
        Suspicious: too many would be deleted at once. The caller takes the transaction back.
        Unreadable: by ``read``; likewise.
        sqlalchemy.exc.DBAPIError: see ``store.practice.database.translated``.
    """
    verdict = Verdict()
    while True:
        try:
            with savepoint(connection):
                return _Filing(connection, how, verdict).file(read())
        except _Again as again:  # rare: some of what was written must not be
            verdict = again.verdict


class _Filing:
    def __init__(self, connection: sa.Connection, how: How, verdict: Verdict) -> None:
        self.connection = connection
        self.how = how
        self.sight = how.sight
        self.now = datetime.now(UTC)
        self.staging = Staging(connection)
        self.creating = Creating(connection, self.sight, self.now, self.staging.newest)
        self.figures = Figures()
        self.claims = Claims(verdict)
        self.touched: list[int] = []
        self.deletions: list[Delete] = []

    def file(self, items: Iterable[Item]) -> Figures:
        """Take all pages, then write what had to wait for the end."""
        source = iter(items)
        while page := list(islice(source, PAGE)):
            self._take(page)
        if (verdict := self.claims.verdict()) is not None:
            raise _Again(verdict)
        self._delete()
        self.staging.apply()
        for start in range(0, len(self.touched), _TOUCHED_AT_ONCE):
            self.staging.touch(self.touched[start : start + _TOUCHED_AT_ONCE], self.sight)
        if self.figures.new > _MANY_NEW:
            self.staging.look_around()
        return self.figures

    # --- one page ---------------------------------------------------------------------------------------------

    def _take(self, page: Sequence[Item]) -> None:
        entries = list(self._sound(page))
        meant = [
            (entry, found.known)
            for entry, found in zip(entries, self._matches(entries), strict=True)
            if self._is_clear(entry, found) and self._claim(entry, found.known)
        ]
        rows = self.staging.rows([known.id for e, known in meant if known and needs_row(e, known, self.sight)])
        decisions = [decide(e, known, self.sight, rows.get(known.id) if known else None) for e, known in meant]
        if new := [one for one in decisions if isinstance(one, Create)]:
            self.creating.write(new)
        if changed := [one for one in decisions if isinstance(one, Update)]:
            self._update(changed)
        self._count(zip((entry for entry, _ in meant), decisions, strict=True))

    def _sound(self, page: Iterable[Item]) -> Iterator[Entry]:
        figures = self.figures
        for item in page:
            figures.entries += 1
            if isinstance(item, Broken):
                figures.broken += 1
                figures.refuse(item.at, item.code, item.path)
                continue
            figures.statuses[item.status or ""] += 1
            if item.status is not None and item.status not in STATUSES:
                figures.remark("unknown_status", item.at)
            yield item

    def _matches(self, entries: Sequence[Entry]) -> list[Match]:
        """Find out who the entries are: one question for the page, and two more where ids have to be looked at."""
        area, staging = self.sight.area, self.staging
        by_key = staging.by_key({one.natural_key for one in entries if one.natural_key})
        keyed = [by_key.get(one.natural_key or "", ()) for one in entries]
        ids = {one.source_id for one, known in zip(entries, keyed, strict=True) if needs_ids(one, area, known)}
        by_id = staging.by_id(area, {one for one in ids if one})
        people = staging.people({known.id for holders in by_id.values() for known in holders})
        return [
            who(one, known, by_id.get(one.source_id or "", ()), people)
            for one, known in zip(entries, keyed, strict=True)
        ]

    def _is_clear(self, entry: Entry, found: Match) -> bool:
        if found.reassigned:
            self.figures.remark("id_reassigned", entry.at)
        if found.ambiguous:
            self.figures.refuse(entry.at, "ambiguous")
        elif found.known is None and entry.natural_key is None:
            self.figures.refuse(entry.at, "no_postal_code", "location.postal_code")
        else:
            return True
        return False

    def _claim(self, entry: Entry, known: Known | None) -> bool:
        """Whether the entry is the one of this file that speaks for the therapist."""
        target: Target = known.id if known else entry.natural_key or ""
        claim = self.claims.claim(target, entry)
        if claim == "ambiguous":
            self.figures.refuse(entry.at, claim)
        elif claim in ("duplicate_entry", "shown_elsewhere"):
            self._counts_for_nothing(entry, claim)
        return claim == "speaks"

    def _counts_for_nothing(self, entry: Entry, code: str) -> None:
        self.figures.unchanged += 1
        self.figures.remark(code, entry.at)

    # --- writing ----------------------------------------------------------------------------------------------

    def _update(self, changed: Sequence[Update]) -> None:
        rows = [self._updated(one) for one in changed]
        self.staging.stage(rows)
        news = [(row, one) for row, one in zip(rows, changed, strict=True) if one.changes.changed]
        self.staging.note([self._noted(one.known.id, change) for _, one in news for change in one.changes.changed])
        announce(self.connection, "updated", [row for row, _ in news])

    def _updated(self, one: Update) -> Row:
        entry, known, sight, values = one.entry, one.known, self.sight, one.changes.values
        return {
            "id": known.id,
            "area": sight.area,
            "source_id": entry.source_id or known.source_id,
            "natural_key": natural_key(values),
            "content_hash": entry.content_hash,
            "last_seen": sight.date,
            "seen_in": sight.name,
            "active": known.active or one.revived,
            "deleted_at": None if one.revived else known.deleted_at,
            "updated_at": self.now,
            **values,
        }

    def _noted(self, therapist: int, change: Change) -> Row:
        return {
            "therapist_id": therapist,
            "field": change.field,
            "old_value": change.old,
            "new_value": change.new,
            "file_name": self.sight.name,
            "run_id": self.how.run_id,
            "changed_at": self.now,
        }

    def _delete(self) -> None:
        """Delete at the file's end, when it is known how many there are."""
        gone = [one.known.id for one in self.deletions if one.news]
        active = self.staging.active_in(self.sight.area) if len(gone) > _MANY else 0
        if len(gone) > _MANY and len(gone) > _SHARE * active and not self.how.allow_mass_delete:
            raise Suspicious(len(gone), active)
        for start in range(0, len(gone), PAGE):
            self._delete_page(gone[start : start + PAGE])
        again = [one.known.id for one in self.deletions if not one.news]
        self.staging.delete(again, {"deleted_at": self.sight.date})

    def _delete_page(self, ids: Sequence[int]) -> None:
        rows = self.staging.rows(ids)
        self.staging.delete(ids, {"deleted_at": self.sight.date, "updated_at": self.now})
        self.staging.note([self._noted(number, Change("active", True, False)) for number in ids])
        announce(self.connection, "deleted", [{**rows[number], "active": False} for number in ids])

    # --- counting ---------------------------------------------------------------------------------------------

    def _count(self, decisions: Iterable[tuple[Entry, Decision]]) -> None:
        figures = self.figures
        for entry, decision in decisions:
            match decision:
                case Create():
                    figures.new += 1
                case Update():
                    self._count_update(entry, decision)
                case Touch(known=known):
                    figures.unchanged += 1
                    self.touched.append(known.id)
                case Delete(news=news):
                    figures.deleted += news
                    figures.unchanged += not news
                    self.deletions.append(decision)
                case Nothing(why=why):
                    figures.unchanged += 1
                    figures.older += why == "older"
                    if why == "shown_elsewhere":
                        figures.remark(why, entry.at)

    def _count_update(self, entry: Entry, decision: Update) -> None:
        figures, changes = self.figures, decision.changes
        figures.updated += bool(changes.changed)
        figures.unchanged += not changes.changed
        figures.revived += decision.revived
        figures.fields.update(change.field for change in changes.changed)
        figures.status_mismatch += entry.status == "unchanged" and bool(changes.changed)
        if changes.kept:
            figures.remark("kept_empty", entry.at)
        if any(one.field == "last_name" and folded(one.old) != folded(one.new) for one in changes.changed):
            figures.remark("name_changed", entry.at)
