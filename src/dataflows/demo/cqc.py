"""The scene of `cqc-fetch`: a first night, one of a later edition with broken answers, one with a page for a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from dataflows.demo.stage import Figures, ResultLine, Shown, Stage, figures_of
from dataflows.errors import ExitCode
from dataflows.flows.cqc import job
from dataflows.flows.cqc.folder import utc_now
from dataflows.runs.runner import Order, Outcome

FLOW = "cqc-fetch"
SETTINGS = {"HTTP_MAX_WAIT_SECONDS": 0.2, "HTTP_TIMEOUT_SECONDS": 10.0}
SOURCES = ("homecare", "carehomes")

ROWS = 400  # of each source; a tenth of the care homes are homecare agencies too
MERGED = 2 * ROWS - ROWS // 10
NEW, GONE, CHANGED = 3, 2, ROWS // 20  # of each source, from one edition to the next
LATER = ROWS + NEW - GONE


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
        shown = [
            Shown("records", 2 * ROWS, "records saved", "byte for byte as served"),
            Shown("merged rows", MERGED, "merged", "one row per Location ID"),
        ]
        yield from self._fetch(1, ExitCode.OK, shown, {"items done": 2}, merged=True)

    def _second_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: a later edition, and two answers will be broken")
        self.cqc.faults.set(edition=2, gzip=True, gzip_cut_next=1, error_next=1)
        shown = [
            Shown("records", 2 * LATER, "records saved", "came as gzip, unpacked"),
            Shown("new", 2 * NEW, "new", "in the files changes_*"),
            Shown("gone", 2 * GONE, "gone", "the same, with their ids"),
            Shown("changed", 2 * CHANGED, "changed", "column, before and after"),
            Shown("repeated", 2, "calls repeated", "503, a gzip stream cut"),
        ]
        yield from self._fetch(2, ExitCode.OK, shown, {"items done": 2}, changes=True)

    def _third_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: one of the exports is an HTML page")
        self.cqc.faults.set(content="html", content_next=1)
        shown = [
            Shown("records", LATER, "records saved", "the other one, unchanged"),
            Shown("refused", 1, "refused", "an HTML page as CSV"),
        ]
        yield from self._fetch(3, ExitCode.SOME_FAILED, shown, {"items done": 1, "items failed": 1, "unchanged": 1})

    def _fetch(
        self, night: int, code: ExitCode, shown: Iterable[Shown], also: Figures, **asked: bool
    ) -> Iterator[ResultLine]:
        # one source after the other, so that it is known which answers are broken
        options = job.Options(self.folder, SOURCES, workers=1, **asked)
        settings = self.stage.settings(SETTINGS)
        order = Order(FLOW, job.target(self.folder), job.options_to_json(options), settings.data_dir)
        # a day lies between two nights: file names tell seconds, and a name that is taken would be waited for
        work = job.fetch(settings, options, lambda: utc_now() - timedelta(days=3 - night))
        yield from self.stage.run(FLOW, order, work, code, shown, also, self._figures)

    def _figures(self, outcome: Outcome) -> dict[str, int]:
        """Those of the run, and of the results of its sources together; takes note of what the files must be."""
        report: dict[str, Any] = dict(outcome.report)
        results: dict[str, dict[str, Any]] = report.get("results", {})
        self.served |= {one["file"]: self.cqc.export(source) for source, one in results.items() if one["file"]}
        found = Counter(figures_of(outcome))
        for one in results.values():
            found["records"] += one["rows"] or 0
            found["repeated"] += one["tries"] - 1
            found["unchanged"] += bool(one["unchanged"])
            found["refused"] += one["code"] == "html"  # a page is no file, and is not asked for again
            found.update({change: (one["changes"] or {}).get(change, 0) for change in ("new", "gone", "changed")})
        return found
