"""What people do to a staging table and to the data folder of the program, as actions that a test can draw.

The loader stages, renames, swaps, deletes and overwrites; the administrator copies, renumbers, empties and moves.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import sqlalchemy as sa

from tests.flows.csc.judge import UNSENDABLE, Memory, child_of
from tests.flows.csc.world import Loader

Object = dict[str, Any]

NAMES = ["A1", "a1", "B2", "C3", "D4", "E5"]  # the first two differ in letter case alone
PERSONS = [None, "p1", "p2", "p3"]
PENDING = ["Pending", "pending", "PENDING ", "Error"]
DELETED = ["Deleted", "deleted", "DELETED "]
HABITS = ["kept", "moved", "moved when sent", "overwritten"]
NOBODY = ["{", "[]", "{}", '{"la_child_id": null}', '{"la_child_id": "A1", "la_child_id": "B2"}']
ORDERS = ["as it is", "reversed", "rotated", "shifted"]


def plans(*names: str) -> list[Object]:
    """Child protection plans of these ids."""
    return [{"child_protection_plan_id": name, "start_date": "2024-01-03"} for name in names]


_EPISODES: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {"social_care_episode_id": st.sampled_from(["e1", "e2"])},
    optional={
        "closure_date": st.just("2024-06-30"),
        "care_worker_details": st.sampled_from([[], [{"worker_id": "w1"}], [{"worker_id": "w1"}, {"worker_id": "w1"}]]),
        "child_protection_plans": st.sampled_from([plans("p1"), plans("p2"), plans("p1", "p2")]),
        "adoption": st.sampled_from([{}, {"matched_date": "2024-02-02"}]),
    },
)
CONTENTS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "mis_child_id": st.sampled_from(["m1", "m2"]),
        "child_details": st.sampled_from([{"sex": "F"}, {"sex": "F", "postcode": "ZZ99 3CZ"}]),
        "social_care_episodes": st.lists(
            _EPISODES, max_size=2, unique_by=lambda one: str(one["social_care_episode_id"])
        ),
    },
)


class Authority(Loader):
    """A staging table, the loader that fills it, and the administrator who moves it.

    Args:
        url: the database of the table.
        elsewhere: another database, for when the table is copied or moved.
        habit: what the loader does with previous_json_payload when it loads another payload into a row: it leaves it
            alone, moves the old payload there (always, or only once it was sent), or writes what it likes.
    """

    def __init__(self, url: str, elsewhere: str, habit: str) -> None:
        super().__init__(url)
        self.url = url
        self.habit = habit
        self.history: list[str] = []
        self._other = Loader(elsewhere)
        self._other_url = elsewhere
        self.clear()

    def clear(self) -> None:
        """Empty both tables."""
        for loader in (self, self._other):
            _refill(loader, [])

    def close(self) -> None:
        """Let go of the databases."""
        for loader in (self, self._other):
            loader.engine.dispose()

    def at(self, number: int) -> sa.Row[Any] | None:
        """One of the rows, whatever the number; None in an empty table."""
        rows = self.rows()
        return rows[number % len(rows)] if rows else None

    # --- the loader -----------------------------------------------------------------------------------------------

    def insert(self, name: str, contents: Object, person: str | None, **columns: Any) -> int:
        """A new row."""
        payload = {"la_child_id": name, **contents}
        self.history.append(json.dumps(payload))
        (row_id,) = self.stage(payload, person_id=person, **columns)
        return row_id

    def reload(self, row: sa.Row[Any], payload: Object | str, status: str = "Pending", whim: int = 0) -> None:
        """Another payload in a row, updated in place; the row lives."""
        text = payload if isinstance(payload, str) else json.dumps(payload)
        changed: dict[str, Any] = {"json_payload": text, "submission_status": status, "row_state": "Updated"}
        sent = row.submission_status == "sent"
        if self.habit == "moved" or (self.habit == "moved when sent" and sent):
            changed["previous_json_payload"] = row.json_payload
        elif self.habit == "overwritten":
            changed["previous_json_payload"] = self.anything(row, whim)
        self.history.append(text)
        self.change(row.id, **changed)

    def anything(self, row: sa.Row[Any], whim: int) -> str | None:
        """What a loader may leave in previous_json_payload: nothing, rubbish, or something that was staged before."""
        own = [text for text in self.history if child_of(row) and f'"{child_of(row)}"' in text]
        choices: list[str | None] = [None, row.json_payload, "", "{", "{}", *own]
        return choices[whim % len(choices)]

    def rename(self, row: sa.Row[Any], name: str, **columns: Any) -> None:
        """The child of a row gets another identifier, all else stays."""
        payload = {**(_object(row.json_payload) or {}), "la_child_id": name}
        self.reload(row, payload)
        if columns:
            self.change(row.id, **columns)

    def ring(self, rows: Sequence[sa.Row[Any]]) -> None:
        """The children of these rows swap their identifiers, each taking that of the next row."""
        names = [child_of(row) for row in rows]
        for row, name in zip(rows, [*names[1:], *names[:1]], strict=True):
            if name is not None:
                self.rename(row, name)

    def remove(self, *rows: sa.Row[Any]) -> None:
        """Rows vanish without a word."""
        with self.engine.begin() as connection:
            connection.execute(self.table.delete().where(self.table.c.id.in_([row.id for row in rows])))

    # --- the administrator ----------------------------------------------------------------------------------------

    def renumber(self, order: str) -> None:
        """The same rows with other ids."""
        _refill(self, _numbered(self.rows(), order))

    def copy_elsewhere(self, order: str) -> None:
        """The table is copied to the other database, and used there from now on."""
        _refill(self._other, _numbered(self.rows(), order))
        self.engine, self._other.engine = self._other.engine, self.engine
        self.url, self._other_url = self._other_url, self.url

    def fill_again(self, missing: set[int], order: str) -> None:
        """The table is emptied and filled again, with nothing but payloads; some rows are missing."""
        rows = [row for number, row in enumerate(self.rows()) if number not in missing]
        kept = ("person_id", "json_payload", "row_state")
        fresh = [{name: row[name] for name in kept} for row in _numbered(rows, order)]
        states = ["Deleted" if row["row_state"].strip().lower() == "deleted" else "New" for row in fresh]
        numbers = range(1, len(fresh) + 1)
        told = zip(fresh, numbers, states, strict=True)
        _refill(self, [{**row, "id": number, "row_state": state} for row, number, state in told])


def _refill(loader: Loader, rows: Sequence[Mapping[str, Any]]) -> None:
    with loader.engine.begin() as connection:
        connection.execute(loader.table.delete())
        for row in rows:
            connection.execute(loader.table.insert().values(**row))


def _numbered(rows: Sequence[sa.Row[Any]], order: str) -> list[dict[str, Any]]:
    """The rows with ids in another order, sorted by them."""
    plain = [dict(row._mapping) for row in rows]
    match order:
        case "reversed":
            plain.reverse()
        case "rotated":
            plain = plain[1:] + plain[:1]
        case "shifted":
            return [{**row, "id": row["id"] + 1000} for row in plain]
        case _:
            return plain
    return [{**row, "id": number} for number, row in enumerate(plain, 1)]


def _object(text: str | None) -> Object | None:
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def unsendable(name: str) -> Object:
    """A payload that names a child and breaks an attribute rule."""
    return {"la_child_id": name, **UNSENDABLE}


# --- the program's data folder ---------------------------------------------------------------------------------------


@dataclass
class Installation:
    """The data folder of the program on one machine, and what its journal can know of each receiver."""

    folder: Path
    memories: dict[str, Memory] = field(default_factory=dict)
    key_lost: bool = False
    receivers: dict[str, set[str]] = field(default_factory=dict)
    """The receivers that each database was sent to."""

    def memory(self, la_code: str) -> Memory:
        """What its journal can know of a receiver."""
        return self.memories.setdefault(la_code, Memory())

    def clear(self) -> None:
        """Nothing was ever here."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.memories, self.key_lost, self.receivers = {}, False, {}

    def copy_to(self, backup: Path) -> dict[str, Memory]:
        """Back the folder up; returns what the copy knows."""
        shutil.rmtree(backup, ignore_errors=True)
        if self.folder.exists():
            shutil.copytree(self.folder, backup)
        return deepcopy(self.memories)

    def restore(self, backup: Path, memories: dict[str, Memory]) -> None:
        """Put a backup in the place of the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if backup.exists():
            shutil.copytree(backup, self.folder)
        self.memories, self.key_lost = deepcopy(memories), False

    def lose_key(self) -> bool:
        """The key of the journal is gone; tells whether there was one."""
        key = self.folder / "journal.key"
        there = key.exists() and (self.folder / "journal.db").exists()
        there = there and any(memory.believed for memory in self.memories.values())  # else it kept nothing yet
        if there:
            key.unlink()
            self.key_lost = True
        return there
