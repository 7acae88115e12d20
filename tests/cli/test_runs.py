"""``runs``: what an operator looks at in the morning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import main
from dataflows.errors import ServiceDown
from dataflows.runs.journal import ABANDONED, DONE, RESUMABLE, RUNNING, Item, Journal
from dataflows.runs.lock import only_one


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return Journal.open(tmp_path / "data")


def run(journal: Journal, target: str = "table", **options: object) -> str:
    return journal.start("csc-submit", target, options=options)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["runs", *arguments, "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


def test_list_tells_the_newest_first(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run(journal, "a"), run(journal, "b")
    journal.finish(first, DONE, 0, {"done": 3}, None)
    journal.finish(
        second, RESUMABLE, 13, {"done": 1}, ServiceDown("the CSC API does not answer", reason="test", hint="later")
    )
    code, document = told(capsys, "list")
    assert (code, [item["run_id"] for item in document["items"]]) == (0, [second, first])
    assert document["items"][0]["error"] == {
        "code": "service_down", "reason": "test", "message": "the CSC API does not answer", "hint": "later",
    }  # fmt: skip
    _, document = told(capsys, "list", "--resumable")
    assert [item["run_id"] for item in document["items"]] == [second]


def test_a_killed_run_is_resumable_and_a_living_one_is_not(
    journal: Journal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dead, alive = run(journal, "dead"), run(journal, "alive")
    with only_one(tmp_path / "data", "csc-submit", "alive"):
        _, document = told(capsys, "list")
    assert {item["run_id"]: item["status"] for item in document["items"]} == {dead: RESUMABLE, alive: RUNNING}


def test_a_killed_dry_run_is_nothing_to_resume(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run(journal, dry_run=True)
    assert told(capsys, "list", "--resumable")[1]["items"] == []


def test_show_lists_failed_items(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = run(journal)
    failures = [
        Item(str(n), "failed", 1, "invalid", "child_details.sex must have at most 1 characters") for n in range(30)
    ]
    journal.record(run_id, [*failures, Item("99", "done")])
    journal.finish(run_id, "partial", 3, {"done": 1, "failed": 30}, None)
    assert len(told(capsys, "show", run_id[:8])[1]["items"]) == 20
    assert len(told(capsys, "show", run_id[:8], "--failed")[1]["items"]) == 30
    assert main(["runs", "show", run_id[:8]]) == 0
    out, err = capsys.readouterr()
    assert "child_details.sex" in out
    assert "and 10 more" in err


def test_follow_ends_with_the_run(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = run(journal)  # its process is gone, which following finds out
    assert told(capsys, "show", run_id, "--follow")[1]["status"] == RESUMABLE


def test_abandon_takes_a_run_off_the_list(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = run(journal)
    assert told(capsys, "abandon", run_id[:8])[1]["status"] == ABANDONED
    assert told(capsys, "list", "--resumable")[1]["items"] == []
    assert main(["runs", "abandon", run_id[:8]]) == 2


def test_a_running_run_is_not_abandoned(journal: Journal, tmp_path: Path) -> None:
    run_id = run(journal)
    with only_one(tmp_path / "data", "csc-submit", "table"):
        assert main(["runs", "abandon", run_id[:8]]) == 11


def test_what_has_ended_is_not_resumed(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = run(journal)
    journal.finish(run_id, DONE, 0, {}, None)
    assert main(["runs", "resume", run_id[:8]]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_a_run_for_one_child_names_nobody_so_it_is_run_again_by_hand(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = run(journal, one_child=True)
    assert main(["runs", "resume", run_id[:8]]) == 2
    assert "the same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("age", "code"), [("30d", 0), ("12h", 0), ("5min", 0), ("5m", 2), ("soon", 2), ("5", 2), ("-5d", 2)]
)
def test_prune_wants_an_age(journal: Journal, age: str, code: int) -> None:
    assert main(["runs", "prune", f"--older-than={age}"]) == code


def test_an_unknown_run_is_a_usage_error(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", "zzz"]) == 2
    assert "runs list" in capsys.readouterr().err


@pytest.mark.parametrize("age", ["800000d", "999999999d", "9" * 400 + "d", "\u0663d", "-1d", "d"])
def test_an_age_that_no_calendar_has_is_wrong_usage(
    age: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--data-dir", str(tmp_path), "runs", "prune", f"--older-than={age}"]) == 2
    assert "--older-than" in capsys.readouterr().err
