"""What is held of one patient: rows, local copies, quarantine, and what lies in the bucket. See docs/person.md."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.errors import DataflowsError, SettingUnusable
from dataflows.flows.practice.asked import PersonAsked, Seen, SeveralPeople
from dataflows.flows.practice.erasures import CONTENT, OBJECT
from dataflows.flows.practice.patients.bucket import BucketClient
from dataflows.flows.practice.patients.objects import COPIES, BackupFolder, ListedObject, Vanished, all_files_in, usual
from dataflows.flows.practice.patients.registration import NotARegistration, unpacked
from dataflows.store.encodings import encoding_of
from dataflows.store.practice.database import within
from dataflows.store.practice.tables import (
    outbox,
    patient_consents,
    patient_registrations,
    patient_tracking,
    patients,
)

__all__ = [
    "TABLES",
    "PatientHoldings",
    "Places",
    "delete_copies",
    "delete_objects",
    "look_for",
    "patients_named",
]

TABLES = (patient_tracking, patient_consents, patient_registrations, patients, outbox)
"""In the order in which rows are deleted: those that refer to others come first."""
TOPIC = "patient-events"
_t = patient_tracking.c
_TRACKED = (_t.id, _t.object_name, _t.generation, _t.copy_name, _t.sha256, _t.patient_id)
_TEXT = r'"{}"\s*:\s*("(?:[^"\\]|\\.)*")'

Rows: TypeAlias = Sequence[sa.Row[Any]]


@dataclass
class PatientHoldings:
    """What is held of a patient; ``unclear`` are names of files and objects of which it cannot be told whose they are.

    ``out_of_reach``: what could not be looked at, and why in our own words.
    """

    ids: list[int] = field(default_factory=list)
    rows: dict[sa.Table, Rows] = field(default_factory=dict)
    copies: list[Path] = field(default_factory=list)
    quarantined: list[Path] = field(default_factory=list)
    objects: list[ListedObject] = field(default_factory=list)
    unclear: set[str] = field(default_factory=set)
    out_of_reach: dict[str, DataflowsError] = field(default_factory=dict)
    hashes: set[str] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """How much there is, by place."""
        tables = {table.name: len(self.rows.get(table, ())) for table in reversed(TABLES)}
        events = tables.pop(outbox.name)
        files = {"copies": len(self.copies), "quarantine": len(self.quarantined), "bucket": len(self.objects)}
        return {**tables, "events": events, **files}

    def names(self) -> set[str]:
        """The names of objects and copies, under whose keyed hashes the person was told of."""
        rows = [*self.rows.get(patient_tracking, ()), *self.rows.get(patient_registrations, ())]
        tracked = {name for row in rows for name in (row.object_name, row.copy_name) if name}
        return tracked | {one.name for one in self.objects} | {one.name for one in (*self.copies, *self.quarantined)}

    def signs(self) -> Iterator[tuple[str, str]]:
        """By what the same registration is known again: its bytes, and its object's name where that has a token."""
        yield from ((CONTENT, one) for one in self.hashes)
        yield from ((OBJECT, one) for one in self.names() if usual(one))


# --- who they are -----------------------------------------------------------------------------------------------------


def patients_named(connection: sa.Connection, asked: PersonAsked) -> dict[int, Seen]:
    """The patients of that name, by id."""
    p = patients.c
    query = sa.select(p.id, p.vorname, p.nachname, p.email, p.geburtsdatum).order_by(p.id)
    found = ((row[0], Seen.of(*row[1:])) for row in connection.execute(query))
    return {number: seen for number, seen in found if asked.is_named(seen)}


@dataclass(frozen=True)
class Places:
    """Where to look beside the database; ``bucket`` None: not there. ``max_bytes``: PATIENT_MAX_BYTES."""

    copies: BackupFolder
    bucket: BucketClient | None
    bucket_name: str
    max_bytes: int


@dataclass(frozen=True)
class _Judge:
    """Says whether a file or object that belongs to no patient's row is of this person: None when it cannot be told."""

    asked: PersonAsked
    seen: Sequence[Seen]
    namesakes: bool
    """Whether there are other patients of that name."""

    def verdict(self, name: str, said: Seen | None) -> bool | None:
        if not (self.asked.is_named_by(name) if said is None else self.asked.is_named(said)):
            return False
        born = {one.born for one in self.seen if one.born}
        emails = {one.email for one in self.seen if one.email}
        if said is not None and said.born and born:
            return said.born in born
        if said is not None and said.email and emails:
            return True if said.email in emails else None
        return None if self.namesakes else True


def _said_in(data: bytes, max_bytes: int) -> Seen | None:
    """Whom a registration is about, also one that is broken; None where it does not say."""
    try:
        text = unpacked(data, max_bytes).decode(encoding_of([data]) or "utf-8", errors="replace")
    except (NotARegistration, LookupError):
        return None
    names = ("vorname", "nachname", "email", "geburtsdatum")
    try:
        section = json.loads(text.lstrip("\ufeff"))["patient_data"]
        said = [section.get(name) for name in names]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        found = [re.search(_TEXT.format(name), text) for name in names]
        said = [_unquoted(one[1]) if one else None for one in found]
    seen = Seen.of(*said)
    return seen if seen.first_name and seen.last_name else None


def _unquoted(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip('"')


# --- what is held -----------------------------------------------------------------------------------------------------


def look_for(connection: sa.Connection, asked: PersonAsked, ids: Sequence[int], places: Places) -> PatientHoldings:
    """Look through all places for the patients of these ids, and for what names the person and belongs to no patient.

    Raises SeveralPeople where what belongs to no patient is of more than one person.
    """
    named = patients_named(connection, asked)
    judge = _Judge(asked, [*(named[one] for one in ids), asked.who], bool(named.keys() - set(ids)))
    return _PatientSearch(connection, judge, list(ids), places).found()


class _PatientSearch:
    def __init__(self, connection: sa.Connection, judge: _Judge, ids: list[int], places: Places) -> None:
        self._connection = connection
        self._judge = judge
        self._ids = ids
        self._places = places
        self._held = PatientHoldings(ids)
        self._born = {one.born for one in judge.seen if one.born}
        self._verdicts: dict[str | tuple[str, int], bool | None] = {}
        """Of copies by their name, of objects by name and generation."""

    def found(self) -> PatientHoldings:
        held = self._held
        for table in (patients, patient_registrations, patient_consents):
            held.rows[table] = self._rows(table, table.c.id if table is patients else table.c.patient_id, self._ids)
        held.hashes = {row.sha256 for row in held.rows[patient_registrations]}
        keys = [str(one) for one in self._ids]
        held.rows[outbox] = [row for row in self._rows(outbox, outbox.c.key, keys) if row.topic == TOPIC]
        tracked: Sequence[Any] = self._connection.execute(sa.select(*_TRACKED).order_by(_t.id)).all()
        self._look_at_copies({row.copy_name: row.patient_id for row in tracked if row.patient_id and row.copy_name})
        self._look_at_bucket({(row.object_name, row.generation): row.patient_id for row in tracked if row.patient_id})
        mine = [row.id for row in tracked if self._is_theirs(row)]
        held.rows[patient_tracking] = self._rows(patient_tracking, _t.id, mine)
        self._look_at_other_buckets()
        if len(self._born) > 1 and not self._ids:
            raise SeveralPeople(
                "registrations of more than one person of that name are held, who are no patients yet",
                reason="person-several",
                hint="give the date of birth as well",
            )
        return held

    def _rows(self, table: sa.Table, column: sa.Column[Any], values: Sequence[int] | Sequence[str]) -> Rows:
        if not values:
            return []
        chosen = sa.select(table).where(within(self._connection, column, values))
        return self._connection.execute(chosen.order_by(next(iter(table.primary_key)))).all()

    def _is_theirs(self, row: Any) -> bool:
        if row.patient_id is not None:
            return row.patient_id in self._ids
        if row.sha256 in self._held.hashes:
            return True
        for key in ((row.object_name, row.generation), row.copy_name):
            if key in self._verdicts:
                return bool(self._verdicts[key])
        return bool(self._judged(row.object_name, None))

    def _look_at_copies(self, owners: Mapping[str, int]) -> None:
        copies, held = self._places.copies, self._held
        for place, found in ((copies.folder, held.copies), (copies.quarantine, held.quarantined)):
            try:
                for path in all_files_in(place):
                    owner = owners.get(path.name)
                    if owner is None or owner in self._ids:
                        self._look_at_copy(path, found, is_mine=owner is not None)
            except DataflowsError as error:
                held.out_of_reach["copies"] = error

    def _look_at_copy(self, path: Path, found: list[Path], *, is_mine: bool) -> None:
        try:
            data = path.read_bytes()
        except OSError:  # its name tells; what cannot be read may be removed all the same
            data = b""
        self._verdicts[path.name] = verdict = is_mine or self._judged(path.name, data)
        if verdict:
            found.append(path)
            self._held.hashes.add(hashlib.sha256(data).hexdigest())

    def _look_at_bucket(self, owners: Mapping[tuple[str, int], int]) -> None:
        client = self._places.bucket
        if client is None:
            return
        try:
            for about in client.objects().objects:
                owner = owners.get((about.name, about.generation))
                theirs = owner in self._ids if owner is not None else self._is_their_object(client, about)
                self._held.objects += [about] if theirs else []
        except DataflowsError as error:
            self._held.out_of_reach["bucket"] = error

    def _is_their_object(self, client: BucketClient, about: ListedObject) -> bool:
        """By its content, unless its name says that it is somebody else's."""
        data = None
        if usual(about.name) and not self._judge.asked.is_named_by(about.name):
            return False
        if about.generation and about.size is not None and about.size <= self._places.max_bytes:
            data = _downloaded(client, about)
        self._verdicts[about.name, about.generation] = verdict = self._judged(about.name, data)
        if verdict and data is not None:
            self._held.hashes.add(hashlib.sha256(data).hexdigest())
        return bool(verdict)

    def _look_at_other_buckets(self) -> None:
        names = {row.bucket for row in self._held.rows[patient_tracking] if row.deleted_at is None}
        for name in names - {self._places.bucket_name, COPIES}:
            self._held.out_of_reach[f"bucket {name}"] = SettingUnusable(
                "objects were seen there that nobody saw go",
                reason="person-other-bucket",
                hint="look there with GCS_BUCKET set to it",
            )

    def _judged(self, name: str, data: bytes | None) -> bool | None:
        if data is not None and hashlib.sha256(data).hexdigest() in self._held.hashes:
            return True
        said = None if data is None else _said_in(data, self._places.max_bytes)
        verdict = self._judge.verdict(name, said)
        (self._held.unclear.add if verdict is None else self._held.unclear.discard)(name)
        if verdict and said is not None and said.born:
            self._born.add(said.born)
        return verdict


def _downloaded(client: BucketClient, about: ListedObject) -> bytes | None:
    try:
        return client.download(about)
    except Vanished:
        return None


# --- what becomes of it -----------------------------------------------------------------------------------------------


def delete_objects(client: BucketClient, objects: Iterable[ListedObject]) -> Iterator[DataflowsError]:
    """Delete objects of the bucket; yields why, for each that could not be."""
    for one in objects:
        try:
            client.delete(one.name, one.generation)
        except DataflowsError as error:
            yield error


def delete_copies(copies: BackupFolder, paths: Collection[Path]) -> int:
    """Delete local copies and what says why they were given up; returns how many could not be."""
    return sum(not copies.remove(path) for path in paths)
