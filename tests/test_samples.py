"""Every sample goes through the program as its README says; every mistake in one is named."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import main
from dataflows.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def called(*arguments: str, **settings: Any) -> tuple[int, str]:
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        for name, value in settings.items():
            monkeypatch.setenv(name, str(value))
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out + err

    return called


def staged(name: str, folder: Path) -> str:
    path = folder / "staging.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((SAMPLES / name).read_text(encoding="utf-8"))
    return f"sqlite:///{path.as_posix()}"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("staging.sql", 0, "3 done, 0 failed"),
        ("staging_with_a_mistake.sql", 3, "row 2  invalid  social_care_episodes[0].referral_date must not be null"),
    ],
)
def test_the_staging_table(call: Call, tmp_path: Path, name: str, code: int, words: str) -> None:
    settings = {"LA_CODE": "999", "API_ENDPOINT": "http://127.0.0.1:9"}
    ended = call("csc-submit", "--dry-run", DB_CONNECTION_STRING=staged(name, tmp_path), **settings)
    assert (ended[0], words in ended[1]) == (code, True), ended[1]


def test_a_dry_run_says_so_and_leaves_its_own_files_alone_in_the_folder(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("batch-00009.json", "mine.json"):
        (out / name).write_text("[]")
    settings = {"LA_CODE": "999", "API_ENDPOINT": "http://127.0.0.1:9"}
    url = staged("staging.sql", tmp_path)
    code, said = call("csc-submit", "--dry-run", "--out", str(out), DB_CONNECTION_STRING=url, **settings)
    assert code == 0
    for words in ("dry run: nothing is sent", "would send", "dry run, would be 3 done", f"written to  {out}"):
        assert words in said
    assert {path.name for path in out.iterdir()} == {"batch-00001.json", "mine.json"}
    code, said = call("runs", "list")
    assert "dry run" in said


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("child.json", 0, "1 done, 0 failed"),
        ("child_with_a_mistake.json", 4, "child_details.date_of_birth"),
    ],
)
def test_one_child(call: Call, tmp_path: Path, name: str, code: int, words: str) -> None:
    url = staged("staging.sql", tmp_path)
    with closing(sqlite3.connect(tmp_path / "staging.db")) as db, db:
        db.execute("DELETE FROM ssd_api_data_staging WHERE id > 1")
        text = (SAMPLES / name).read_text(encoding="utf-8")
        db.execute("UPDATE ssd_api_data_staging SET json_payload = ?", (text,))
    ended = call("csc-submit", "--dry-run", DB_CONNECTION_STRING=url, LA_CODE="999", API_ENDPOINT="http://127.0.0.1:9")
    assert (ended[0], words in ended[1]) == (code, True), ended[1]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("hospitals.csv", 0, "5 of 5 rows are valid"), ("hospitals_with_a_mistake.csv", 14, "row 4  phone_characters")],
)
def test_the_hospitals(call: Call, name: str, code: int, words: str) -> None:
    ended = call(
        "hospitals-bulk", str(SAMPLES / name), "--dry-run", EXTERNAL_API_BASE_URL="http://127.0.0.1:9/directory"
    )
    assert (ended[0], words in ended[1]) == (code, True), ended[1]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("registration", 0, "1 done, 0 failed"), ("registration_with_a_mistake", 4, "patient_data.email")],
)
def test_the_registration(call: Call, name: str, code: int, words: str) -> None:
    (file,) = (SAMPLES / name).iterdir()
    with Sandbox() as box:
        assert call("sandbox", "put", str(file), **box.settings())[0] == 0
        ended = call("patient-import", **box.settings())
    assert (ended[0], words in ended[1]) == (code, True), ended[1]


@pytest.mark.parametrize("where", ["https://storage.example.org", ""])
def test_a_bucket_that_is_no_sandbox_here_is_never_written_to(call: Call, where: str) -> None:
    code, said = call(
        "sandbox", "put", str(SAMPLES / "child.json"), STORAGE_EMULATOR_HOST=where, GCS_BUCKET="synthetic-b"
    )
    assert (code, "[sandbox-not-named]" in said) == (10, True)


def test_what_cannot_be_put_into_the_sandbox_says_why(call: Call) -> None:
    with Sandbox() as box:
        code, said = call("sandbox", "put", str(SAMPLES / "nothing.json"), **box.settings())
        assert (code, "cannot be read" in said) == (14, True)
        box.bucket.faults.set(error_next=5)
        code, said = call("sandbox", "put", str(SAMPLES / "child.json"), **box.settings())
        assert (code, "did not take child.json" in said) == (14, True)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("therapists", 0, "2 new"), ("therapists_with_a_mistake", 3, "basic_info.last_name")],
)
def test_the_therapists(call: Call, name: str, code: int, words: str) -> None:
    settings = {"THERAPIST_IMPORT_DIR": SAMPLES / name, "THERAPIST_SETTLE_SECONDS": 0}
    ended = call("therapist-import", "--dry-run", **settings)
    assert (ended[0], words in ended[1]) == (code, True), ended[1]


@pytest.mark.parametrize("command", ["patient-import", "therapist-import"])
def test_every_belongs_to_watch(call: Call, command: str) -> None:
    assert call(command, "--every", "5m")[0] == 2


def test_a_folder_without_therapists_is_told(call: Call, tmp_path: Path) -> None:
    code, said = call("therapist-import", THERAPIST_IMPORT_DIR=tmp_path)
    assert (code, "[therapists-no-files]" in said) == (0, True)


def test_the_readme_names_every_sample() -> None:
    named = set(re.findall(r"^\| `([^`]+?)/?` \|", (SAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {path.name for path in SAMPLES.iterdir()} - {"README.md"}
