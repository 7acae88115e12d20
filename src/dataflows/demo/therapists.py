"""The scene of `therapist-import`: two files of the scraper, those of a week later with one cut off, nothing new."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from dataflows.demo.practice import judge_mails, rows, write
from dataflows.demo.stage import Figure, ResultLine, Stage
from dataflows.errors import ExitCode
from dataflows.flows.practice.therapists import job
from dataflows.runs.runner import Order, Outcome
from dataflows.sandbox.synthetic_practice import Object, therapist
from dataflows.store.practice.tables import import_tracking, outbox, therapist_changes, therapists

FLOW = job.COMMAND
WEEKS = {1: "2026-03-08", 2: "2026-03-15"}  # the scrape dates of the synthetic editions
AREA, BROKEN = "00XXX", "00099"
PEOPLE: Mapping[str, range] = {"00074": range(40), "00066": range(40, 80)}  # by number, in the file of each ZIP code
ALL = 80
LONG_AGO = 2 * 3600.0  # seconds; a file that is cut off and as old as this is no longer being written

# numbers of people in the second week, besides those whom the synthetic edition lets move or go
MOVED, GONE = (18, 38, 58, 78), 47
MISLABELLED = 3  # another telephone number, under the status "unchanged"
EMPTIED = 5  # neither telephone number nor hours
TAKEN_OVER = 7  # the id belongs to somebody else now, of the same last name
CHANGED = (MISLABELLED, *MOVED)
OWN = {"status": "gesperrt", "sperrgrund": "synthetisch", "notes": "synthetisch"}
"""What the operator writes about the first who moves, before they do."""

FIRST_RUN: dict[str, Figure] = {"files seen": 2, "files imported": 2, "therapists new": ALL}
SECOND_RUN: dict[str, Figure] = {
    "files seen": 5,
    "files imported": 2,
    "files failed": 1,
    "therapists new": 1,
    "therapists updated": len(CHANGED),
    "therapists unchanged": ALL - 1 - len(CHANGED) - 1,
    "therapists deleted": 1,
    "mismatches": 1,
    "warnings": 2,
    "remarks id_reassigned": 1,
    "remarks kept_empty": 1,
    "fields street": len(MOVED),
    "fields house_number": len(MOVED),
    "fields phone": len(CHANGED),
}
THIRD_RUN: dict[str, Figure] = {"files seen": 5, "files skipped": 3}


def play(stage: Stage) -> Iterator[ResultLine]:
    """Import the files of two weeks, and once more; look at what the database holds then."""
    yield from _Scene(stage).play()


class _Scene:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.must, self.right = stage.findings.must, stage.findings.right
        self.folder = stage.folder / "scraper"
        self.settings = stage.settings({"THERAPIST_IMPORT_DIR": self.folder, "THERAPIST_SETTLE_SECONDS": 0.0})
        self.before, self.after = ({n: _entry(n, week) for n in range(ALL)} for week in WEEKS)
        _change(self.after)

    def play(self) -> Iterator[ResultLine]:
        yield from self._first_week()
        yield from self._a_week_later()
        yield from self._nothing_new()
        yield from self._in_the_end()

    # --- the runs -----------------------------------------------------------------------------------------------------

    def _first_week(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: the scraper's files of two ZIP codes")
        self._write(1, self.before)
        seconds, count = self._import(1, ExitCode.OK, {"done": 2}, FIRST_RUN)
        yield ResultLine(FLOW, 1, count["therapists new"], "new", "two files, 40 in each", seconds)

    def _a_week_later(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: the files of a week later, and one that breaks off")
        mine = therapists.c.source_id == f"praxis{MOVED[0]}"
        write(self.settings, sa.update(therapists).where(mine).values(OWN))
        self._write(2, self.after)
        self._write_half_a_file()
        seconds, count = self._import(2, ExitCode.SOME_FAILED, {"done": 2, "failed": 1}, SECOND_RUN)
        self._judge_mails()
        yield ResultLine(FLOW, 2, count["therapists updated"], "updated", "old and new value kept", seconds)
        yield ResultLine(FLOW, 2, count["therapists new"], "new", "under a former one's id")
        yield ResultLine(FLOW, 2, count["therapists deleted"], "deleted", "kept, and not active")
        yield ResultLine(FLOW, 2, count["therapists unchanged"], "unchanged", "an empty phone wipes none")
        yield ResultLine(FLOW, 2, count["files failed"], "broken file", "nothing of it; a mail")

    def _nothing_new(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: nothing has changed, and one file is still broken")
        tables = (therapists, therapist_changes, import_tracking, outbox)
        before = [rows(self.settings, table) for table in tables]
        seconds, count = self._import(3, ExitCode.SOME_FAILED, {"skipped": 2, "failed": 1}, THIRD_RUN)
        self.right(f"{FLOW}: what run 3 left as it was", [rows(self.settings, table) for table in tables] == before)
        self._judge_mails()  # nobody is told twice
        yield ResultLine(FLOW, 3, count["files skipped"], "files skipped", "nothing is written", seconds)

    def _in_the_end(self) -> Iterator[ResultLine]:
        found = self._judge_therapists()
        self._judge_changes()
        self._judge_tracking()
        events = Counter(row.event_type for row in rows(self.settings, outbox) if row.topic == job.TOPIC)
        wanted = {"created": ALL + 1, "updated": len(CHANGED), "deleted": 1}
        self.must(f"{FLOW}: events", dict(events), {f"therapist.{name}": count for name, count in wanted.items()})
        yield ResultLine(FLOW, None, found, "therapists", "as in their newest files")

    def _import(
        self, run: int, code: ExitCode, counts: Mapping[str, Figure], figures: Mapping[str, Figure]
    ) -> tuple[float, Counter[str]]:
        options = job.Options()
        order = Order(FLOW, job.target(self.settings), job.options_to_json(options), self.settings.data_dir)
        outcome = self.stage.run(order, job.bring_in(self.settings, options))
        found = _figures(outcome)
        self.stage.judge(f"{FLOW}, run {run}", replace(outcome, report={**found}), code, counts, figures)
        return round(outcome.seconds, 3), Counter(found)

    # --- the scraper --------------------------------------------------------------------------------------------------

    def _write(self, week: int, entries: Mapping[int, Object]) -> None:
        for zip_code, numbers in PEOPLE.items():
            self._path(week, zip_code).write_bytes(_file(week, [entries[n] for n in numbers]))

    def _write_half_a_file(self) -> None:
        whole, path = _file(2, self.after.values()), self._path(2, BROKEN)
        path.write_bytes(whole[: len(whole) // 2])
        os.utime(path, (time.time() - LONG_AGO,) * 2)

    def _path(self, week: int, zip_code: str) -> Path:
        path = self.folder / _name(week, zip_code)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # --- what is there then -------------------------------------------------------------------------------------------

    def _judge_mails(self) -> None:
        personal = {
            word for entries in (self.before, self.after) for one in entries.values() for word in _personal(one)
        }
        judge_mails(self.stage, FLOW, [f"{FLOW}: 1 failed"], [_name(2, BROKEN)], personal)

    def _judge_therapists(self) -> int:
        found = rows(self.settings, therapists)
        self.must(f"{FLOW}: therapists in the table", len(found), ALL + 1)
        self.must(f"{FLOW}: of them active", sum(row.active for row in found), ALL)
        held = {(row.source_id, row.first_name): row._mapping for row in found}
        for n in range(ALL):
            self._judge_therapist(n, held, self.before[n] if n in (GONE, TAKEN_OVER) else self.after[n])
        self._judge_therapist(TAKEN_OVER, held, self.after[TAKEN_OVER])
        return len(found)

    def _judge_therapist(self, n: int, held: Mapping[Any, Mapping[Any, Any]], entry: Object) -> None:
        columns = {**_columns(entry), "active": n != GONE}
        if n == EMPTIED:
            columns |= {name: _columns(self.before[n])[name] for name in ("phone", "telephone_hours")}
        if n == MOVED[0]:
            columns |= OWN
        row = held.get((entry["id"], columns["first_name"]), {})
        self.right(f"{FLOW}: therapist {n}", {name: row.get(name) for name in columns} == columns)

    def _judge_changes(self) -> None:
        found = rows(self.settings, therapist_changes)
        ids = {row.id: row.source_id for row in rows(self.settings, therapists)}
        wanted = {(f"praxis{GONE}", "active"): (True, False)}
        for n in CHANGED:
            old, new = _columns(self.before[n]), _columns(self.after[n])
            wanted |= {(f"praxis{n}", name): (old[name], new[name]) for name in old if old[name] != new[name]}
        self.must(f"{FLOW}: changes noted", len(found), len(wanted))
        noted = {(ids[row.therapist_id], row.field): (row.old_value, row.new_value) for row in found}
        self.right(f"{FLOW}: old and new values", noted == wanted)

    def _judge_tracking(self) -> None:
        names = ("status", "therapist_count", "new_count", "updated_count", "unchanged_count", "deleted_count")
        found = {
            row.file_name: tuple(row._mapping[name] for name in names) for row in rows(self.settings, import_tracking)
        }
        wanted = {_name(1, zip_code): ("success", 40, 40, 0, 0, 0) for zip_code in PEOPLE}
        wanted |= {_name(2, "00074"): ("success", 40, 1, 3, 36, 0), _name(2, "00066"): ("success", 40, 0, 2, 37, 1)}
        self.must(f"{FLOW}: files tracked", found, wanted | {_name(2, BROKEN): ("failed", 0, 0, 0, 0, 0)})


def _figures(outcome: Outcome) -> dict[str, int]:
    """The report's figures, each named with what it counts."""
    report: dict[str, Any] = dict(outcome.report)
    counted = {
        f"{what} {name}": count
        for what in ("files", "therapists", "fields", "remarks")
        for name, count in report.get(what, {}).items()
    }
    return counted | {name: report.get(name, 0) for name in ("mismatches", "warnings")}


# --- what the scraper finds -------------------------------------------------------------------------------------------


def _entry(n: int, week: int) -> Object:
    zip_code = next(zip_code for zip_code, numbers in PEOPLE.items() if n in numbers)
    return therapist(n, zip_code, edition=week)


def _change(entries: Mapping[int, Object]) -> None:
    """What happens within a week, besides that some move and one goes."""
    entries[MISLABELLED]["contact"]["phone"] = "030 23125 999"
    entries[EMPTIED]["contact"]["phone"] = ""
    entries[EMPTIED]["telephone_hours"] = {}
    entries[TAKEN_OVER]["status"] = "new"
    entries[TAKEN_OVER]["basic_info"] |= {"first_name": "Synthia", "full_name": "Synthia Synthetisch"}
    entries[TAKEN_OVER]["contact"]["email"] = "synthia@example.org"


def _name(week: int, zip_code: str) -> str:
    return f"{WEEKS[week].replace('-', '')}/{zip_code}.json"


def _file(week: int, entries: Iterable[Object]) -> bytes:
    found = list(entries)
    statuses = Counter(entry["status"] for entry in found)
    metadata = {
        "scrape_id": f"{AREA}_synthetic",
        "scrape_date": f"{WEEKS[week]}T06:00:00.000000",
        "postcode_area": AREA,
        "total_therapists": len(found),
        **{f"{status}_therapists": statuses[status] for status in ("new", "modified", "deleted")},
    }
    return json.dumps({"metadata": metadata, "therapists": found}, ensure_ascii=False, indent=2).encode()


def _columns(entry: Object) -> dict[str, Any]:
    """The columns that an entry must make; what is empty is absent."""
    texts = {**entry["basic_info"], **entry["location"], **entry["contact"]}
    rest = {name: entry[name] for name in ("languages", "therapy_methods", "telephone_hours")}
    return {name: value or None for name, value in (texts | rest).items()}


def _personal(entry: Object) -> Iterator[str]:
    """What must stand in no mail."""
    columns = _columns(entry)
    yield from (columns[name] for name in ("first_name", "last_name", "street", "phone", "email") if columns[name])
