"""What the routes of seeds 003 and 004 say about batches: seed 004's names, what is gone, waits, and hints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.processes import until
from tests.web.world import Answer, Served, World

ENDED = ("completed", "partially_completed", "failed")


def uploaded(served: Served, file: Path) -> str:
    """Upload a file as seed 004 has it, and wait for its end; returns the batch."""
    answer = served.upload("/batch/upload-csv", file)
    assert answer.status == 202, answer.body
    batch_id = str(answer["batch_id"])
    until(lambda: served.get(f"/batch/{batch_id}/progress")["processing_status"] in ENDED, "the batch ends")
    return batch_id


def statuses(answer: Answer) -> list[str]:
    return [row["status"] for row in answer["hospitals"]]


def test_status_has_the_names_of_seed_004s_program(served: Served, shared: World) -> None:
    batch_id = uploaded(served, shared.write(2, "names"))
    answer = served.get(f"/batch/{batch_id}/status")
    assert (answer["processing_status"], answer["status"], answer["deleted_hospitals"]) == ("completed", "completed", 0)
    first = answer["hospitals"][0]
    assert set(first) == {"row", "hospital_id", "name", "address", "phone", "status", "error_message"}
    assert (first["error_message"], first["name"].endswith("names"), bool(first["address"])) == (None, True, True)


def test_deleted_is_told_when_the_directory_says_so(world: World) -> None:
    with world.serving() as served:
        batch_id = uploaded(served, world.write(3))
        gone = world.directory.records[1]
        world.directory._memory.delete(gone["id"])
        answer = served.get(f"/batch/{batch_id}/status")
        progress = served.get(f"/batch/{batch_id}/progress")
    assert (answer["deleted_hospitals"], progress["deleted_hospitals"]) == (1, 1)
    [row] = [row for row in answer["hospitals"] if row["status"] == "deleted"]
    assert row["name"] == gone["name"]


def test_a_directory_that_cannot_be_asked_deletes_nothing(world: World) -> None:
    with world.serving() as served:
        batch_id = uploaded(served, world.write(3))
        world.directory.faults_of("list").set(error_share=1.0)
        answer = served.get(f"/batch/{batch_id}/status")
    assert (answer.status, answer["deleted_hospitals"], statuses(answer)) == (200, 0, ["created_and_activated"] * 3)


def test_a_file_that_grew_counts_what_is_there(served: Served, shared: World) -> None:
    uploaded(served, shared.write(2, "grows"))
    before = shared.directory.calls["create"]
    batch_id = uploaded(served, shared.write(5, "grows"))
    answer = served.get(f"/batch/{batch_id}/status")
    assert shared.directory.calls["create"] - before == 3
    assert (answer["processed_hospitals"], statuses(answer)) == (5, ["created_and_activated"] * 5)
    assert all(isinstance(row["hospital_id"], int) for row in answer["hospitals"])
    again = served.upload("/hospitals/bulk", shared.write(5, "grows"))
    assert set(again["hospitals"][0]) == {"row", "hospital_id", "name", "status"}


def test_what_is_waited_for_is_the_current_step_everywhere(world: World) -> None:
    pace = {"HOSPITALS_CREATES_PER_MINUTE": "2", "HOSPITALS_WINDOW_SECONDS": "30"}
    with world.serving(**pace) as served:
        batch_id = served.upload("/batch/upload-csv", world.write(4))["batch_id"]

        def waits(path: str, name: str) -> bool:
            return str(served.get(path)[name]).startswith("waiting ")

        until(lambda: waits(f"/batch/{batch_id}/progress", "current_message"), "seed 004 tells of the wait")
        assert waits(f"/hospitals/progress/{batch_id}", "current_step")
        until(lambda: served.get(f"/batch/{batch_id}/progress")["processed_hospitals"] == 2, "two are counted")
        followed = world.run("runs", "show", batch_id, "--json").keeps_the_contract()
    assert followed.document["step"].startswith("waiting ")


def resumable(world: World, served: Served, tag: str) -> str:
    """A batch that broke off, since nothing is activated."""
    world.directory.faults_of("activate").set(error_share=1.0)
    try:
        answer = served.upload("/hospitals/bulk", world.write(3, tag))
    finally:
        world.directory.faults_of("activate").set(error_share=0.0)
    assert answer.status == 503
    _speaks_http(answer)
    return str(answer["batch_id"])


def _speaks_http(answer: Answer) -> None:
    hint: Any = answer["error"]["hint"]
    assert hint and "--" not in hint and "dataflows " not in hint


def test_an_abandoned_batch_is_completed(served: Served, shared: World) -> None:
    batch_id = resumable(shared, served, "completed")
    assert served.get(f"/hospitals/progress/{batch_id}")["is_completed"] is False
    assert served.call("DELETE", f"/hospitals/batch/{batch_id}/abandon").status == 200
    progress = served.get(f"/hospitals/progress/{batch_id}")
    assert (progress["status"], progress["is_completed"]) == ("failed", True)
    answer = served.get(f"/batch/{batch_id}/status")
    assert (answer["deleted_hospitals"], statuses(answer)) == (3, ["deleted"] * 3)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_hints_name_routes(method: str, served: Served, shared: World) -> None:
    batch_id = uploaded(served, shared.write(1, f"hint {method}"))
    path = f"/hospitals/resume/{batch_id}" if method == "POST" else f"/hospitals/batch/{batch_id}/abandon"
    answer = served.call(method, path)
    assert answer.status == 409
    _speaks_http(answer)


def test_a_refused_row_is_explained_in_http(served: Served, shared: World) -> None:
    file = shared.write(2, "refused by name")
    shared.directory.faults.set(refuse_names=["refused by name"])
    answer = served.upload("/hospitals/bulk", file)
    shared.directory.faults.set(refuse_names=[])
    assert answer["error"]["code"] == "rows_refused"
    _speaks_http(answer)
    status = served.get(f"/batch/{answer['batch_id']}/status")
    assert {row["error_message"] for row in status["hospitals"]} == {"the Hospital Directory refuses this row (422)"}


def test_a_file_that_is_too_long_is_explained_in_http(served: Served, shared: World) -> None:
    answer = served.upload("/hospitals/bulk", shared.write(21, "long"))
    assert answer.status == 422
    assert "--" not in answer.body.decode()
