"""The scene of `cqc-fetch`: a first night, one of a later edition with broken answers, one with a page for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from dataflows.demo.stage import Figures, ResultLine, Stage
from dataflows.errors import ExitCode
from dataflows.flows.cqc import job
from dataflows.flows.cqc.folder import utc_now
from dataflows.runs.runner import Order

FLOW = "cqc-fetch"
SETTINGS = {"HTTP_MAX_WAIT_SECONDS": 0.2, "HTTP_TIMEOUT_SECONDS": 10.0}
SOURCES = ("homecare", "carehomes")

ROWS = 400  # of each source; a tenth of the care homes are homecare agencies too
MERGED = 2 * ROWS - ROWS // 10
CHANGES = {"new": 3, "gone": 2, "changed": ROWS // 20}  # of each source, from one edition to the next
LATER = ROWS + CHANGES["new"] - CHANGES["gone"]

Results = Mapping[str, Mapping[str, Any]]
_CLEAN = {"tries": 1, "unchanged": False, "error": None}


def run(stage: Stage) -> Iterator[ResultLine]:
    """Fetch both exports on three nights, each with other answers; look at what the folder holds then."""
    yield from CqcScene(stage).lines()


class CqcScene:
    """The folder that the exports of three nights are fetched into."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.cqc, self.findings = stage, stage.box.cqc, stage.findings
        self.folder = stage.folder / "cqc"
        self.served: dict[str, bytes] = {}  # what the downloads must be, by file name

    def lines(self) -> Iterator[ResultLine]:
        """Three nights, and how things stand then."""
        yield from self._first_night()
        yield from self._second_night()
        yield from self._third_night()
        names = {path.name for path in self.folder.glob("*")}
        self.findings.must(f"{FLOW}: files in the folder", len(names), 2 + 1 + 2 + 2 + 1)
        whole = ((self.folder / name).read_bytes() == content for name, content in self.served.items())
        self.findings.right(f"{FLOW}: download", len(names & {*self.served}) == len(self.served) and all(whole))
        yield ResultLine(FLOW, None, len(names), "files kept", "all whole, none besides")

    def _first_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: both exports, and what they make together")
        wanted = {source: {**_CLEAN, "rows": ROWS} for source in SOURCES}
        figures = {"items done": 2, "merged rows": MERGED}
        seconds, results, merged = self._fetch(1, wanted, ExitCode.OK, figures, merged=True)
        yield self._saved(1, seconds, results, "byte for byte as served")
        yield ResultLine(FLOW, 1, merged, "merged", "one row per Location ID")

    def _second_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: a later edition, and two answers will be broken")
        self.cqc.faults.set(edition=2, gzip=True, gzip_cut_next=1, error_next=1)
        changes = {f"{change} records": count for change, count in CHANGES.items()}
        clean = {**_CLEAN, **changes, "rows": LATER}
        wanted = {"homecare": {**clean, "tries": 3}, "carehomes": clean}  # 503, then a gzip stream cut, then the file
        seconds, results, _ = self._fetch(2, wanted, ExitCode.OK, {"items done": 2}, changes=True)
        count = {change: sum(one[f"{change} records"] for one in results.values()) for change in CHANGES}
        yield self._saved(2, seconds, results, "came as gzip, unpacked")
        yield ResultLine(FLOW, 2, count["new"], "new", "in the files changes_*")
        yield ResultLine(FLOW, 2, count["gone"], "gone", "the same, with their ids")
        yield ResultLine(FLOW, 2, count["changed"], "changed", "column, before and after")
        tries = sum(result["tries"] for result in results.values())
        yield ResultLine(FLOW, 2, tries - len(results), "calls repeated", "503, a gzip stream cut")

    def _third_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: one of the exports is an HTML page")
        self.cqc.faults.set(content="html", content_next=1)
        wanted: Results = {
            "homecare": {"file": None, "rows": None, "code": "html", "tries": 1},  # a page is no file, and stays none
            "carehomes": {**_CLEAN, "rows": LATER, "unchanged": True},
        }
        ended = {"items done": 1, "items failed": 1}
        seconds, results, _ = self._fetch(3, wanted, ExitCode.SOME_FAILED, ended)
        yield self._saved(3, seconds, results, "the other one, unchanged")
        refused = sum(bool(result.get("code")) for result in results.values())
        yield ResultLine(FLOW, 3, refused, "refused", "an HTML page as CSV")

    def _fetch(
        self,
        night: int,
        wanted: Results,
        code: ExitCode,
        figures: Figures,
        *,
        changes: bool = False,
        merged: bool = False,
    ) -> tuple[float, Results, int]:
        """Fetch both sources and check what the run says; returns its seconds, results by source, and merged rows."""
        # one source after the other, so that it is known which answers are broken
        options = job.Options(self.folder, SOURCES, changes=changes, merged=merged, workers=1)
        settings = self.stage.settings(SETTINGS)
        order = Order(FLOW, job.target(self.folder), job.options_to_json(options), settings.data_dir)
        # a day lies between two nights: file names tell seconds, and a name that is taken would be waited for
        work = job.fetch(settings, options, lambda: utc_now() - timedelta(days=3 - night))
        outcome = self.stage.run(f"{FLOW}, run {night}", order, work, code, figures)
        report: dict[str, Any] = dict(outcome.report)
        results = {source: self._result(report.get("results", {}).get(source, {})) for source in SOURCES}
        for source, result in results.items():
            found = {figure: result.get(figure) for figure in wanted[source]}
            self.findings.figures(f"{FLOW}, {source}", found, wanted[source])
            if file := result.get("file"):
                self.served[file] = self.cqc.export(source)
        return round(outcome.seconds, 3), results, (report.get("merged") or {}).get("rows", 0)

    def _result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        compared = result.get("changes") or {}
        return {**result, **{f"{change} records": compared.get(change, 0) for change in CHANGES}}

    def _saved(self, night: int, seconds: float, results: Results, look_at: str) -> ResultLine:
        records = sum(result["rows"] or 0 for result in results.values())
        return ResultLine(FLOW, night, records, "records saved", look_at, seconds)
