"""The scene of `therapist-import`: two files of the scraper, those of a week later with one cut off, nothing new."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dataflows.demo.stage import Figures, ResultLine, Shown, Stage, rows
from dataflows.errors import ExitCode
from dataflows.flows.practice.therapists import job
from dataflows.runs.runner import Order
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

SECOND_RUN = (
    Shown("therapists updated", len(CHANGED), "updated", "old and new value kept"),
    Shown("therapists new", 1, "new", "under a former one's id"),
    Shown("therapists deleted", 1, "deleted", "kept, and not active"),
    Shown("therapists unchanged", ALL - 1 - len(CHANGED) - 1, "unchanged", "an empty phone wipes none"),
    Shown("files failed", 1, "broken file", "nothing of it; a mail"),
)
ALSO: Figures = {
    **{"items done": 2, "items failed": 1, "files seen": 5, "files imported": 2},
    **{"mismatches": 1, "warnings": 2, "remarks id_reassigned": 1, "remarks kept_empty": 1},
    **{"fields street": len(MOVED), "fields house_number": len(MOVED), "fields phone": len(CHANGED)},
}
"""Figures of the second run that are not shown."""
EVENTS = ALL + len(CHANGED) + 2  # which wait: no broker is set


def run(stage: Stage) -> Iterator[ResultLine]:
    """Import the files of two weeks, and once more; look at what the database holds then."""
    yield from TherapistsScene(stage).lines()


class TherapistsScene:
    """The therapists of two ZIP codes as the scraper finds them in two weeks."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.findings = stage, stage.findings
        self.folder = stage.folder / "scraper"
        self.settings = stage.settings({"THERAPIST_IMPORT_DIR": self.folder, "THERAPIST_SETTLE_SECONDS": 0.0})
        self.before, self.after = ({n: _entry(n, week) for n in range(ALL)} for week in WEEKS)
        _change(self.after)

    def lines(self) -> Iterator[ResultLine]:
        """Three runs, and how things stand then."""
        yield from self._first_week()
        yield from self._a_week_later()
        yield from self._nothing_new()
        yield from self._in_the_end()

    def _first_week(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: the scraper's files of two ZIP codes")
        self._write(1, self.before)
        new = Shown("therapists new", ALL, "new", "two files, 40 in each")
        also = {"items done": 2, "files seen": 2, "files imported": 2, "events waiting": ALL}
        yield from self._import(ExitCode.OK, [new], also)

    def _a_week_later(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: the files of a week later, and one that breaks off")
        self._write(2, self.after)
        whole, broken = _file(2, self.after.values()), self._path(2, BROKEN)
        broken.write_bytes(whole[: len(whole) // 2])
        os.utime(broken, (time.time() - LONG_AGO,) * 2)
        yield from self._import(ExitCode.SOME_FAILED, SECOND_RUN, {**ALSO, "events waiting": EVENTS})

    def _nothing_new(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: nothing has changed, and one file is still broken")
        tables = (therapists, therapist_changes, import_tracking, outbox)
        before = [rows(self.settings, table) for table in tables]
        skipped = Shown("files skipped", 3, "files skipped", "nothing is written")
        also = {"items skipped": 2, "items failed": 1, "files seen": 5, "events waiting": EVENTS}
        yield from self._import(ExitCode.SOME_FAILED, [skipped], also)
        self.findings.right(
            f"{FLOW}: what run 3 left as it was", [rows(self.settings, table) for table in tables] == before
        )
        self.stage.judge_mails(FLOW, f"{FLOW}: 1 failed", _name(2, BROKEN))  # of run 2; nobody is told twice

    def _in_the_end(self) -> Iterator[ResultLine]:
        found = rows(self.settings, therapists)
        phones = {(row.source_id, row.first_name): row.phone for row in found if row.active}
        self.findings.must(f"{FLOW}: therapists in the table", len(found), ALL + 1)
        self.findings.must(f"{FLOW}: of them active", len(phones), ALL)
        self.findings.right(f"{FLOW}: their telephone numbers", phones == self._phones())
        noted = {(row.field, row.old_value, row.new_value) for row in rows(self.settings, therapist_changes)}
        old, new = (entries[MISLABELLED]["contact"]["phone"] for entries in (self.before, self.after))
        self.findings.right(f"{FLOW}: old and new values", {("phone", old, new), ("active", True, False)} <= noted)
        yield ResultLine(FLOW, None, len(found), "therapists", "as in their newest files")

    def _phones(self) -> dict[tuple[str, str], str]:
        """By id and first name: as in the newest files, but an empty number wipes none, and a former one is kept."""
        newest = [entry for n, entry in self.after.items() if n not in (GONE, EMPTIED)]
        entries = [*newest, self.before[EMPTIED], self.before[TAKEN_OVER]]
        return {(entry["id"], entry["basic_info"]["first_name"]): entry["contact"]["phone"] for entry in entries}

    def _import(self, code: ExitCode, shown: Iterable[Shown], also: Figures) -> Iterator[ResultLine]:
        options = job.Options()
        order = Order(FLOW, job.target(self.settings), job.options_to_json(options), self.settings.data_dir)
        yield from self.stage.run(FLOW, order, job.bring_in(self.settings, options), code, shown, also)

    def _write(self, week: int, entries: Mapping[int, Object]) -> None:
        for zip_code, numbers in PEOPLE.items():
            self._path(week, zip_code).write_bytes(_file(week, [entries[n] for n in numbers]))

    def _path(self, week: int, zip_code: str) -> Path:
        path = self.folder / _name(week, zip_code)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


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
