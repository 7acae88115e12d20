"""The scene of `cqc-fetch`: a first night, one of a later edition with broken answers, one with a page for a file."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from dataflows.demo.stage import ResultLine, Stage
from dataflows.errors import ExitCode
from dataflows.flows.cqc import job
from dataflows.flows.cqc.folder import utc_now
from dataflows.runs.runner import Order, Outcome

FLOW = "cqc-fetch"
SETTINGS = {"HTTP_MAX_WAIT_SECONDS": 0.2, "HTTP_TIMEOUT_SECONDS": 10.0}
SOURCES = ("homecare", "carehomes")

ROWS = 400  # of each source; a tenth of the care homes are homecare agencies too
MERGED, IN_BOTH = 2 * ROWS - ROWS // 10, ROWS // 10
CHANGES = {"new": 3, "gone": 2, "changed": ROWS // 20}  # of each source, from one edition to the next
LATER = ROWS + CHANGES["new"] - CHANGES["gone"]

Results = Mapping[str, Mapping[str, Any]]
Wanted = Mapping[str, Mapping[str, object]]

_CLEAN = {"tries": 1, "unchanged": False, "ragged": 0, "blank": 0, "error": None, "warning": None}
FIRST_NIGHT: Wanted = {source: {**_CLEAN, "rows": ROWS, "changes": None} for source in SOURCES}
SECOND_NIGHT: Wanted = {
    "homecare": {**_CLEAN, "rows": LATER, "tries": 3},  # 503, then a gzip stream without its end, then the file
    "carehomes": {**_CLEAN, "rows": LATER},
}
THIRD_NIGHT: Wanted = {
    "homecare": {"file": None, "rows": None, "code": "html", "tries": 1},  # a page is no file, and stays none
    "carehomes": {**_CLEAN, "rows": LATER, "unchanged": True},
}


def play(stage: Stage) -> Iterator[ResultLine]:
    """Fetch both exports on three nights, each with other answers; look at what the folder holds then."""
    yield from _Scene(stage).play()


class _Scene:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cqc, self.must, self.right = stage.box.cqc, stage.findings.must, stage.findings.right
        self.folder = stage.folder / "cqc"
        self.served: dict[str, bytes] = {}  # what the downloads must be, by file name
        self.derived: set[str] = set()

    def play(self) -> Iterator[ResultLine]:
        yield from self._first_night()
        yield from self._second_night()
        yield from self._third_night()
        yield from self._morning()

    def _first_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: both exports, and what they make together")
        outcome, results = self._fetch(1, FIRST_NIGHT, ExitCode.OK, merged=True)
        merged = self._judge_merged(dict(outcome.report).get("merged"))
        yield self._saved(1, outcome, results, "byte for byte as served")
        yield ResultLine(FLOW, 1, merged, "merged", "one row per Location ID")

    def _second_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: a later edition, and two answers will be broken")
        self.cqc.faults.set(edition=2, gzip=True, gzip_cut_next=1, error_next=1)
        outcome, results = self._fetch(2, SECOND_NIGHT, ExitCode.OK, changes=True)
        self.must(f"{FLOW}: answers with 503", self.cqc.figures().get("status_503", 0), 1)
        self.must(f"{FLOW}: gzip streams still to be cut", self.cqc.faults.gzip_cut_next, 0)
        count = sum((self._judge_changes(source, results.get(source, {})) for source in SOURCES), Counter[str]())
        yield self._saved(2, outcome, results, "came as gzip, unpacked")
        yield ResultLine(FLOW, 2, count["new"], "new", "in the files changes_*")
        yield ResultLine(FLOW, 2, count["gone"], "gone", "the same, with their ids")
        yield ResultLine(FLOW, 2, count["changed"], "changed", "column, before and after")
        tries = sum(result["tries"] for result in results.values())
        yield ResultLine(FLOW, 2, tries - len(results), "calls repeated", "503, a gzip stream cut")

    def _third_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: one of the exports is an HTML page")
        self.cqc.faults.set(content="html", content_next=1)
        outcome, results = self._fetch(3, THIRD_NIGHT, ExitCode.SOME_FAILED)
        yield self._saved(3, outcome, results, "the other one, unchanged")
        yield ResultLine(FLOW, 3, outcome.counts["failed"], "refused", "an HTML page as CSV")

    def _morning(self) -> Iterator[ResultLine]:
        names = {path.name for path in self.folder.glob("*")}
        self.must(f"{FLOW}: files in the folder", len(names), 2 + 1 + 2 + 2 + 1)
        self.must(f"{FLOW}: temporary files", sorted(name for name in names if name.startswith(".")), [])
        self.must(f"{FLOW}: files that no run named", sorted(names - {*self.served, *self.derived}), [])
        for name, content in self.served.items():
            self.right(f"{FLOW}: {name}", name in names and (self.folder / name).read_bytes() == content)
        yield ResultLine(FLOW, None, len(names), "files kept", "all whole, none besides")

    def _fetch(
        self, night: int, wanted: Wanted, code: ExitCode, *, changes: bool = False, merged: bool = False
    ) -> tuple[Outcome, Results]:
        # one source after the other, so that it is known which answers are broken
        options = job.Options(self.folder, SOURCES, changes=changes, merged=merged, workers=1)
        settings = self.stage.settings(SETTINGS)
        order = Order(FLOW, job.target(self.folder), job.options_to_json(options), settings.data_dir)
        # a day lies between two nights: file names tell seconds, and a name that is taken would be waited for
        outcome = self.stage.run(order, job.fetch(settings, options, lambda: utc_now() - timedelta(days=3 - night)))
        done = sum("code" not in result for result in wanted.values())
        counts = {"done": done, "failed": len(SOURCES) - done}
        self.stage.judge(f"{FLOW}, run {night}", outcome, code, counts, {})
        report: dict[str, Any] = dict(outcome.report)
        self.must(f"{FLOW}, run {night}: status", report.get("status"), "ok" if code is ExitCode.OK else "partial")
        results: Results = report.get("results", {})
        for source in SOURCES:
            self._judge_result(f"{FLOW}, run {night}, {source}", source, results.get(source, {}), wanted[source])
        return outcome, results

    def _judge_result(self, name: str, source: str, found: Mapping[str, Any], wanted: Mapping[str, object]) -> None:
        for figure, value in wanted.items():
            self.must(f"{name}: {figure}", found.get(figure), value)
        if file := found.get("file"):
            content = self.served[file] = self.cqc.export(source)
            self.right(f"{name}: its name", bool(re.fullmatch(rf"cqc_{source}_\d{{8}}_\d{{6}}Z\.csv", file)))
            self.must(f"{name}: bytes", found["bytes"], len(content))
            self.right(f"{name}: sha256", found["sha256"] == hashlib.sha256(content).hexdigest())

    def _judge_changes(self, source: str, result: Mapping[str, Any]) -> Counter[str]:
        """Compare the counts of a comparison, the lines of its file, and what they must be; returns the counts."""
        told: dict[str, Any] = dict(result.get("changes") or {})
        file = told.pop("file", "")
        self.must(f"{FLOW}, {source}: changes file", file, str(result.get("file")).replace("cqc_", "changes_", 1))
        lines = self._rows(file)
        columns = {line["column"] for line in lines if line["change"] == "changed"}
        self.must(f"{FLOW}, {source}: changed columns", columns, {"Phone number"})
        for change, wanted in CHANGES.items():
            self.must(f"{FLOW}, {source}: {change} records", told.get(change), wanted)
            named = {line["location_id"] or line["provider_id"] for line in lines if line["change"] == change}
            self.must(f"{FLOW}, {source}: ids that are {change}", len(named), wanted)
        self.must(f"{FLOW}, {source}: lines of {file}", len(lines), sum(CHANGES.values()))
        return Counter(told)

    def _judge_merged(self, told: Any) -> int:
        """Compare what the run says of the merged file with its rows and with what it must be; returns the rows."""
        rows = self._rows(told["file"] if told else "")
        # a provider's own record has no Location ID
        ids = {
            row["CQC Location ID (for office use only)"] or row["CQC Provider ID (for office use only)"] for row in rows
        }
        both = sum(row["source"] == "homecare|carehomes" for row in rows)
        for what, found, wanted in (
            ("rows that the run counted", told and told["rows"], MERGED),
            ("rows", len(rows), MERGED),
            ("different ids", len(ids), MERGED),
            ("rows of both sources", both, IN_BOTH),
        ):
            self.must(f"{FLOW}, merged: {what}", found, wanted)
        return len(rows)

    def _rows(self, name: str) -> list[dict[str, str]]:
        path = self.folder / name
        if not path.is_file():
            return []
        self.derived.add(name)
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def _saved(self, night: int, outcome: Outcome, results: Results, look_at: str) -> ResultLine:
        records = sum(result["rows"] or 0 for result in results.values())
        return ResultLine(FLOW, night, records, "records saved", look_at, round(outcome.seconds, 3))
