"""``serve --watch``: the imports run in the background, and /health/import tells how they are."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataflows.errors import ExitCode
from dataflows.runs.history import RunHistory
from dataflows.runs.journal import Item, Journal
from dataflows.settings import Settings
from dataflows.web.access import Access
from dataflows.web.context import ServerContext
from dataflows.web.imports import IMPORTS, Watched
from dataflows.web.watching import _health
from tests.flows.patients.world import name_of, registration, written
from tests.flows.therapists.world import scrape, therapist
from tests.processes import until
from tests.web.world import TOKEN, Served, World

HEADERS = {"X_Auth_Token": TOKEN}
PATIENTS, THERAPISTS = "patient-import", "therapist-import"


@pytest.fixture
def practice(world: World) -> World:
    """A world with one registration and one therapist."""
    body = registration()
    world.box.bucket.put(name_of(body), written(body))
    folder = world.folder / "scraped"
    folder.mkdir()
    (folder / "52074.json").write_text(json.dumps(scrape(therapist())), encoding="utf-8")
    world.program.environment |= {"THERAPIST_IMPORT_DIR": str(folder), "THERAPIST_SETTLE_SECONDS": "0"}
    return world


def imports(served: Served) -> dict[str, Any]:
    found = served.get("/health/import")["imports"]
    assert isinstance(found, dict)
    return found


def have_ended(served: Served) -> bool:
    passes = [one["last_pass"] for one in imports(served).values()]
    return all(one is not None and one["ended_at"] for one in passes)


def test_both_imports_run_and_are_well(practice: World) -> None:
    with practice.serving("--watch", "patients,therapists") as served:
        until(lambda: have_ended(served), "both passes end")
        answer = served.get("/health/import")
    assert (answer.status, answer["ok"]) == (200, True)
    patients, therapists = answer["imports"]["patients"], answer["imports"]["therapists"]
    assert (patients["command"], patients["every_seconds"]) == (PATIENTS, 3600.0)
    assert (therapists["command"], therapists["every_seconds"]) == (THERAPISTS, 604800.0)
    assert (patients["last_pass"]["exit_code"], patients["last_pass"]["counts"]["done"]) == (0, 1)
    assert therapists["last_pass"]["exit_code"] == 0
    assert practice.box.bucket.objects == {}


def test_passes_follow_each_other(practice: World) -> None:
    with practice.serving("--watch", "patients=0.1s") as served:
        until(lambda: have_ended(served), "a first pass ends")
        first = imports(served)["patients"]["last_pass"]["run_id"]
        until(lambda: bool(imports(served)["patients"]["last_pass"]["run_id"] != first), "another pass begins")
        served.process.interrupt()
        assert served.process.ended().code == 130


def test_an_import_that_waiting_does_not_mend_turns_it_503(practice: World) -> None:
    with practice.serving("--watch", "therapists", THERAPIST_IMPORT_DIR="") as served:
        until(lambda: bool(imports(served)["therapists"]["given_up"]), "it is given up")
        assert served.get("/health/import").status == 503
        assert served.get("/health").status == 200


def test_without_watch_there_is_nothing_to_tell(world: World) -> None:
    with world.serving() as served:
        assert (served.get("/health/import").status, served.get("/health/import").json) == (
            200, {"ok": True, "imports": {}}
        )  # fmt: skip


@pytest.mark.parametrize("wished", ["nurses", "patients=soon", "patients=0s"])
def test_what_is_no_import_is_wrong_usage(wished: str, world: World) -> None:
    assert world.program.run("serve", "--watch", wished).code == 2


# --- when is an import well -------------------------------------------------------------------------------------------


class Past:
    """A journal with passes of the past."""

    def __init__(self, folder: Path) -> None:
        self.context = ServerContext(Settings(data_dir=folder), Access(None))
        self.context.open()
        self.watched = Watched(IMPORTS["patients"], every=3600.0)

    def passed(self, code: ExitCode, states: str = "") -> None:
        """A pass that has just ended, with items that are done (d) or failed (f)."""
        journal: Journal = self.context.journal
        run_id = journal.start(PATIENTS, "database", options={})
        full = {"d": "done", "f": "failed"}
        journal.record(run_id, [Item(f"{at:02}", full[one]) for at, one in enumerate(states)])
        journal.finish(run_id, "done", code, {}, None)

    def is_well(self) -> bool:
        return _health(self.context, self.watched).ok


@pytest.fixture
def past(tmp_path: Path) -> Any:
    made = Past(tmp_path)
    yield made
    made.context.close()


def test_a_new_server_is_not_overdue(past: Past) -> None:
    assert past.is_well()


@pytest.mark.parametrize(("code", "well"), [(ExitCode.SOME_FAILED, True), (ExitCode.SERVICE_DOWN, False)])
def test_overdue_once_no_pass_came_to_its_end_for_twice_the_time(code: ExitCode, well: bool, past: Past) -> None:
    past.watched.since = time.time() - 7201
    assert not past.is_well()
    past.passed(code)
    assert past.is_well() is well


@pytest.mark.parametrize(("states", "well"), [("d" * 10 + "f" * 10, True), ("d" * 9 + "f" * 11, False), ("f", False)])
def test_most_of_the_last_twenty_items_failed(states: str, well: bool, past: Past) -> None:
    past.passed(ExitCode.SOME_FAILED, states)
    assert past.is_well() is well


def test_older_items_than_the_last_twenty_do_not_count(past: Past) -> None:
    past.passed(ExitCode.ALL_FAILED, "f" * 30)
    with past.context.journal.transaction() as db:
        db.execute("UPDATE items SET ended_at = '2026-01-01T00:00:00.000+00:00'")
    past.passed(ExitCode.OK, "d" * 20)
    assert past.is_well()


# --- /metrics ---------------------------------------------------------------------------------------------------------


def test_metrics_parse_and_count_runs_of_every_process(practice: World) -> None:
    assert practice.run("patient-import").code == 0
    with practice.serving() as served:
        answer = served.get("/metrics", **HEADERS)
    families = {one.name: one for one in text_string_to_metric_families(answer.body.decode())}
    assert set(families) == {
        "dataflows_runs", "dataflows_items", "dataflows_runs_seconds", "dataflows_last_run_end_timestamp_seconds",
        "dataflows_last_run_exit_code",
    }  # fmt: skip
    [runs] = families["dataflows_runs"].samples
    assert (runs.labels, runs.value) == ({"command": PATIENTS, "state": "done"}, 1.0)
    done = [one.value for one in families["dataflows_items"].samples if one.labels["state"] == "done"]
    assert done == [1.0]


def states(tmp_path: Path, *runs: str) -> list[str]:
    """The latest attempts of therapist-import, after runs with one item each."""
    journal = Journal.open(tmp_path)
    for number, state in enumerate(runs):
        run_id = journal.start(THERAPISTS, "t", options={})
        journal.record(run_id, [Item(f"{number}.json", state), *(Item(f"{n}", "skipped", 0) for n in range(30))])
        journal.finish(run_id, "done", 0, {}, None)
    found = RunHistory(journal).attempts(THERAPISTS, 20)
    journal.close()
    return found


def test_an_import_whose_only_file_has_failed_is_not_well_however_often_it_was_skipped_since(tmp_path: Path) -> None:
    assert states(tmp_path, "failed", *["skipped"] * 30) == ["failed"]


def test_attempts_count_and_not_what_needed_none(tmp_path: Path) -> None:
    assert states(tmp_path, "failed", "done", "skipped", "done") == ["done", "done", "failed"]
