"""Every curl command of the seeds 000, 003 and 004, with the address changed, against a running server."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from dataflows.runs.journal import Journal
from tests.processes import until
from tests.web.world import TOKEN, Served, World

FINAL = re.compile(r"cqc_(homecare|carehomes)_\d{8}_\d{6}Z\.csv")
CSV = ("-F", "file=@sample_hospitals.csv")
SAMPLE = """\
name,address,phone
General Hospital,123 Main Street,555-0100
City Medical Center,456 Oak Avenue,555-0200
Community Hospital,789 Pine Road,
"""


@pytest.fixture(scope="module")
def folder(shared: World) -> Path:
    """Where the caller stands, with the seeds' files."""
    for name in ("sample_hospitals.csv", "hospitals.csv"):
        (shared.folder / name).write_text(SAMPLE.replace("Hospital", f"Hospital of {name}"), encoding="utf-8")
    return shared.folder


@pytest.fixture(scope="module")
def curl(served: Served, folder: Path) -> Any:
    """Call curl with these words, ``{}`` being the address; returns the status and the document."""

    def call(*words: str) -> tuple[int, Any]:
        status, text = served.curl(*(word.replace("{}", served.address) for word in words), folder=folder)
        return status, json.loads(text) if text.startswith(("{", "[")) else text

    return call


@pytest.fixture(scope="module")
def ran(curl: Any) -> dict[str, Any]:
    status, document = curl("-X", "POST", "{}/run", "-H", f"X-Auth-Token: {TOKEN}")
    assert status == 200
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def bulk(curl: Any) -> dict[str, Any]:
    status, document = curl("-X", "POST", "{}/hospitals/bulk", *CSV)
    assert status == 200
    assert isinstance(document, dict)
    return document


# --- seed 000 ---------------------------------------------------------------------------------------------------------


def test_health(curl: Any) -> None:
    assert curl("{}/health") == (200, {"ok": True})


def test_run(ran: dict[str, Any], shared: World) -> None:
    assert list(ran) == ["status", "saved_to", "results"]
    assert (ran["status"], ran["saved_to"]) == ("ok", str(shared.data))
    for name in ("homecare", "carehomes"):
        result = ran["results"][name]
        assert list(result) == ["file", "bytes", "url", "error"]
        found = FINAL.fullmatch(result["file"])
        assert found is not None and found[1] == name
        assert result == {
            "file": result["file"], "bytes": (shared.data / result["file"]).stat().st_size,
            "url": f"/files/{result['file']}", "error": None,
        }  # fmt: skip


def test_the_body_of_run_is_ignored(served: Served, ran: dict[str, Any]) -> None:
    assert ran["status"] == "ok"
    for body, kind in ((b'{"any": "thing"}', "application/json"), (b"a=1", "application/x-www-form-urlencoded")):
        headers = {"X-Auth-Token": TOKEN, "Content-Type": kind}
        assert served.call("POST", "/run", headers=headers, body=body)["status"] == "ok"


@pytest.mark.parametrize("name", ["homecare", "carehomes"])
def test_download(name: str, curl: Any, ran: dict[str, Any], shared: World) -> None:
    saved = shared.folder / f"{name}.csv"
    status, _ = curl("-L", f"{{}}{ran['results'][name]['url']}?token={TOKEN}", "-o", saved.name)
    assert status == 200
    assert saved.read_bytes() == (shared.data / ran["results"][name]["file"]).read_bytes()


def test_a_file_is_an_attachment_under_its_name(served: Served, ran: dict[str, Any]) -> None:
    name = ran["results"]["homecare"]["file"]
    answer = served.get(f"/files/{name}", X_Auth_Token=TOKEN)
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-type"].startswith("text/csv")
    assert served.get(f"/files/latest/homecare?token={TOKEN}").body == answer.body


def test_a_source_that_fails_is_told_in_the_same_shape(world: World) -> None:
    gone = world.environment["CQC_URL_HOMECARE"].replace("homecare.csv", "nothing.csv")
    with world.serving(CQC_URL_HOMECARE=gone) as served:
        answer = served.post("/run", X_Auth_Token=TOKEN)
    assert (answer.status, answer["status"]) == (200, "partial")
    assert answer["results"]["homecare"]["file"] is None
    assert "404" in answer["results"]["homecare"]["error"]
    assert answer["results"]["carehomes"]["error"] is None


# --- seed 003 ---------------------------------------------------------------------------------------------------------


def test_validate(curl: Any) -> None:
    status, document = curl("-X", "POST", "{}/hospitals/validate", *CSV)
    assert status == 200
    assert document == {
        "is_valid": True,
        "total_rows": 3,
        "valid_rows": 3,
        "invalid_rows": 0,
        "errors": [],
        "warnings": [],
        "preview_hospitals": [
            {"name": "General Hospital of sample_hospitals.csv", "address": "123 Main Street", "phone": "555-0100"},
            {"name": "City Medical Center", "address": "456 Oak Avenue", "phone": "555-0200"},
            {"name": "Community Hospital of sample_hospitals.csv", "address": "789 Pine Road", "phone": None},
        ],
        "file_info": {"size_bytes": document["file_info"]["size_bytes"], "encoding": "utf-8", "delimiter": ",",
                      "has_header": True},
    }  # fmt: skip


def test_bulk(bulk: dict[str, Any]) -> None:
    assert bulk == {
        "batch_id": str(uuid.UUID(bulk["batch_id"])),
        "total_hospitals": 3,
        "processed_hospitals": 3,
        "failed_hospitals": 0,
        "processing_time_seconds": bulk["processing_time_seconds"],
        "batch_activated": True,
        "hospitals": [
            {"row": row, "hospital_id": one["hospital_id"], "name": name, "status": "created_and_activated"}
            for row, name, one in zip(
                (1, 2, 3),
                ("General Hospital of sample_hospitals.csv", "City Medical Center",
                 "Community Hospital of sample_hospitals.csv"),
                bulk["hospitals"], strict=True,
            )
        ],
    }  # fmt: skip
    assert all(isinstance(one["hospital_id"], int) for one in bulk["hospitals"])


def test_progress(curl: Any, bulk: dict[str, Any]) -> None:
    status, document = curl(f"{{}}/hospitals/progress/{bulk['batch_id']}")
    assert status == 200
    assert list(document) == [
        "batch_id", "status", "total_hospitals", "processed_hospitals", "failed_hospitals", "progress_percentage",
        "processing_time_seconds", "current_step", "batch_activated", "is_completed", "hospitals",
    ]  # fmt: skip
    assert (document["status"], document["progress_percentage"], document["is_completed"]) == ("completed", 100.0, True)
    assert set(document["hospitals"][0]) == {"row", "name", "status", "hospital_id", "processing_time"}


def broken_off(world: World, served: Served, tag: str) -> str:
    """A batch of three that the Directory did not let come to its end; returns its id."""
    world.directory.faults.set(error_share=1.0)
    try:
        answer = served.upload("/hospitals/bulk", world.write(3, tag))
    finally:
        world.directory.faults.set(error_share=0.0)
    assert answer.status == 503
    assert (answer["batch_activated"], answer["error"]["code"]) == (False, "service_down")
    return str(answer["batch_id"])


def test_resumable_and_resume(curl: Any, shared: World, served: Served) -> None:
    batch_id = broken_off(shared, served, "resume")
    status, listed = curl("{}/hospitals/resumable")
    assert status == 200
    [one] = [one for one in listed if one["batch_id"] == batch_id]
    assert list(one) == [
        "batch_id", "total_hospitals", "processed_hospitals", "failed_hospitals", "resume_from_row", "failure_reason",
        "last_checkpoint_time",
    ]  # fmt: skip
    assert (one["total_hospitals"], one["processed_hospitals"], one["resume_from_row"]) == (3, 0, 1)
    assert isinstance(one["last_checkpoint_time"], float)
    status, document = curl("-X", "POST", f"{{}}/hospitals/resume/{batch_id}")
    assert status == 200
    assert (document["processed_hospitals"], document["batch_activated"]) == (3, True)
    assert [row["status"] for row in document["hospitals"]] == ["created_and_activated"] * 3
    assert batch_id not in {one["batch_id"] for one in curl("{}/hospitals/resumable")[1]}
    assert curl("-X", "POST", f"{{}}/hospitals/resume/{batch_id}")[0] == 409


def test_abandon(curl: Any, shared: World, served: Served) -> None:
    batch_id = broken_off(shared, served, "abandon")
    status, document = curl("-X", "DELETE", f"{{}}/hospitals/batch/{batch_id}/abandon")
    assert (status, document["batch_id"], document["status"]) == (200, batch_id, "abandoned")
    assert not [name for name in shared.names() if name.endswith("abandon")]


def test_cleanup_forgets_what_ended_more_than_a_day_ago(curl: Any, shared: World, bulk: dict[str, Any]) -> None:
    journal = Journal.open(shared.data)
    with journal.transaction() as db:
        db.execute("UPDATE runs SET ended_at = '2026-01-01T00:00:00+00:00' WHERE batch_id = ?", (bulk["batch_id"],))
    journal.close()
    status, document = curl("-X", "POST", "{}/hospitals/progress/cleanup")
    assert (status, document["removed"] >= 1) == (200, True)
    assert curl(f"{{}}/hospitals/progress/{bulk['batch_id']}")[0] == 404


# --- seed 004 ---------------------------------------------------------------------------------------------------------


def test_upload_csv_progress_and_status(curl: Any) -> None:
    form = ("-H", "Content-Type: multipart/form-data", "-F", "file=@hospitals.csv")
    status, document = curl("-X", "POST", "{}/batch/upload-csv", *form)
    batch_id = document["batch_id"]
    assert (status, document) == (
        202,
        {
            "batch_id": str(uuid.UUID(batch_id)),
            "total_hospitals": 3,
            "message": "CSV upload initiated. Use batch_id to track progress.",
            "status": "pending",
        },
    )
    until(lambda: curl(f"{{}}/batch/{batch_id}/progress")[1]["processing_status"] == "completed", "the batch ends")
    assert curl(f"{{}}/batch/{batch_id}/progress")[1] == {
        "batch_id": batch_id,
        "progress_percentage": 100.0,
        "processing_status": "completed",
        "processed_hospitals": 3,
        "total_hospitals": 3,
        "failed_hospitals": 0,
        "deleted_hospitals": 0,
        "current_message": "3 of 3 hospitals are there",
    }
    status, document = curl(f"{{}}/batch/{batch_id}/status")
    assert (status, document["status"], document["batch_activated"]) == (200, "completed", True)
    assert [row["status"] for row in document["hospitals"]] == ["created_and_activated"] * 3


@pytest.mark.parametrize("header", ["Name,Address,Phone", "name,address", "phone,name,address", "name;address;phone"])
def test_another_header_is_refused_in_the_seeds_words(header: str, shared: World, served: Served) -> None:
    file = shared.folder / "header.csv"
    file.write_text(f"{header}\nGeneral Hospital,123 Main Street,555-0100\n", encoding="utf-8")
    answer = served.upload("/batch/upload-csv", file)
    assert answer.status == 422
    assert answer["detail"] == [
        {
            "loc": ["file", "headers"],
            "msg": "CSV headers must be exactly: name,address,phone",
            "type": "invalid_headers",
        }
    ]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
def test_the_addresses_of_the_documentation(path: str, served: Served) -> None:
    assert served.get(path).status == 200
