"""Every file and folder that any command makes is its owner's alone, whatever the mask and while a run is at work."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.cli.main import _command, main
from dataflows.cli.options import variables
from dataflows.flows.csc.table import staging_table
from dataflows.flows.practice.patients.tracking import ATTEMPTS
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.synthetic_practice import therapist
from tests.accounts import any_mask, open_to_others, posix
from tests.flows.hospitals.world import QUICK
from tests.flows.patients.world import name_of, registration, written
from tests.flows.people import on_stdin
from tests.processes import PATIENCE, Program, until
from tests.web.served import CSV, TOKEN, Caller

pytestmark = posix
Capture = pytest.CaptureFixture[str]

_ADDRESS = re.compile(r"(?:serving|running) on http://127.0.0.1:(\d+)")


class House:
    """A folder in which everything is made by the program, beside one with what people hand to it."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        self.made, self.given = folder / "made", folder / "given"
        for one in (self.made, self.given):
            one.mkdir(mode=0o700)
        self.box = box
        self.staging = self.made / "staging" / "new" / "staging.db"
        self.settings = {
            **box.settings(), **QUICK,
            "DATA_DIR": str(self.made / "new" / "sub"),
            "DB_CONNECTION_STRING": f"sqlite:///{self.staging}",
            "IMPORT_DATABASE_URL": f"sqlite:///{self.made / 'practice' / 'new' / 'practice.db'}",
            "PATIENT_BACKUP_DIR": str(self.made / "copies" / "new"),
            "THERAPIST_IMPORT_DIR": str(self.given / "therapists"),
            "THERAPIST_SETTLE_SECONDS": "0",
            "HTTP_ATTEMPTS": "1",
            "HTTP_TIMEOUT_SECONDS": "5",
            "RUN_TOKEN": TOKEN,
            "TMPDIR": str(self.made),
            "TEMP": str(self.made),
        }  # fmt: skip
        self.met: set[str] = set()
        self.named: set[str] = set()

    def look(self) -> None:
        """Remember what is open to others now."""
        self.met.update(open_to_others(self.made))
        self.named.update(path.name for path in self.made.rglob("*"))

    def run(self, *arguments: str, **settings: str) -> int:
        """Run a command in this process, started with the mask that takes no right away."""
        with pytest.MonkeyPatch.context() as patch, any_mask():
            for name, value in {**self.settings, **settings}.items():
                patch.setenv(name, value)
            code = main(arguments)
            assert os.umask(0) == 0, "the mask of the process is as it was"
        self.look()
        return code

    @contextmanager
    def started(self, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """A process with that mask, and the file of what it says."""
        said = self.given / "said.txt"
        environment = Program(self.given, self.settings).environment
        with said.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=out, stderr=out, cwd=self.given, env=environment, umask=0
            )
        try:
            yield popen, said
        finally:
            popen.terminate()
            popen.wait(PATIENCE)
        self.look()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    quick = {"create_ms": 5.0, "creates_per_minute": 0, "calls_per_minute": 0}
    monkeypatch.chdir(tmp_path)
    with Sandbox(seed=1, faults={"directory": quick}) as box:
        house = House(tmp_path, box)
        for service in (box.receiver, box.directory, box.cqc, box.bucket):
            monkeypatch.setattr(service, "arrived", _looked(house, service.arrived))
        yield house
        assert sorted(house.met) == []


def _looked(house: House, arrived: Any) -> Any:
    def looking(request: Any) -> Any:
        house.look()
        return arrived(request)

    return looking


def test_children(house: House) -> None:
    assert house.run("test-schema", "--create") == 0
    engine = sa.create_engine(house.settings["DB_CONNECTION_STRING"])
    with engine.begin() as connection:
        for number in range(3):
            payload = json.dumps({"la_child_id": f"SYN{number}"})
            connection.execute(staging_table("ssd_api_data_staging").insert().values(json_payload=payload))
    engine.dispose()
    assert house.run("csc-submit", "--dry-run", "--out", str(house.made / "out" / "a" / "b")) == 0
    assert house.run("csc-submit") == 0
    assert house.run("test-db") in (0, 10)
    assert house.run("test-endpoint") in (0, 10, 13)
    assert {"staging.db-wal", "staging.db-shm", "journal.db-wal", "journal.key", "batch-00001.json"} <= house.named
    assert any(name.startswith("staging.db.") and name.endswith(".lock") for name in house.named)


def test_an_embedded_staging_table(house: House) -> None:
    assert house.run("test-schema", "--create", DB_CONNECTION_STRING="") == 0
    assert "staging.db" in house.named


def test_care_services(house: House) -> None:
    output = house.made / "cqc" / "a" / "b"
    for _ in range(2):
        assert house.run("cqc-fetch", "--output", str(output), "--changes", "--merged") == 0
        house.box.cqc.faults.set(edition=2)
    assert {name.split("_")[0] for name in house.named if name.endswith(".csv")} == {"cqc", "changes", "merged"}
    assert any(name.endswith(".part") for name in house.named), "looked at while it was on its way"


def test_hospitals(house: House) -> None:
    file = house.given / "hospitals.csv"
    file.write_text(CSV.format("Private"))
    assert house.run("hospitals-bulk", str(file)) == 0
    assert "batches" in house.named


def test_registrations(house: House) -> None:
    bodies = [registration(), registration("Erika", token="1b1ab67b", geburtsdatum="no day")]
    for body in bodies:
        house.box.bucket.put(name_of(body), written(body))
    assert house.run("patient-import", SMTP_HOST="") == 3
    for _ in range(ATTEMPTS - 1):
        assert house.run("patient-import", SMTP_HOST="") in (0, 3)
    assert {"quarantine", "practice.db", "practice.db-wal", "outbox"} <= house.named
    assert any(name.endswith(".eml") for name in house.named)
    assert any(name.endswith(".reason.json") for name in house.named)


def test_people_who_ask(house: House) -> None:
    house.box.bucket.put(name_of(registration()), written(registration()))
    assert house.run("patient-import") == 0
    out = house.made / "given" / "out" / "person.json"
    for command in (["find"], ["export", "--out", str(out)], ["erase", "--yes"]):
        with on_stdin('{"first_name": "Max", "last_name": "Mustermann"}'):
            assert house.run("person", *command) == 0
    assert "person.json" in house.named


def test_registrations_in_the_embedded_database_with_a_mail_server_that_is_away(house: House) -> None:
    body = registration(geburtsdatum="no day")
    house.box.bucket.put(name_of(body), written(body))
    assert house.run("patient-import", IMPORT_DATABASE_URL="", PATIENT_BACKUP_DIR="", SMTP_PORT="1") == 4
    assert {"practice.db", "unsent", "patient_imports"} <= house.named


def test_therapists(house: House) -> None:
    scraped = {"metadata": {"scrape_date": "2026-03-08"}, "therapists": [therapist(n, "52074") for n in range(3)]}
    (house.given / "therapists").mkdir(parents=True)
    (house.given / "therapists" / "52074.json").write_text(json.dumps(scraped), encoding="utf-8")
    assert house.run("therapist-import", SMTP_HOST="") == 0
    broken = house.given / "therapists" / "52075.json"
    broken.write_text("{")
    os.utime(broken, (0, 0))  # whole or not, it is not on its way any more
    assert house.run("therapist-import", SMTP_HOST="") in (3, 4)
    assert {"practice.db", "outbox"} <= house.named


def test_runs_and_what_is_written_for_others(house: House) -> None:
    assert house.run("cqc-fetch") == 0
    for arguments in (
        ["list"],
        ["show", "x"],
        ["diff", "x"],
        ["resume", "x"],
        ["abandon", "x"],
        ["prune", "--older-than", "1m"],
    ):
        assert house.run("runs", *arguments) in (0, 2)
    assert house.run("status") in (0, 3)
    assert house.run("report", "--dry-run") == 0
    file = house.made / "task.xml"
    settings = house.given / "settings.env"
    settings.write_text("".join(f"{name}={value}\n" for name, value in house.settings.items()))
    settings.chmod(0o600)
    words = ("schedule", "csc-submit", "--daily", "02:00", "--out", str(file))
    assert house.run("--env-file", str(settings), *words) == 0
    assert file.exists()


def test_a_bug_and_a_log_of_everything(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr("dataflows.runs.runner.Journal.open", broken)
    assert house.run("--log-level", "debug", "cqc-fetch") == 1
    assert any(name.endswith("-cqc-fetch.log") for name in house.named)


def test_setting_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file, secret = house.made / "conf" / "new" / ".env", house.made / "csc"
    given = ("--env-file", str(env_file), "--set", f"CLIENT_SECRET={secret.as_uri()}")
    assert house.run(*given, "init", "--yes", "--no-check", "--flow", "csc-submit") == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("of-this-test\n"))
    assert house.run("--env-file", str(env_file), "secrets", "set", "CLIENT_SECRET", "--to", secret.as_uri()) == 0
    assert house.run("--env-file", str(env_file), "config") == 0
    assert {".env", "csc"} <= house.named


def test_the_demo(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(house.made))
    assert house.run("demo", "--keep") == 0
    assert {"practice.db", "staging.db", "journal.db"} <= house.named


def test_the_sandbox(house: House) -> None:
    file = house.made / "sandbox.env"
    with house.started("dataflows", "sandbox", "--write-env", str(file)):
        until(file.exists, "the env file")
    assert "sandbox.env" in house.named


@pytest.mark.parametrize("command", ["dataflows serve", "uvicorn dataflows.web:app"])
def test_the_server(house: House, command: str) -> None:
    with house.started(*command.split(), "--port", "0") as (popen, said):
        until(lambda: _ADDRESS.search(said.read_text()) is not None or popen.poll() is not None, "the server")
        address = _ADDRESS.search(said.read_text())
        assert address is not None, said.read_text()
        server = Caller(int(address[1]))
        assert server.post("/run").status == 200
        with server.connected() as slow:
            head = f"POST /hospitals/validate HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 9999\r\n"
            slow.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
            until(lambda: any(house.made.glob("dataflows-upload-*")), "the upload")
            house.look()
        assert server.upload("/hospitals/bulk", CSV.format("Private")).status == 200
    assert any(name.startswith("dataflows-upload-") for name in house.named)


def test_every_command_is_walked_over() -> None:
    """Each command stands in a test above, whichever process those run in."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    said = [one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    words = {word for text in said for word in text.split()}
    every = {" ".join(one.commands) for one in variables(_command())} | set(_command().commands)
    assert {command for command in every if not words.issuperset(command.split())} == set()
