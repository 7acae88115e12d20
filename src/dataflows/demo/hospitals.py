"""The scene of `hospitals-bulk`: lost answers, a file that was sent already, a file with an error, a run that breaks
off and is resumed. Whatever happens on the way, the Directory holds every row once in the end.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dataflows.demo.stage import Figures, ResultLine, Shown, Stage, figures_of
from dataflows.errors import ExitCode
from dataflows.flows.hospitals import job, table
from dataflows.flows.hospitals.rows import Hospital
from dataflows.runs.runner import Order, Outcome
from dataflows.sandbox.synthetic import hospitals

FLOW = "hospitals-bulk"
# creates take 5 s at the real Directory, and one without an answer may land 30 s later
CREATE_MS, LATE_MS = 30.0, 250.0
SETTINGS = {
    "HOSPITALS_CREATES_PER_MINUTE": 0,
    "HOSPITALS_LOOK_EVERY_SECONDS": 0.05,
    "HOSPITALS_SETTLE_SECONDS": 0.4,
    "HTTP_MAX_WAIT_SECONDS": 0.2,
    "HTTP_TIMEOUT_SECONDS": 10.0,
    "HTTP_ATTEMPTS": 2,
}
FIRST, SECOND, WRONG = 45, 20, 1
LOST, LATE = 2, 1
BATCHES = 3


def run(stage: Stage) -> Iterator[ResultLine]:
    """Send two files, one of them twice; break answers, a file and a run; look at what the Directory holds then."""
    yield from HospitalsScene(stage).lines()


class HospitalsScene:
    """Two files of hospitals, and the Directory that they are sent to."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.directory, self.findings = stage, stage.box.directory, stage.findings
        self.directory.faults.set(create_ms=CREATE_MS, creates_per_minute=0, calls_per_minute=0)
        rows = [Hospital(*texts) for texts in hospitals(FIRST + SECOND)]
        self.first, self.second = rows[:FIRST], rows[FIRST:]

    def lines(self) -> Iterator[ResultLine]:
        """Five runs, and how things stand then."""
        yield from self._lost_answers()
        yield from self._once_more()
        yield from self._a_wrong_row()
        yield from self._broken_off()
        self._judge_directory("in the end", [*self.first, *self.second])
        yield ResultLine(FLOW, None, self._active(), "active", "every row exactly once")

    def _lost_answers(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: three batches; {LOST + LATE} creates and an activation get no answer")
        self.directory.faults_of("create").set(lost_next=LOST, late_next=LATE, late_ms=LATE_MS)
        self.directory.faults_of("activate").set(lost_next=1)
        created = Shown("created_hospitals", FIRST, "created", f"{BATCHES} batches, all active")
        yield from self._send(self._file("first.csv", self.first), ExitCode.OK, created, _figures(FIRST))
        lost, late = (self.directory.figures().get(fate, 0) for fate in ("lost", "late"))
        self.findings.must(f"{FLOW}: answers lost after the commit, creates that landed late", (lost, late), (3, 1))
        self._judge_directory("after run 1", self.first)
        yield ResultLine(FLOW, 1, lost + late, "answers lost", "found again, not resent")

    def _once_more(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: the same file once more")
        before = self.directory.calls["create"]
        there = Shown("already_there_hospitals", FIRST, "already there", "nothing is sent")
        yield from self._send(self.stage.folder / "first.csv", ExitCode.OK, there, _figures(FIRST, "skipped"))
        self.findings.must(f"{FLOW}: creates for a file that was sent", self.directory.calls["create"] - before, 0)

    def _a_wrong_row(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 3: a file with a blank before a quotation mark")
        file = self._file("wrong.csv", self.second)
        with file.open("a", encoding="utf-8", newline="") as stream:
            stream.write('Synthetic Hospital, "12 High St, Leeds",\r\n')
        validation = table.validate(file, max_rows=100)
        order = Order(FLOW, f"file {file}", {}, self.stage.folder, resumable=False)
        wrong = Shown("invalid_rows", WRONG, "wrong row", "refused, nothing sent")
        yield from self.stage.run(FLOW, order, job.check_file(validation), ExitCode.BAD_INPUT, [wrong])
        self.findings.must(f"{FLOW}: rows named", [one.row for one in validation.problems], [SECOND + WRONG])

    def _broken_off(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 4: the Directory fails in the middle, and the run is resumed")
        self.directory.faults_of("create").set(lost_next=3)
        self.directory.faults_of("look").set(error_seconds=1e6)
        file = self._file("second.csv", self.second)
        active = Shown("active", 0, "active", "no batch is live in part")
        yield from self._send(file, ExitCode.SERVICE_DOWN, active)
        self.directory.faults_of("look").clear()
        created = Shown("created_hospitals", SECOND, "created", "resumed, none is doubled")
        yield from self._send(file, ExitCode.OK, created, _figures(SECOND))

    def _active(self) -> int:
        return sum(record["active"] for record in self.directory.records)

    def _file(self, name: str, rows: Sequence[Hospital]) -> Path:
        path = self.stage.folder / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("name", "address", "phone"), *rows])
        return path

    def _send(self, file: Path, code: ExitCode, shown: Shown, also: Figures | None = None) -> Iterator[ResultLine]:
        settings = self.stage.settings(SETTINGS)
        options = job.Options(str(file), workers=settings.max_concurrent_requests)
        content = job.content_of(settings, options, table.validate(file, max_rows=100))
        order = Order(FLOW, job.target(content, again=False), job.options_to_json(options, content), settings.data_dir)
        work = job.upload(settings, options, content)
        yield from self.stage.run(FLOW, order, work, code, [shown], also, self._figures)

    def _figures(self, outcome: Outcome) -> dict[str, int]:
        return {
            **figures_of(outcome),
            **({} if outcome.report["batch_activated"] else {"active": self._active() - FIRST}),
        }

    def _judge_directory(self, when: str, rows: Sequence[Hospital]) -> None:
        records = self.directory.records
        held = Counter(Hospital(one["name"], one["address"], one["phone"]) for one in records if one["active"])
        self.findings.must(f"{FLOW}: hospitals held {when}", len(records), len(rows))
        self.findings.right(f"{FLOW}: what is active {when}", held == Counter(rows))


def _figures(rows: int, items: str = "done") -> dict[str, int]:
    figures = dict.fromkeys(("total_hospitals", "processed_hospitals", f"items {items}"), rows)
    return {**figures, "batch_activated": True}
