"""Applies the entries of one file, page by page, inside the file's transaction; nothing counts before its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa

from dataflows.flows.practice.erasures import Erasures
from dataflows.flows.practice.therapists.changes import (
    Create,
    Decision,
    Delete,
    FieldChange,
    FileCounts,
    Touch,
    Update,
    decide,
    needs_row,
)  # fmt: skip
from dataflows.flows.practice.therapists.creating import Creating, Further, announce
from dataflows.flows.practice.therapists.identity import (
    Claims,
    ClaimsVerdict,
    FileOrigin,
    Key,
    KnownListing,
    ListingMatch,
    identify,
    needs_ids,
    target_of,
)  # fmt: skip
from dataflows.flows.practice.therapists.record import STATUSES, Broken, Item, TherapistEntry, natural_key
from dataflows.flows.practice.therapists.staging import Row, StagedFile
from dataflows.store.practice.database import savepoint

PAGE = 500  # entries; more of them cost memory and save nothing
_MANY, _SHARE = 5, 0.2  # deletions at once that are suspicious: more than so many, and more than this share of an area
_TOUCHED_AT_ONCE = 5000
_MANY_NEW = 1000


class Suspicious(Exception):
    """A file deletes more therapists at once than is believable: ``deleted`` of ``active`` ones in its area."""

    def __init__(self, deleted: int, active: int) -> None:
        super().__init__("suspicious")
        self.deleted, self.active = deleted, active


class FileContext(NamedTuple):
    """What is known of a file beside its entries."""

    origin: FileOrigin
    run_id: str
    allow_mass_delete: bool = False
    erasures: Erasures | None = None
    """Of whom nothing is written."""


class _Again(Exception):
    def __init__(self, verdict: ClaimsVerdict) -> None:
        super().__init__()
        self.verdict = verdict


def apply(connection: sa.Connection, context: FileContext, read: Callable[[], Iterable[Item]]) -> FileCounts:
    """Apply the entries of a file; ``read`` yields them, each time from the first one.

    Raises:
        Suspicious: too many would be deleted at once. The caller takes the transaction back.
        Unreadable: by ``read``; likewise.
        sqlalchemy.exc.DBAPIError: see ``store.practice.database.translated``.
    """
    verdict = ClaimsVerdict()
    while True:
        try:
            with savepoint(connection):
                return _Filing(connection, context, verdict).file(read())
        except _Again as again:  # rare: some of what was written must not be
            verdict = again.verdict


class _Filing:
    def __init__(self, connection: sa.Connection, context: FileContext, verdict: ClaimsVerdict) -> None:
        self.connection = connection
        self.context = context
        self.origin = context.origin
        self.now = datetime.now(UTC)
        self.staging = StagedFile(connection)
        self.creating = Creating(connection, self.origin, self.now, self.staging.newest)
        self.figures = FileCounts()
        self.claims = Claims(verdict)
        self.further = Further(self.staging, self.origin, self.now)
        self.touched: list[KnownListing] = []
        self.deletions: list[Delete] = []
        self.replaced: list[KnownListing] = []  # therapists whose first listing is gone, and whom another one shows

    def file(self, items: Iterable[Item]) -> FileCounts:
        """Take all pages, then write what had to wait for the end."""
        source = iter(items)
        while page := list(islice(source, PAGE)):
            self._take(page)
        if (verdict := self.claims.verdict()) is not None:
            raise _Again(verdict)
        self._delete()
        self.staging.apply()
        for start in range(0, len(self.touched), _TOUCHED_AT_ONCE):
            self.staging.touch(self.touched[start : start + _TOUCHED_AT_ONCE], self.origin)
        self._announce_further()
        if self.figures.new > _MANY_NEW:
            self.staging.look_around()
        return self.figures

    # --- one page ---------------------------------------------------------------------------------------------

    def _take(self, page: Sequence[Item]) -> None:
        entries = list(self._sound(page))
        meant = [
            (entry, found)
            for entry, found in zip(entries, self._matches(entries), strict=True)
            if self._is_clear(entry, found) and self._claim(entry, found)
        ]
        rows = self.staging.rows([m.known for e, m in meant if m.known and needs_row(e, m.known, self.origin)])
        decisions = [self._decided(entry, found, rows) for entry, found in meant]
        if new := [one for one in decisions if isinstance(one, Create)]:
            self._create(new)
        if changed := [one for one in decisions if isinstance(one, Update)]:
            self._update(changed)
        for (entry, _), decision in zip(meant, decisions, strict=True):
            self._note(entry, decision)

    def _note(self, entry: TherapistEntry, decision: Decision) -> None:
        """Count an entry, and put by what is written at the end of the file."""
        further = isinstance(decision, Create) and (decision.owner is not None or self.further.is_further(decision))
        self.figures.count(entry, decision, further=further)
        if isinstance(decision, Touch):
            self.touched.append(decision.known)
            self.further.shows(decision.known)
        elif isinstance(decision, Delete):
            self.deletions.append(decision._replace(at=entry.at))

    def _decided(self, entry: TherapistEntry, found: ListingMatch, rows: Mapping[Key, Row]) -> Decision:
        if found.further is not None:
            if entry.status != "deleted":
                self.further.revives(found.further)
            return Create(entry, entry.status != "deleted", found.further.id)
        return decide(entry, found.known, self.origin, rows.get(found.known.key) if found.known else None)

    def _sound(self, page: Iterable[Item]) -> Iterator[TherapistEntry]:
        figures = self.figures
        for item in page:
            figures.entries += 1
            if isinstance(item, Broken):
                figures.broken += 1
                figures.refuse(item.at, item.code, item.path)
                continue
            figures.statuses[item.status or ""] += 1
            if self.context.erasures and self.context.erasures.has_therapist(item.values):
                figures.erased += 1
                figures.remark("erased_person", item.at)
                continue
            if item.status is not None and item.status not in STATUSES:
                figures.remark("unknown_status", item.at)
            yield item

    def _matches(self, entries: Sequence[TherapistEntry]) -> list[ListingMatch]:
        """Find out who the entries are: one question for the page, and two more where ids have to be looked at."""
        area, staging = self.origin.area, self.staging
        by_key = staging.by_key({one.natural_key for one in entries if one.natural_key})
        keyed = [by_key.get(one.natural_key or "", ()) for one in entries]
        ids = {one.source_id for one, known in zip(entries, keyed, strict=True) if needs_ids(one, area, known)}
        by_id = staging.by_id(area, {one for one in ids if one})
        unsure = {
            known
            for one, candidates in zip(entries, keyed, strict=True)
            if needs_ids(one, area, candidates)
            for known in (*candidates, *by_id.get(one.source_id or "", ()))
        }
        people = staging.people(unsure)
        return [
            identify(one, self.origin, known, by_id.get(one.source_id or "", ()), people)
            for one, known in zip(entries, keyed, strict=True)
        ]

    def _is_clear(self, entry: TherapistEntry, found: ListingMatch) -> bool:
        if found.reassigned:
            self.figures.remark("id_reassigned", entry.at)
        if found.ambiguous:
            self.figures.refuse(entry.at, "ambiguous")
        elif found.known is None and entry.natural_key is None:
            self.figures.refuse(entry.at, "no_postal_code", "location.postal_code")
        else:
            return True
        return False

    def _claim(self, entry: TherapistEntry, found: ListingMatch) -> bool:
        """Whether the entry is the one of this file that speaks for the listing."""
        claim = self.claims.claim(target_of(entry, found), entry)
        if claim == "ambiguous":
            self.figures.refuse(entry.at, claim)
        elif claim in ("duplicate_entry", "shown_elsewhere"):
            self.figures.unchanged += 1
            self.figures.remark(claim, entry.at)
        return claim == "speaks"

    # --- writing ----------------------------------------------------------------------------------------------

    def _create(self, new: Sequence[Create]) -> None:
        first, others = self.further.split(new)
        if first:
            self.creating.write(first)
        self.staging.note([self._noted(*one) for one in self.further.add(others)])

    def _update(self, changed: Sequence[Update]) -> None:
        for further in (False, True):
            updates = [one for one in changed if (one.known.location is not None) is further]
            rows = [self._updated(one) for one in updates]
            self.staging.stage(rows, further=further)
            news = [(row, one) for row, one in zip(rows, updates, strict=True) if one.changes.changed]
            self.staging.note([self._noted(one.known, change) for _, one in news for change in one.changes.changed])
            if not further:
                announce(self.connection, "updated", [row for row, _ in news])
            self.further.changed |= {one.known.id for _, one in news if further}
        for one in changed:
            self.further.shows(one.known, revived=one.revived)

    def _updated(self, one: Update) -> Row:
        entry, known, origin, values = one.entry, one.known, self.origin, one.changes.values
        return {
            "id": known.location or known.id,
            "area": origin.area,
            "source_id": entry.source_id or known.source_id,
            "natural_key": natural_key(values),
            "content_hash": entry.content_hash,
            "last_seen": origin.date,
            "seen_in": origin.name,
            "active": known.active or one.revived,
            "deleted_at": None if one.revived else known.deleted_at,
            "updated_at": self.now,
            **values,
        }

    def _noted(self, known: KnownListing | int, change: FieldChange) -> Row:
        further = isinstance(known, KnownListing) and known.location is not None
        return {
            "therapist_id": known if isinstance(known, int) else known.id,
            "field": f"locations.{change.field}" if further else change.field,
            "old_value": change.old,
            "new_value": change.new,
            "file_name": self.origin.name,
            "run_id": self.context.run_id,
            "changed_at": self.now,
        }

    def _delete(self) -> None:
        """Delete at the file's end, when it is known how many there are, and who has another listing."""
        deletions = self._counting()
        gone = [one.known for one in deletions if one.news]
        active = self.staging.active_in(self.origin.area) if len(gone) > _MANY else 0
        if len(gone) > _MANY and len(gone) > _SHARE * active and not self.context.allow_mass_delete:
            raise Suspicious(len(gone), active)
        for start in range(0, len(gone), PAGE):
            self._delete_page(gone[start : start + PAGE])
        again = [one.known for one in deletions if not one.news]
        self.staging.delete([*self.replaced, *again], {"deleted_at": self.origin.date})

    def _counting(self) -> list[Delete]:
        """The deletions, but for those of therapists whom another listing shows."""
        owners = [one.known.id for one in self.deletions if one.known.location is None]
        locations = {one.known.location for one in self.deletions}
        shown = self.staging.shown_by_locations(owners, self.origin.date.date(), locations) | self.further.shown
        counting = []
        for one in self.deletions:
            if one.known.location is None and one.known.id in shown:
                self.figures.updated += one.news
                self.figures.deleted -= one.news
                self.figures.remark("shown_elsewhere", one.at)
                self.replaced += [one.known] if one.news else []
            else:
                counting.append(one)
        return counting

    def _delete_page(self, gone: Sequence[KnownListing]) -> None:
        self.staging.delete(gone, {"deleted_at": self.origin.date, "updated_at": self.now})
        self.staging.note([self._noted(one, FieldChange("active", True, False)) for one in gone])
        own = [one.id for one in gone if one.location is None]
        announce(self.connection, "deleted", self.staging.therapists(own))
        self.further.changed |= {one.id for one in gone if one.location is not None}

    def _announce_further(self) -> None:
        """Tell of therapists whose listings changed places or changed, and of those whom one shows who had gone."""
        further, stood_in = self.further, set[int]()
        gone = [*(one.id for one in self.replaced), *sorted(further.reviving)]
        for start in range(0, len(gone), PAGE):
            news = dict(further.stand_in(gone[start : start + PAGE]))
            self.staging.note([self._noted(owner, change) for owner, changes in news.items() for change in changes])
            self.figures.fields.update(change.field for changes in news.values() for change in changes)
            stood_in |= news.keys()
        revived = [*self.staging.revive(list(further.reviving), self.now), *sorted(stood_in & further.reviving)]
        self.staging.note([self._noted(owner, FieldChange("active", False, True)) for owner in revived])
        self.figures.revived += len(revived)
        changed = sorted(self.further.changed | set(revived))
        for start in range(0, len(changed), PAGE):
            page = changed[start : start + PAGE]
            locations = self.staging.locations(page)
            rows = [{**row, "locations": locations.get(row["id"], [])} for row in self.staging.therapists(page)]
            announce(self.connection, "updated", rows)
