"""What the last release left is gone on with: its journal, its key, its staging table, its practice database."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.csc.world import World
from tests.flows.hospitals.world import QUICK
from tests.frozen import thaw

CONTENTS = ("patients", "patient_registrations", "patient_consents", "therapists", "therapist_changes", "outbox")


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    with Sandbox() as box:
        folder = tmp_path / "data"
        folder.mkdir()
        thaw(folder, int(box.url.rpartition(":")[2]))
        yield World(tmp_path, box, capsys, f"sqlite:///{(folder / 'staging.db').as_posix()}")


def test_all_runs_are_listed_and_shown(world: World) -> None:
    runs = world.call("runs", "list", "--json")["items"]
    assert Counter(run["status"] for run in runs) == {"done": 8, "partial": 6, "failed": 1}
    for run in runs:
        shown = world.call("runs", "show", run["run_id"], "--json")
        assert {name: shown[name] for name in ("run_id", "status", "counts")} == {
            name: run[name] for name in ("run_id", "status", "counts")
        }


def test_children_that_it_sent_are_not_sent_again_and_what_changes_goes_as_a_delta(world: World) -> None:
    ran = world.submit()  # of its two errors one is still there, and one the receiver takes now
    assert (ran.code, ran["rows"], ran["invalid"], ran["full"], ran["sent"]) == (3, 4, 1, 0, 1)
    assert len(world.requests()) == 1

    row = next(row for row in world.rows() if row.submission_status == "sent")
    payload = json.loads(row.json_payload)
    payload["mis_child_id"] = "m-99"
    world.restage(row.id, payload, overwrite_previous=True)
    ran = world.submit()
    assert (ran["full"], ran["delta"], ran["reset"], ran["sent"], ran["untrusted"]) == (0, 1, 0, 1, 0)
    changed = {"la_child_id": payload["la_child_id"], "mis_child_id": "m-99"}
    assert json.loads(world.requests()[-1]) == [changed]


def test_a_file_of_hospitals_that_it_brought_in_creates_none(world: World) -> None:
    world.box.directory.faults.set(create_ms=0, creates_per_minute=0, calls_per_minute=0)
    send = ("hospitals-bulk", str(world.folder / "data" / "first.csv"), "--max-rows", "100", "--json")
    there = world.call(*send, DATA_DIR=str(world.folder / "another machine"), **QUICK)
    assert there["counts"]["done"] == 45

    ran = world.call(*send, **QUICK)
    assert (ran.code, ran["counts"]) == (0, {"done": 0, "failed": 0, "skipped": 45, "pending": 0})


def contents(
    world: World, like: dict[str, list[dict[str, object]]] | None = None
) -> dict[str, list[dict[str, object]]]:
    """What the practice database holds; ``like`` that, where a column that came since is left out."""
    with closing(sqlite3.connect(world.folder / "data" / "practice.db")) as db:
        db.row_factory = sqlite3.Row
        found = {name: [dict(row) for row in db.execute(f"SELECT * FROM {name} ORDER BY 1")] for name in CONTENTS}
    if like is None:
        return found
    return {name: [{key: row[key] for key in like[name][0]} for row in rows] for name, rows in found.items()}


def test_imports_go_on_with_its_practice_database(world: World) -> None:
    before = contents(world)
    ran = world.call("therapist-import", "--json", THERAPIST_IMPORT_DIR=str(world.folder / "data" / "scraper"))
    counts = ran["counts"]  # its broken file is tried again, or given up by now
    assert (counts["done"], counts["failed"] + counts["skipped"]) == (0, 3)
    ran = world.call("patient-import", "--json")
    assert (ran.code, ran["counts"]) == (0, {"done": 0, "failed": 0, "skipped": 0, "pending": 0})
    assert contents(world, like=before) == before


def test_exports_are_fetched_beside_those_of_its_history(world: World) -> None:
    ran = world.call("cqc-fetch", "--json")
    assert (ran.code, ran["counts"]["done"], ran["counts"]["failed"]) == (0, 3, 0)
