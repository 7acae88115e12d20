"""What a receiver must hold after a night, judged from the table, the requests that arrived and the report alone.

Written from the published rules (who a row speaks for, what is owed a purge, what is held back), not from the program
that it judges. It is told what a person cannot see, such as which journal was lost; it never asks the program.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa

from dataflows.sandbox.model import Stored
from tests.flows.csc.truth import contains, same

Object = dict[str, Any]
Row = sa.Row[Any]
Held = Mapping[str, Stored]
GUARD_FLOOR, GUARD_PERCENT = 10, 5.0
UNSENDABLE: Final[Object] = {"child_details": {"sex": "neither"}}  # breaks an attribute rule
_SUPERSEDED = "error: superseded by row"


class _Anything:
    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Final = _Anything()  # nobody can say what the receiver holds of this child, only that it must not be purged


# --- who speaks ------------------------------------------------------------------------------------------------------


def named(text: str | None) -> str | None:
    """The child that a payload names; None for unreadable JSON, a key twice at the top, or no identifier."""
    found = _read(text)
    name = found.get("la_child_id") if found else None
    return name if isinstance(name, str) and name else None


def _read(text: str | None) -> Object | None:
    top: list[tuple[str, Any]] = []  # the outermost object is the last to be closed

    def closed(pairs: list[tuple[str, Any]]) -> Object:
        top[:] = pairs
        return dict(pairs)

    try:
        value = json.loads(text or "", object_pairs_hook=closed)
    except ValueError:
        return None
    return value if isinstance(value, dict) and len(value) == len(top) else None


def _word(text: str | None) -> str:
    return (text or "").strip().lower()


def deleted(row: Row) -> bool:
    """Whether the loader says that the child is gone."""
    return _word(row.row_state) == "deleted"


def due(row: Row) -> bool:
    """Whether a night looks at this row."""
    return deleted(row) or (_word(row.submission_status) in ("pending", "error") and bool(row.json_payload))


def child_of(row: Row) -> str | None:
    """The child that a row names: by its payload, a deleted row else by its previous one."""
    return named(row.json_payload) or (named(row.previous_json_payload) if deleted(row) else None)


def sendable(row: Row) -> bool:
    """Whether the payload of a row keeps the attribute rules."""
    return not (_read(row.json_payload) or UNSENDABLE).items() >= UNSENDABLE.items()


def speakers(rows: Sequence[Row]) -> dict[str, Row]:
    """For every child the row that speaks: the highest id of those that name it, whatever else they say."""
    return {name: row for row in sorted(rows, key=lambda one: one.id) if (name := child_of(row))}


def others_speak(name: str, speaking: Mapping[str, Row]) -> list[Row]:
    """The rows that speak for this identifier in other letter case; receivers may ignore it."""
    return [row for other, row in speaking.items() if other != name and other.lower() == name.lower()]


def superseded(row: Row) -> bool:
    """Whether we said of a row that a newer one counts, and nobody staged it since."""
    return _word(row.submission_status) == "error" and (row.api_response or "").startswith(_SUPERSEDED)


def contradicted(name: str, rows: Sequence[Row]) -> bool:
    """Whether a living row is against the purge of a child that is deleted, or that nobody names any more."""
    speaking = speakers(rows)
    row = speaking.get(name)
    if row is not None and not deleted(row):
        return False
    against = any(child_of(one) == name and not deleted(one) and not superseded(one) for one in rows)
    return against or any(not deleted(one) for one in others_speak(name, speaking))


# --- what one data folder can know -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Receipt:
    """An acknowledgement: from which row of whom, and whether nobody else was given the same receipt."""

    text: str
    row_id: int | None
    person: str | None
    alone: bool
    home: str


@dataclass
class Memory:
    """What the journal of one data folder can know of one receiver; lost, copied and put back with it.

    Attributes:
        believed: what the receiver made of the last request for each child that left from here.
        latest: the latest acknowledgement of each child that surely was noted.
        heard: every acknowledgement that may have been noted.
        unanswered: every request without an answer of use, likewise: the child may be held, and the row named it.
        owed, perhaps_owed: children that changed their name and surely (perhaps) wait for their purge.
        doubted: children of whom a night saw that another journal sent them.
        adopted: receipts that a takeover took for its own.
        home: where the table was.
        estranged: children that were sent from a table that nothing ties to the one of now.
        shaken: whether a night broke off, or anything else may have left doubts; then a figure may be too high.
        anew: whether it began over a table that somebody, or it for another receiver, had sent before.
    """

    believed: dict[str, Stored | None] = field(default_factory=dict)
    latest: dict[str, Receipt] = field(default_factory=dict)
    heard: dict[str, set[Receipt]] = field(default_factory=dict)
    unanswered: dict[str, set[Receipt]] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)
    perhaps_owed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    adopted: set[str] = field(default_factory=set)
    home: str = ""
    estranged: set[str] = field(default_factory=set)
    shaken: bool = False
    anew: bool = False
    most_rows: int = 0

    def recognises(self, rows: Sequence[Row], given: set[str]) -> bool | None:
        """Whether the table is known by its receipts; None where both answers are right."""
        shown = {row.api_response for row in rows} & given
        if not shown or shown & {one.text for one in self.latest.values()}:
            return True
        # what was adopted needed no write-back, so a journal need not have kept it, and may ask once more elsewhere
        ever = {one.text for several in self.heard.values() for one in several} | self.adopted
        return None if shown & ever else False

    def comes_to(self, home: str, rows: Sequence[Row]) -> None:
        """The table is there tonight; nothing but its receipts ties it to what was elsewhere."""
        shown = {row.api_response for row in rows}
        if home != self.home and not shown & {one.text for one in self.latest.values()}:
            self.estranged |= set(self.believed)
        self.home = home

    def foreign(self, row: Row, given: set[str]) -> bool:
        """Whether a row shows a receipt that this journal surely did not write."""
        ever = {one.text for several in self.heard.values() for one in several}
        return row.api_response in given - ever


def renamed(rows: Sequence[Row], receipts: Mapping[str, set[Receipt]]) -> dict[str, Row]:
    """Children that a row named before, by its previous payload or by an acknowledgement, and that row."""
    found: dict[str, Row] = {}
    for row in rows:
        now = child_of(row)
        before = {named(row.previous_json_payload)}
        before |= {name for name, several in receipts.items() if any(_from(one, row) for one in several)}
        found |= {name: row for name in before if now and name and name != now}
    return found


def _from(receipt: Receipt, row: Row) -> bool:
    same_row = receipt.row_id == row.id and bool(receipt.person) and receipt.person == row.person_id
    return same_row or (receipt.alone and receipt.text == row.api_response)


# --- one night -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """How the operator ran the program."""

    takeover: bool = False
    requeue: bool = False
    purge_orphans: bool = False
    allow_mass_delete: bool = False
    child: str | None = None
    resend: bool = False
    purge: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a night ended; ``undisturbed``: no fault, no kill, no loader at work meanwhile, and nothing left aside."""

    code: int
    report: Mapping[str, Any]
    undisturbed: bool


class Judge:
    """Judges the nights of one receiver, one after the other."""

    def __init__(self, *, reset: str) -> None:
        self.reset = reset
        self.said: dict[str, Object | _Anything | None] = {}
        self.stale: set[str] = set()
        self.given: set[str] = set()
        self.budget = 0.0

    def begins(self, rows: Sequence[Row], home: str, held: Held, memory: Memory, asked: Asked) -> Night:
        """A night begins with this table, which is there, and this receiver."""
        memory.comes_to(home, rows)
        memory.most_rows = max(memory.most_rows, len(rows))
        return Night(self, rows, dict(held), memory, asked)


class Night:
    """One night: told of every request that the receiver accepts, then asked whether all is well."""

    def __init__(self, judge: Judge, rows: Sequence[Row], held: Held, memory: Memory, asked: Asked) -> None:
        self.judge, self.memory, self.asked = judge, memory, asked
        self.rows = self.first = list(rows)
        self.held = dict(held)
        self.speaking = speakers(rows)
        self.posted: list[tuple[str, bool]] = []
        near = {
            name: {one if one.home == memory.home else replace(one, row_id=None)} for name, one in memory.latest.items()
        }
        self.evidence = renamed([row for row in rows if self._due(row)], near)
        memory.perhaps_owed |= set(renamed(rows, memory.heard)) | set(renamed(rows, memory.unanswered)) | memory.owed
        self.behind = {n for n in self.speaking if n in held and memory.believed.get(n, ANYTHING) != held[n]}
        self.untold = {n for n in self.behind if n not in memory.believed} if not asked.requeue else set(self.behind)
        self._expect()

    def _due(self, row: Row) -> bool:
        return due(row) or (self.asked.requeue and bool(row.json_payload))

    def _expect(self) -> None:
        """Note what the rows that speak say, as far as this night will look at them."""
        for name, row in self.speaking.items():
            said = self.judge.said
            if others_speak(name, self.speaking):
                said[name] = ANYTHING  # it may wait until somebody decides, living or deleted
            elif deleted(row):
                said[name] = self._of_deleted(name, row)
            elif not sendable(row):
                said[name] = ANYTHING  # stays as it is
            elif self._due(row):
                said[name] = _read(row.json_payload)
                if self._blind(name, row):
                    said[name] = ANYTHING
            elif said.get(name) != _read(row.json_payload):
                said[name] = ANYTHING  # another row speaks now, and nobody asked for it to be sent

    def _of_deleted(self, name: str, row: Row) -> _Anything | None:
        if contradicted(name, self.first):
            return ANYTHING
        if self.asked.requeue and any(child_of(one) == name and not deleted(one) for one in self.first):
            return ANYTHING  # the older row that was superseded is pending again
        known = name in self.memory.believed
        if known and self.memory.believed[name] is not None:
            return None
        return ANYTHING if known or _purged_by_its_own_word(row) else None

    def _blind(self, name: str, row: Row) -> bool:
        """Whether this journal believes something else of a child than what is held, and no receipt warns of it."""
        warned = name in self.memory.doubted or self.memory.foreign(row, self.judge.given)
        return name in self.behind - self.untold and not warned

    # --- while it runs ------------------------------------------------------------------------------------------

    def loader_acted(self, rows: Sequence[Row]) -> None:
        """The table is another one from now on."""
        self.rows = list(rows)

    def arrives(self, records: Sequence[Object]) -> str:
        """Say what is wrong with a request, before it is carried out; empty when nothing is."""
        speaking = speakers(self.rows)
        for record in records:
            name, purge = str(record["la_child_id"]), record.get("purge") is True
            self.posted.append((name, purge))
            wrong = self._wrong_purge(name, speaking) if purge else self._wrong_data(name, speaking)
            if wrong:
                return f"{name}: {wrong}"
        return self._too_many(speaking)

    def _too_many(self, speaking: Mapping[str, Row]) -> str:
        """The guard: so few are held that more purges than the floor are always too many."""
        alive = {name for name, row in speaking.items() if not deleted(row)}
        gone = {name for name, purge in self.posted if purge and name in self.held} - alive
        few = len(self.held) * GUARD_PERCENT <= GUARD_FLOOR * 100
        guarded = few and self.asked.child is None and not self.asked.allow_mass_delete
        return f"{len(gone)} children were purged past the guard" if guarded and len(gone) > GUARD_FLOOR else ""

    def _wrong_purge(self, name: str, speaking: Mapping[str, Row]) -> str:
        by_hand = self.asked.child == name and (self.asked.purge or self.asked.resend)
        row = speaking.get(name)
        if by_hand:
            return ""
        if contradicted(name, self.rows):
            return "a child that is contradicted was purged"
        if row is not None and not deleted(row):
            started = self.speaking.get(name)
            waits = self._due(row) or (started is not None and self._due(started))
            return "" if waits else "a live child of whom nothing was pending was purged"
        if row is None and name not in self.memory.perhaps_owed and not self.asked.purge_orphans:
            return "an orphan was purged that nobody asked for"
        return ""

    def _wrong_data(self, name: str, speaking: Mapping[str, Row]) -> str:
        if self.asked.child == name and self.asked.resend:
            return ""
        row = self.speaking.get(name)
        if row is None or deleted(row):
            return "was sent although no row that lives speaks for it"
        if not sendable(row):
            return "was sent although it breaks a rule"
        return "" if self._due(row) else "was sent although nothing of it was pending"

    def accepted(self, records: Sequence[Object], receipts: Sequence[str], held: Held) -> None:
        """The receiver carried a request out, and answers with these receipts (none: with nothing of use)."""
        self.judge.given |= set(receipts)
        for place, record in enumerate(records):
            name = str(record["la_child_id"])
            self.memory.believed[name] = held.get(name)
            self.memory.estranged.discard(name)
            row = self.speaking.get(name)
            text = receipts[place] if receipts else ""
            one = Receipt(text, row and row.id, row and row.person_id, receipts.count(text) == 1, self.memory.home)
            noted = self.memory.heard if receipts else self.memory.unanswered
            noted.setdefault(name, set()).add(one)
            if record.get("purge") is not True:
                for old, row in self.evidence.items():
                    if child_of(row) == name and old not in self.speaking:
                        self.memory.owed.add(old)  # it was in the journal before this left

    # --- when it is over ----------------------------------------------------------------------------------------

    def ends(self, rows: Sequence[Row], held: Held, ended: Ended | None) -> list[str]:
        """Everything that is wrong after the night (None: it was killed), in words."""
        self._learn(rows, held)
        if ended is None:
            self.judge.budget = float("inf")
            self.memory.shaken = True
            return []
        self.judge.budget += int(ended.report.get("untrusted", 0))
        if not ended.undisturbed:
            self.memory.shaken = True
            return []
        if self.asked.child is not None:
            return [*self._unfinished_resets(), *self._by_hand(self.asked.child, rows, held, ended)]
        self.memory.doubted |= {n for n in self.behind if self.memory.foreign(self.speaking[n], self.judge.given)}
        wrong = [*self._unfinished_resets(), *self._children(held, ended), *self._orphans(held, ended)]
        wrong += self._rows(rows)
        untrusted = int(ended.report.get("untrusted", 0))
        settled = not (self.memory.shaken or self.memory.anew or self.behind)
        if untrusted and settled:
            wrong.append(f"{untrusted} children are untrusted, and nothing ever went wrong")
        self.memory.shaken, self.judge.budget = False, 0.0
        self.memory.doubted &= {n for n in held if self.memory.believed.get(n) != held[n]}
        return wrong

    def _by_hand(self, name: str, rows: Sequence[Row], held: Held, ended: Ended) -> list[str]:
        """One child was asked for: nobody else is touched, and it is held as its row says, or is gone."""
        meant = {name} | {old for old, row in self.evidence.items() if child_of(row) == name}
        wrong = [f"{other}: was sent, and {name} was asked for" for other, _ in self.posted if other not in meant]
        now = {row.id: row for row in rows}
        wrong += [f"row {row.id}: was touched" for row in self.first if not _about(row, name) and now[row.id] != row]
        if ended.code == 2:
            return wrong + [f"exit 2, and {self.posted} left" for _ in self.posted[:1]]
        row, doubtful = self.speaking.get(name), contradicted(name, self.first)
        done = ended.code == 0 and not doubtful
        if self.asked.resend and done and row is not None and not deleted(row):
            said = self.judge.said[name] = _read(row.json_payload)
            self.judge.stale.discard(name)
            if not same(held.get(name), said):
                wrong.append(f"{name}: was sent again, and is held as {held.get(name)}")
        elif self.asked.purge or self.asked.resend:
            self.judge.said[name] = ANYTHING
            if name in held and ended.code == 0 and (self.asked.purge or (row is not None and not doubtful)):
                wrong.append(f"{name}: was to be purged, and is still there")
        return wrong

    def _learn(self, rows: Sequence[Row], held: Held) -> None:
        """What a row shows was in the journal before."""
        shown = {row.api_response: row for row in rows}
        for name in {name for name, _ in self.posted}:
            told = [one for one in self.memory.heard.get(name, ()) if one.text in shown]
            self.memory.latest.pop(name, None)
            for one in told:
                if one.row_id in (row.id for row in rows if row.api_response == one.text):
                    self.memory.latest[name] = one
        if self.asked.takeover:
            self.memory.adopted |= {row.api_response for row in self.first if row.api_response}
        gone = {name for name in self.memory.owed if name in self.speaking or name not in held}
        self.memory.owed -= gone

    def _unfinished_resets(self) -> list[str]:
        """A live child that was purged must have followed whole."""
        left: dict[str, bool] = dict(self.posted)  # the last request of each child
        by_hand = self.asked.child if self.asked.purge else None
        return [
            f"{name}: purged, and not sent again in the same night"
            for name, purge in left.items()
            if purge and name != by_hand and (row := speakers(self.rows).get(name)) is not None and not deleted(row)
        ]

    def _children(self, held: Held, ended: Ended) -> list[str]:
        wrong: list[str] = []
        remain: set[str] = {name for name in self._must_be_gone() if name in held}
        for name, row in self.speaking.items():
            said = self.judge.said[name]
            if said is ANYTHING:
                if not deleted(row) and name in self.held and name not in held:
                    wrong.append(f"{name}: lives, and is gone")
            elif said is None:
                remain |= {name} & set(held)
            else:
                wrong += self._exact(name, row, said, held)
        wrong += self._contradicted(held, ended)
        return wrong + self._held_back(remain, held, ended)

    def _must_be_gone(self) -> set[str]:
        """Children that changed their name: nobody speaks for them, and a row shows that it was them."""
        sure = {name for name, row in self.evidence.items() if deleted(row) or sendable(row)} | self.memory.owed
        sure = {name for name in sure if name in self.held and not others_speak(name, self.speaking)}
        return {name for name in sure if name not in self.speaking}

    def _exact(self, name: str, row: Row, said: Any, held: Held) -> list[str]:
        if same(held.get(name), said):
            self.judge.stale.discard(name)
            return []
        if name not in self.judge.stale and not self._may_be_stale(name, row):
            return [f"{name}: the receiver holds {held.get(name)}, row {row.id} says {said}"]
        if not contains(held.get(name), said):
            return [f"{name}: the receiver lacks something of row {row.id}: {held.get(name)} of {said}"]
        if name not in self.judge.stale and name not in self.untold:
            self.judge.budget -= 1
        self.judge.stale.add(name)
        return [f"{name}: too much is held, and not counted as untrusted"] if self.judge.budget < 0 else []

    def _may_be_stale(self, name: str, row: Row) -> bool:
        """Whether what vanished may remain: nobody knows what the receiver held, or CSC_RESET leaves it there."""
        if name not in self.behind:
            return False
        if name in self.untold and row.api_response not in self.judge.given:
            return True  # nothing shows that it was ever sent
        return self.judge.reset != "child" and named(row.previous_json_payload) in (None, name)

    def _contradicted(self, held: Held, ended: Ended) -> list[str]:
        names = {n for n in self.speaking if contradicted(n, self.first)}
        moved = [f"{name}: contradicted, and not left alone" for name in names if held.get(name) != self.held.get(name)]
        told = int(ended.report.get("contradicted", 0))
        waiting = {n for n in names if n in held}
        if waiting and (not told or ended.code not in (3, 4)):
            moved.append(f"{sorted(waiting)} are contradicted, and the report says {told}, exit {ended.code}")
        return moved

    def _held_back(self, remain: set[str], held: Held, ended: Ended) -> list[str]:
        kept = int(ended.report.get("held_back", 0))
        perhaps = {n for n, row in self.speaking.items() if deleted(row)} | self._must_be_gone()
        perhaps |= {n for n in self.memory.perhaps_owed if n not in self.speaking}
        if kept and (self.asked.allow_mass_delete or len(perhaps) <= GUARD_FLOOR):
            return [f"{kept} purges were held back, of {len(perhaps)} that are due"]
        # the journal keeps of each child the last row alone: what an earlier one said of it is forgotten with that row,
        # and the child is told of as an orphan
        more = int(ended.report.get("orphaned", 0)) - len(self._sure_orphans(held))
        if len(remain) > kept + (0 if self.asked.purge_orphans else max(0, more)):
            return [f"{name}: is still there, and owed a purge" for name in sorted(remain)]
        return [f"held back, but exit {ended.code}"] if kept and ended.code not in (3, 4) else []

    def _orphans(self, held: Held, ended: Ended) -> list[str]:
        if not any(self._due(row) and not self._told_already(row) for row in self.first):
            return []  # nobody walked through the table
        if not self.posted:
            return []  # nobody had to: what is due says what was sent; the last figure counts (csc.md, Orphans)
        alone, sure = self._alone(held), self._sure_orphans(held)
        told = int(ended.report.get("orphaned", 0))
        unclear = any(child_of(row) is None for row in self.first) or len(self.first) * 2 <= self.memory.most_rows
        if self.asked.purge_orphans and not unclear and len(sure) > int(ended.report.get("held_back", 0)):
            return [f"{name}: an orphan that was to be purged is still there" for name in sorted(sure)]
        ghosts = {n for n, child in self.memory.believed.items() if child is not None and n not in self.held}
        if told > len([n for n in self.held if n not in self.speaking]) and not ghosts and not self.memory.shaken:
            return [f"{told} orphans are told of, and {sorted(alone)} are all there are"]
        if sure and not unclear and not self.asked.purge_orphans and (told < len(sure) or ended.code not in (3, 4)):
            return [f"{sorted(sure)} are orphans, and the report says {told}, exit {ended.code}"]
        return []

    def _alone(self, held: Held) -> set[str]:
        """Children that are held and that no row speaks for."""
        return {n for n in held if n not in self.speaking and not others_speak(n, self.speaking)}

    def _sure_orphans(self, held: Held) -> set[str]:
        """Those of them that nobody can be taken to owe a purge."""
        alone = self._alone(held)
        return {n for n in alone if n in self.memory.latest} - self.memory.perhaps_owed - self.memory.estranged

    def _told_already(self, row: Row) -> bool:
        """Whether a row still shows that a newer one counts, and that one speaks: the other rows need not be asked."""
        speaker = self.speaking.get(child_of(row) or "")
        return superseded(row) and not self.asked.requeue and speaker is not None and speaker.id > row.id

    def _rows(self, rows: Sequence[Row]) -> list[str]:
        """The rows that speak say that they were sent; the others that were pending say why they were not."""
        wrong = []
        for row in rows:
            name = child_of(row)
            status = _word(row.submission_status)
            if deleted(row) or name is None or others_speak(name, self.speaking):
                continue
            if self.speaking[name].id != row.id:
                if status == "pending" and not contradicted(name, self.first):
                    wrong.append(f"{name}: row {row.id} is pending, and another one speaks")
            elif status in ("pending", "error") and sendable(row):
                wrong.append(f"{name}: row {row.id} speaks, and is {status}: {row.api_response}")
        return wrong


def _about(row: Row, name: str) -> bool:
    return name in (named(row.json_payload), named(row.previous_json_payload), row.person_id)


def _purged_by_its_own_word(row: Row) -> bool:
    partial = _read(row.partial_json_payload) or {}
    told = _word(row.submission_status) == "sent" and not row.previous_json_payload and bool(row.api_response)
    return told or partial.get("purge") is True
