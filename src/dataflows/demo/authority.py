"""A made-up local authority: its children, the loader that fills its staging table, and what must come of each row."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import sqlalchemy as sa

from dataflows.flows.csc.table import create_table, staging_table
from dataflows.sandbox.synthetic import Object, synthetic_child

Change = Callable[[Object], None]


@dataclass
class StagedChild:
    """One row: what the table says of a child, what the receiver must hold in the end, and how the row must end."""

    child: Object
    held: Object | None
    status: str = "sent"
    row_state: str = "unchanged"
    response: str = ""  # how api_response must begin; empty: it is the receipt
    partly: bool = False  # only what changed was sent

    @property
    def name(self) -> str:
        return str(self.child["la_child_id"])


class Authority:
    """Stages children as the authority's own SQL job does, and remembers what it staged by row id."""

    def __init__(self, engine: sa.Engine, table: str, seed: int) -> None:
        create_table(engine, table)
        self._engine = engine
        self._table = staging_table(table)
        self._dice = Random(seed)  # noqa: S311 - chance that repeats
        self.records: dict[int, StagedChild] = {}

    def take_in(self, count: int, prepare: Mapping[int, Change] | None = None) -> None:
        """Stage new children; ``prepare`` changes the one of a row id before it is staged."""
        for row_id in range(len(self.records) + 1, len(self.records) + count + 1):
            child = synthetic_child(self._dice, row_id)
            if prepare and row_id in prepare:
                prepare[row_id](child)
            self.records[row_id] = StagedChild(child, child)
            self._insert(row_id, child)

    def restage(self, row_ids: Iterable[int], *changes: Change) -> Iterator[StagedChild]:
        """Stage children again, changed by one of ``changes`` in turn (none: as they were)."""
        for number, row_id in enumerate(row_ids):
            record = self.records[row_id]
            record.child = copy.deepcopy(record.child)
            if changes:
                changes[number % len(changes)](record.child)
            text = json.dumps(record.child, ensure_ascii=False)
            self._write(row_id, json_payload=text, submission_status="Pending", row_state="Updated")
            yield record

    def delete(self, row_ids: Iterable[int]) -> Iterator[StagedChild]:
        """Mark rows deleted; as with the real loader, their status stays what it is."""
        for row_id in row_ids:
            self._write(row_id, row_state="Deleted")
            yield self.records[row_id]

    def rows(self) -> dict[int, sa.Row[Any]]:
        """Read all rows as they are now."""
        with self._engine.connect() as connection:
            return {row.id: row for row in connection.execute(sa.select(self._table))}

    def _insert(self, row_id: int, child: Object) -> None:
        values = {"person_id": f"P{row_id}", "json_payload": json.dumps(child, ensure_ascii=False)}
        with self._engine.begin() as connection:
            connection.execute(self._table.insert().values(id=row_id, **values))

    def _write(self, row_id: int, **columns: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(self._table.update().where(self._table.c.id == row_id).values(**columns))


# --- what happens to a child ------------------------------------------------------------------------------------------


def moves_house(child: Object) -> None:
    """Another postcode (of the area ZZ99, which no address has)."""
    child["child_details"]["postcode"] = "ZZ99 9XX"


def is_assessed(child: Object) -> None:
    """One more assessment."""
    assessment = {"child_and_family_assessment_id": "SYN-CFA-DEMO", "start_date": "2026-03-01", "factors": ["2A"]}
    latest(child)["child_and_family_assessments"].append(assessment)


def loses_placement(child: Object) -> None:
    """A placement that was entered by mistake is gone."""
    latest(child)["child_looked_after_placements"].pop()


def is_closed(child: Object) -> None:
    """The latest episode ends."""
    latest(child).update(closure_date="2026-02-01", closure_reason="RC1")


def is_reopened(child: Object) -> None:
    """The end of the latest episode is taken back: two fields vanish."""
    for name in ("closure_date", "closure_reason"):
        del latest(child)[name]


def is_mistyped(child: Object) -> None:
    """A word where one letter is allowed."""
    child["child_details"]["sex"] = "female"


def latest(child: Object) -> Object:
    """Return the latest episode."""
    episode: Object = child["social_care_episodes"][-1]
    return episode
