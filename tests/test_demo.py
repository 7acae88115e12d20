"""``dataflows demo``: green as it is, red as soon as the real code loses something, and nothing left behind."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflows import demo
from dataflows.cli.main import main
from dataflows.demo import cqc, csc, hospitals, patients, therapists
from dataflows.demo.stage import Comparison, Scene
from dataflows.flows.cqc import derived
from dataflows.flows.cqc.verify import FileSummary, Verifier
from dataflows.flows.csc import delta
from dataflows.flows.csc.writers import StagingWriter
from dataflows.flows.hospitals.batch import Ask, Batch
from dataflows.flows.hospitals.records import CreateOutcome, NotSent, Unknown
from dataflows.flows.practice.patients import identity, recording
from dataflows.flows.practice.patients.intake import Intake
from dataflows.flows.practice.patients.objects import ListedObject
from dataflows.flows.practice.therapists.identity import TherapistIdentity

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "rehearsal.md").read_text(encoding="utf-8")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary folders, and a working folder and an environment that would stop any other command."""
    place = tmp_path / "Jörg Müller 100%"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("nonsense", encoding="utf-8")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("BATCH_SIZE", "CSC_RESET", "DB_CONNECTION_STRING", "IMPORT_DATABASE_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return place


def test_it_is_green_and_leaves_nothing(temporary: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.split() == ["flow", "run", "items", "outcome", "seconds", "what", "to", "look", "at"]
    assert {line.split()[1] for line in lines} == {"1", "2", "3", "4", "5", "end"}
    page = [timeless(line) for line in PAGE.splitlines()]
    assert [line for line in map(timeless, lines) if line not in page] == []
    assert max(map(len, [*out.splitlines(), *err.splitlines()])) <= 80
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", temporary.name]


def timeless(line: str) -> str:
    """A line of the table without its seconds."""
    return re.sub(r" \d+\.\d ", "     ", line)


def test_the_document_and_what_is_kept(temporary: Path, capsys: Capture) -> None:
    assert main(["demo", "--keep", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["differences"], document["error"]) == ("done", [], None)
    checks = re.search(r"15 runs, (\d+) checks", PAGE)
    assert checks is not None
    assert document["checked"] == int(checks[1])
    assert [run["exit_code"] for run in document["runs"]] == [0, 3, 0, 0, 14, 13, 0, 3, 3, 0, 3, 3, 0, 0, 3]
    assert sum(run["seconds"] for run in document["runs"]) < 30
    flows = list(dict.fromkeys(item["flow"] for item in document["items"]))
    assert flows == ["csc-submit", "hospitals-bulk", "patient-import", "therapist-import", "cqc-fetch"]
    [kept] = temporary.iterdir()
    assert document["folder"] == str(kept)
    assert {path.name for path in kept.iterdir()} >= {"journal.db", "staging.db", "practice.db", "logs", "cqc"}


def forget_vanished_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reference client does: list items that are gone are never conveyed."""
    compared = delta._items
    monkeypatch.setattr(
        delta,
        "_items",
        lambda kind, old, now, new: compared(kind, {one: old[one] for one in old if one in now}, now, new),
    )


def write_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StagingWriter, "sent", lambda *_: set())


def expect_another_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(csc.ALSO, "superseded", 1)


def forget_changed_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "_differences", lambda *_: iter(()))


def take_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verifier, "take", lambda *_: None)
    monkeypatch.setattr(Verifier, "finish", lambda _: FileSummary(400, 0, 0, ("Name",), ""))


def repeat_what_got_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What most clients do: a create without an answer is simply sent again."""

    on_created = Batch.on_created

    def again(batch: Batch, ask: Ask, outcome: CreateOutcome, now: float) -> None:
        if isinstance(outcome, Unknown) and outcome.lasting:  # else the batch is full: even they notice that
            outcome = NotSent(outcome.code)
        on_created(batch, ask, outcome, now)

    monkeypatch.setattr(Batch, "on_created", again)


def delete_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Intake._keep

    def deleted_first(intake: Intake, about: ListedObject, data: bytes, sha256: str) -> str:
        intake.bucket.delete(about)
        return keep(intake, about, data, sha256)

    monkeypatch.setattr(Intake, "_keep", deleted_first)


def know_patients_without_first_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "person", lambda fields: identity.person({**fields, "vorname": ""}))


def know_therapists_without_first_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TherapistIdentity, "is_still", lambda one, other: one.last_name == other.last_name)


@pytest.mark.parametrize(
    ("scene", "damage", "difference"),
    [
        (csc.run, forget_vanished_items, "what the receiver holds of row 43 is not what it must be"),
        (csc.run, write_nothing_back, "run 2: replayed is 60, must be 0"),
        (csc.run, expect_another_figure, "csc-submit, run 2: superseded is 0, must be 1"),
        (hospitals.run, repeat_what_got_no_answer, "hospitals-bulk, run 1: exit code is 11, must be 0"),
        (patients.run, delete_before_the_commit, "after run 2: objects in the bucket is 1, must be 2"),
        (patients.run, know_patients_without_first_names, "patient-import: patients is 10, must be 11"),
        (therapists.run, know_therapists_without_first_names, "therapists in the table is 80, must be 81"),
        (cqc.run, forget_changed_columns, "cqc-fetch, run 2: changed is 0, must be 40"),
        (cqc.run, take_whatever_comes, "cqc-fetch: files in the folder is 9, must be 8"),
    ],
)
def test_it_is_red_when_something_is_lost(
    scene: Scene,
    damage: Callable[[pytest.MonkeyPatch], None],
    difference: str,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr(demo, "SCENES", (scene,))
    damage(monkeypatch)
    assert main(["demo"]) == 1
    out, err = capsys.readouterr()
    assert any(line.startswith("DIFFERS") and difference in line for line in out.splitlines())
    assert err.splitlines()[-1].endswith("-> exit 1")
    assert len(list(temporary.iterdir())) == 1  # for the report


def test_a_stop_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", stopped)
    assert main(["demo"]) == 130
    assert "hint: run it again" in capsys.readouterr().err
    assert list(temporary.iterdir()) == []


def test_a_bug_keeps_what_a_report_needs(temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "run", broken)
    assert main(["demo"]) == 1
    [kept] = temporary.iterdir()
    assert "this is a bug in dataflows" in capsys.readouterr().err
    assert len(list((kept / "logs").iterdir())) == 1


def test_findings_count_and_name_what_differs() -> None:
    findings = Comparison()
    findings.must("one", 1, 1)
    findings.must("two", 3, range(1, 3))
    findings.right("three", False)
    findings.right("row", True, False)
    findings.figures("run 1", {"sent": 2, "lost": 1, "seen": 5}, {"sent": 3, "seen": range(4, 6)})
    assert findings.checked == 5
    assert findings.differences == [
        "two is 3, must be 1 to 2",
        "three is not what it must be",
        "row 2 is not what it must be",
        "run 1: sent is 2, must be 3",
        "run 1: lost is 1, must be 0",
    ]
