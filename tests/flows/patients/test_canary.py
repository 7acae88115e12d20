"""Marked values in every personal place of a registration, then everything breaks: none may leave its lane.

The lanes are the bucket, the practice database and the folder of local copies. All data is made up.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.flows.practice.patients import intake, recording
from dataflows.flows.practice.patients.bucket import BucketClient
from dataflows.flows.practice.patients.objects import BackupFolder
from dataflows.flows.practice.patients.tracking import Tracking
from dataflows.runs.journal import Journal
from dataflows.sandbox.faults import ENDLESS
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Answer, Request
from tests.flows.patients.world import Ran, World, registration
from tests.flows.people import asking, forget_erasures
from tests.test_canary import Canaries, in_a_chain, in_an_undecodable_way, plainly

TEXTS = (
    "strasse", "plz", "ort", "telefon", "hausarzt", "krankenkasse", "krankenversicherungsnummer", "diagnose",
    "symptome", "empfehler_der_unterstuetzung",
)  # fmt: skip


class Night(World):
    """A world that remembers what the program said, and where canaries are looked for."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], url: str) -> None:
        super().__init__(folder, box, capsys, url)
        self.canaries = Canaries()
        self.said: dict[str, bytes] = {}
        Journal.open(self.data).close()
        # a reader that never ends keeps all that is ever written to the journal in its WAL
        self.reader = sqlite3.connect(self.data / "journal.db", isolation_level=None)
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT count(*) FROM runs").fetchone()

    def call(self, *arguments: str, **environment: str) -> Ran:
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, "LOG_LEVEL": "debug", **environment}.items():
                patch.setenv(name, value)
            code = main(["--verbose", *arguments])
        out, err = self.capsys.readouterr()
        number = len(self.said) // 2 + 1
        self.said |= {f"stdout of run {number}": out.encode(), f"stderr of run {number}": err.encode()}
        assert "Traceback" not in err
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err, out)

    def mark(self, *, few: bool = False, **data: Any) -> str:
        """Let a registration arrive with marks in all that can hold one (or in a few places); returns its name."""
        word, day, token = self.canaries.word, self.canaries.day, secrets.token_hex(16)
        self.canaries.names[token] = "token"
        email = f"{word('email').lower()}@example.org"
        body = registration(f"{word('vorname')} Ünï", f"O'{word('nachname')}", token=token, email=email)
        if not few:
            body["patient_data"] |= self._everything(str(body["patient_data"]["nachname"])[2:].lower())
            body["consent_metadata"] |= {name: word(name) for name in ("ip_address", "user_agent", "text")}
        body["patient_data"] |= data
        names = body["patient_data"]
        return self.arrive(body, f"{names['nachname']}_{names['vorname']}_{day('date in name')}_{token}.json")

    def _everything(self, last_name: str) -> dict[str, Any]:
        word, day = self.canaries.word, self.canaries.day
        return {
            **{name: word(name) for name in TEXTS},
            "geburtsdatum": day("geburtsdatum"),
            "letzte_sitzung_vorherige_psychotherapie": day("letzte_sitzung"),
            "zeitliche_verfuegbarkeit": {word("day of week"): [word("hours")]},
            "raeumliche_verfuegbarkeit": {word("key of space"): word("space")},
            "ausgeschlossene_therapeuten": [word("ausgeschlossen")],
            "eigene_frage": word("unknown field"),
            f"{word('key')} x": word("value of key"),
            f"frau_{last_name}": word("value of a name as key"),
        }

    def leaks(self) -> list[str]:
        """Where canaries turned up: files of the data folder and their names, mails, and what the program said."""
        files = [path for path in self.data.rglob("*") if path.is_file() and not path.is_relative_to(self.copies)]
        contents = {str(path.relative_to(self.data)): path.read_bytes() for path in files}
        assert {"journal.db", "journal.db-wal"} <= set(contents)
        reasons = {str(path): path.read_bytes() for path in self.copies.rglob("*.reason.json")}
        return self.canaries.found({**contents, **self.said, **reasons, "file names": "\n".join(contents).encode()})


@pytest.fixture
def night(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], address: str) -> Iterator[Night]:
    night = Night(tmp_path, box, capsys, address)
    yield night
    night.reader.close()
    night.empty()


@pytest.fixture
def quick(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[Night]:
    """For what has nothing to do with the kind of database."""
    night = Night(tmp_path, box, capsys, f"sqlite:///{tmp_path / 'practice.db'}")
    yield night
    night.reader.close()
    night.engine.dispose()


def test_what_is_planted_is_found(quick: Night) -> None:
    name = quick.mark()
    (quick.data / "logs").mkdir(exist_ok=True)
    (quick.data / "logs" / "planted.log").write_text(name.upper(), encoding="utf-8")
    assert {leak.split(" in ")[0] for leak in quick.leaks()} >= {"nachname", "vorname", "token"}


def test_ordinary_passes_keep_everything_to_themselves(night: Night) -> None:
    first, _ = night.mark(), night.mark(email="")
    assert night.bring_in("--dry-run").code == 0
    assert night.bring_in()["imported"] == 2
    night.mark(email=night.patients[0].email)
    night.bucket.put("Müller & Söhne", first.encode())
    ran = night.bring_in()
    assert ran.figures("imported", "unrecognised") == [1, 1]
    assert night.call("runs", "show", ran["run_id"]).code == 0
    assert night.bring_in("--from-copies", str(night.copies)).code == 0
    assert night.call("test-endpoint", "--target", "bucket").code == 0
    assert night.leaks() == []


def test_people_who_ask_are_told_of_by_counts_and_leave_no_word(night: Night) -> None:
    night.mark(), night.mark(anrede="Dr.")
    night.bring_in()
    row = night.patients[0]
    who = {"first_name": row.vorname, "last_name": row.nachname, "date_of_birth": str(row.geburtsdatum)}
    assert asking(night.call, "find", "--json", **who).code == 0
    assert asking(night.call, "export", "--out", str(night.folder / "out.json"), **who).code == 0
    assert asking(night.call, "erase", "--dry-run", **who).code == 0
    assert asking(night.call, "erase", "--yes", **who).code == 0
    assert asking(night.call, "erase", "--yes", "--json", **who).code == 14
    assert (night.patients, night.leaks()) == ([], [])
    forget_erasures(night.engine)


WRONG: list[dict[str, Any]] = [
    {"anrede": "mark"}, {"geschlecht": "mark"}, {"vorname": ["mark"]}, {"nachname": {"mark": "mark"}},
    {"email": "mark"}, {"geburtsdatum": "mark"}, {"symptome": {"mark": "mark"}}, {"offen_fuer_diga": "mark"},
    {"zeitliche_verfuegbarkeit": {"mark": "mark"}}, {"verkehrsmittel": "mark"}, {"plz": 10**14 + 7},
    {"ausgeschlossene_therapeuten": "mark"}, {"strasse": "mark" * 500}, {"hausarzt": "mark\x00"},
]  # fmt: skip


def marked(canaries: Canaries, value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("mark", canaries.word("wrong value"))
    if isinstance(value, dict):
        return {marked(canaries, key): marked(canaries, inner) for key, inner in value.items()}
    return [marked(canaries, one) for one in value] if isinstance(value, list) else value


def test_bad_content_is_told_by_field_and_rule_until_it_is_given_up(night: Night) -> None:
    names = [night.mark(few=True, **marked(night.canaries, wrong)) for wrong in WRONG]
    broken = night.mark()
    night.bucket.put(broken, night.bucket.objects[broken][1][:-40])
    for _ in range(5):
        ran = night.bring_in()
    assert (ran.code, ran["dead"], ran["imported"]) == (3, len(WRONG) + 1, 0)
    assert len(night.mails()) == 2
    night.bring_in("--retry", names[0])
    night.bring_in("--retry", night.canaries.word("no such object"))
    night.call("runs", "show", ran["run_id"], "--failed")
    assert night.leaks() == []


@pytest.mark.parametrize(
    "faults",
    [
        {"only": "download", "error_next": 9},
        {"only": "download", "error_status": 403, "error_next": 9},
        {"only": "delete", "error_status": 400, "error_next": 9},
        {"only": "download", "cut_next": 9},
        {"damaged_next": 9},
        {"only": "delete", "lost_next": 9},
        {"deny": "get"},
        {"deny": "delete"},
    ],
    ids=lambda faults: "-".join(map(str, faults.values())),
)
def test_a_bucket_that_breaks(quick: Night, faults: dict[str, Any]) -> None:
    quick.mark()
    quick.bucket.faults.set(**faults)
    assert quick.bring_in().code in (3, 10, 12, 13)
    quick.bucket.faults.clear()
    quick.bring_in()
    assert quick.leaks() == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 418, 429, 500])
@pytest.mark.parametrize("kind", ["download", "delete"])
def test_a_far_side_that_repeats_what_it_was_asked(
    quick: Night, monkeypatch: pytest.MonkeyPatch, kind: str, status: int
) -> None:
    name = quick.mark()

    answer, echoed = quick.bucket._worked, []

    def echo(call: Any, asked: str, work: Any) -> Answer:
        if asked != kind:
            return answer(call, asked, work)
        echoed.append(name)
        said = {"error": {"code": status, "message": name, "errors": [{"reason": name, "message": name}]}}
        return Answer.json(status, said, **{"Retry-After": "x", "Location": "/nowhere"})

    monkeypatch.setattr(quick.bucket, "_worked", echo)
    assert quick.bring_in().code != 1
    assert echoed
    assert quick.leaks() == []


def test_a_database_that_quotes_the_row(night: Night) -> None:
    night.bring_in()
    night.mark()
    with night.engine.begin() as connection:
        if night.engine.dialect.name == "sqlite":
            secret = night.canaries.word("quoted by the database")
            connection.exec_driver_sql(
                f"CREATE TRIGGER quoting BEFORE INSERT ON patients BEGIN SELECT RAISE(ABORT, '{secret}'); END"
            )
        else:
            connection.execute(
                sa.text(
                    "CREATE OR REPLACE FUNCTION quoting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
                    " 'Key (email)=(%)', NEW.email USING ERRCODE = '23514', DETAIL = NEW.nachname, HINT = NEW.strasse;"
                    " END $$"
                )
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER quoting BEFORE INSERT ON patients FOR EACH ROW EXECUTE FUNCTION quoting()"
            )
    try:
        assert night.bring_in().code in (10, 13)
        assert night.leaks() == []
    finally:
        with night.engine.begin() as connection:
            on = "" if night.engine.dialect.name == "sqlite" else " ON patients"
            connection.exec_driver_sql(f"DROP TRIGGER quoting{on}")


PLACES: list[tuple[object, str]] = [
    (intake, "read"),
    (recording, "match"),
    (recording, "_keep_consent"),
    (BackupFolder, "keep"),
    (BucketClient, "_downloaded"),
    (BucketClient, "_deleted"),
    (Tracking, "gone"),
]


@pytest.mark.parametrize("way", [plainly, in_a_chain, in_an_undecodable_way])
@pytest.mark.parametrize(("place", "name"), PLACES, ids=[name for _, name in PLACES])
def test_a_bug_that_quotes_what_it_was_given(
    quick: Night, monkeypatch: pytest.MonkeyPatch, way: Any, place: object, name: str
) -> None:
    quick.mark()
    monkeypatch.setattr(place, name, way)
    ran = quick.bring_in()
    assert ran.code in (1, 10), ran.err
    assert quick.leaks() == []


def test_libraries_that_chatter(quick: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    name = quick.mark()
    download = BucketClient.download

    def chatter(bucket: BucketClient, wanted: Any) -> bytes:
        for library in ("urllib3.connectionpool", "google.cloud.storage", "google.auth", "sqlalchemy.engine"):
            logging.getLogger(library).warning("GET %s", name)
            logging.getLogger(library).error(name)
        return download(bucket, wanted)

    monkeypatch.setattr(BucketClient, "download", chatter)
    assert quick.bring_in().code == 0
    assert quick.leaks() == []


@pytest.mark.parametrize("only", ["list", "download", "delete"])
@pytest.mark.parametrize("how", ENDLESS)
def test_a_bucket_whose_answers_are_without_end_or_measure(quick: Night, how: str, only: str) -> None:
    quick.mark()
    quick.bucket.faults.set(only=only, endless_share=1.0, endless_by=how)
    short = {"HTTP_ATTEMPTS": "1", "HTTP_TIMEOUT_SECONDS": "1", "HTTP_DEADLINE_SECONDS": "3"}
    assert quick.bring_in(**short).code in (0, 3, 4, 10, 13)
    quick.bucket.faults.clear()
    quick.bucket.faults.set(only="", endless_share=0.0)
    assert quick.bring_in().code == 0
    assert quick.leaks() == []


def test_requests_carry_no_more_than_the_name(quick: Night) -> None:
    """What leaves is the object's name in the path, and nothing of its content."""
    seen: list[Request] = []
    arrived = quick.bucket.arrived
    quick.mark()

    def note(request: Request) -> Any:
        seen.append(request)
        return arrived(request)

    quick.bucket.arrived = note  # type: ignore[method-assign]
    quick.bring_in()
    assert [request.method for request in seen] == ["GET", "GET", "DELETE"]
    assert all("ifGenerationMatch" in request.query for request in seen[1:])
    assert [request.body for request in seen] == [b"", b"", b""]
