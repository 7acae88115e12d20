"""Marked values in every personal place, then everything breaks: none may turn up where personal data must not be.

The staging table and the files of ``--dry-run --out`` are where payloads belong; both lie outside the data folder here.
All data is made up.
"""

from __future__ import annotations

import json
import logging
import secrets
import sqlite3
import string
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.flows.csc import delta, job, planning, receiver
from dataflows.flows.csc.receiver import CscApi
from dataflows.flows.csc.recording import Recorder
from dataflows.flows.csc.schema import ChildSchema
from dataflows.flows.csc.sending import BatchSender
from dataflows.flows.practice import person
from dataflows.flows.practice.asked import PersonAsked, Seen
from dataflows.flows.practice.patients import holdings
from dataflows.runs.journal import Item, Journal
from dataflows.sandbox import model as sandbox_token
from dataflows.sandbox import receiver as sandbox_receiver
from dataflows.sandbox.faults import ENDLESS
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Answer, Request
from tests.flows.csc.world import Ran, World

Child = dict[str, Any]

_LETTERS = "".join(sorted(set(string.ascii_letters + string.digits) - set("xX")))


class Canaries:
    """Values that occur nowhere else, each with the name of the place it was put into."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._signs = secrets.SystemRandom().sample([chr(0x13000 + number) for number in range(1000)], 1000)

    def word(self, name: str, length: int = 18) -> str:
        """Letters of both cases and digits, without an x: the receiver's firewall dislikes 0x."""
        return self._kept(name, "".join(secrets.choice(_LETTERS) for _ in range(length)))

    def sign(self, name: str, length: int) -> str:
        """For short codes: hieroglyphs, rare enough to be told from chance; none is used twice."""
        return self._kept(name, "".join(self._signs.pop() for _ in range(length)))

    def day(self, name: str) -> str:
        """A date that no log is written on."""
        return self._kept(name, str(date(1600, 1, 1) + timedelta(days=secrets.randbelow(100_000))))

    def number(self, name: str) -> int:
        """A whole number of 15 digits."""
        return int(self._kept(name, str(10**14 + secrets.randbelow(9 * 10**14))))

    def _kept(self, name: str, value: str) -> str:
        self.names[value] = name
        return value

    def found(self, places: Mapping[str, bytes]) -> list[str]:
        """Where which of them turn up, in whatever spelling."""
        marks = [(name, mark) for value, name in self.names.items() for mark in spellings(value)]
        return sorted({f"{name} in {where}" for where, content in places.items() for name, m in marks if m in content})


def spellings(value: str) -> set[bytes]:
    """The ways in which a text may be written into a file."""
    cases = {value, value.upper(), value.lower()}
    encoded = {case.encode(codec) for case in cases for codec in ("utf-8", "utf-16-le", "utf-16-be")}
    return encoded | {json.dumps(case)[1:-1].encode() for case in cases} | {quote(value).encode()}


def marked(canaries: Canaries, which: str = "child") -> Child:
    """A valid child with a canary in every field that can hold one."""

    def word(name: str, length: int = 18) -> str:
        return canaries.word(f"{which}.{name}", length)

    def sign(name: str, length: int) -> str:
        return canaries.sign(f"{which}.{name}", length)

    def days(*names: str) -> dict[str, str]:
        return {name.rpartition(".")[2]: canaries.day(f"{which}.{name}") for name in names}

    return {
        "la_child_id": word("la_child_id", 20),
        "mis_child_id": word("mis_child_id", 36),
        "child_details": {
            "unique_pupil_number": word("unique_pupil_number", 13),
            "former_unique_pupil_number": word("former_unique_pupil_number", 13),
            "unique_pupil_number_unknown_reason": sign("unknown_reason", 4),
            "first_name": f"{word('first_name')} Ünï",
            "surname": f'O\'{word("surname")}-"x"',
            **days("date_of_birth", "expected_date_of_birth", "uasc_end_date"),
            "sex": sign("sex", 1),
            "ethnicity": sign("ethnicity", 4),
            "postcode": word("postcode", 8),
            "disabilities": [sign("disabilities", 4)],
        },
        "health_and_wellbeing": {"sdq_assessments": [{**days("sdq.date"), "score": canaries.number("sdq.score")}]},
        "social_care_episodes": [
            {
                "social_care_episode_id": word("episode_id", 36),
                **days("referral_date", "closure_date"),
                "referral_source": sign("referral_source", 2),
                "closure_reason": sign("closure_reason", 3),
                "care_worker_details": [{"worker_id": word("worker_id", 12), **days("worker.start_date")}],
                "child_and_family_assessments": [
                    {"child_and_family_assessment_id": word("cfa_id", 36), "factors": [sign("factors", 3)]}
                ],
                "child_in_need_plans": [{"child_in_need_plan_id": word("cin_id", 36), **days("cin.start_date")}],
                "section_47_assessments": [{"section_47_assessment_id": word("s47_id", 36), **days("s47.icpc_date")}],
                "child_protection_plans": [{"child_protection_plan_id": word("cp_id", 36), **days("cp.end_date")}],
                "child_looked_after_placements": [
                    {
                        "child_looked_after_placement_id": word("placement_id", 36),
                        "start_reason": sign("start_reason", 1),
                        "placement_type": sign("placement_type", 3),
                        "postcode": word("placement.postcode", 8),
                        "change_reason": sign("change_reason", 6),
                    }
                ],
                "adoption": days("adoption.matched_date"),
                "care_leavers": {**days("care_leavers.contact_date"), "accommodation": sign("accommodation", 1)},
            }
        ],
    }


def spoiled(canaries: Canaries) -> list[Child | str]:
    """Payloads that break the rules, each with canaries in the wrong places."""
    word = canaries.word

    def child(**changes: Any) -> Child:
        return {"la_child_id": word("spoiled.la_child_id", 20), **changes}

    episode = {"social_care_episode_id": word("twice")}
    return [
        child(child_details=word("text for object")),
        child(child_details={"first_name": canaries.number("number for text")}),
        child(child_details={"first_name": {word("object for text"): [word("list for text")]}}),
        child(child_details={"sex": word("over-long"), "date_of_birth": f"born {word('no date')}"}),
        child(child_details={f"{word('unknown key')} Smith": word("value of unknown key")}),
        child(**{f"Surname {word('unknown key at the top')}": word("its value")}),
        child(social_care_episodes={word("key for list"): word("value for list")}),
        child(social_care_episodes=[word("text for episode"), canaries.number("number for episode")]),
        child(social_care_episodes=[episode, episode]),
        child(child_details={"disabilities": [canaries.sign("disability twice", 4)] * 2}),
        child(mis_child_id=f"{word('blank')} {word('in an id')}"),
        {"la_child_id": word("over-long la_child_id", 40)},
        {"la_child_id": f"{word('la_child_id')} {word('with a blank')}"},
        {"la_child_id": canaries.number("number as la_child_id")},
        {"La_child_id": word("key in another case")},
        json.dumps([word("list for child")]),
        json.dumps(word("text for child")),
        json.dumps(child(child_details={"surname": word("cut off")}))[:-3],
        word("no json at all"),
    ]


class Night(World):
    """A world that remembers what the program said, and where canaries are looked for."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], url: str = "") -> None:
        super().__init__(folder, box, capsys, url)
        self.canaries = Canaries()
        self.said: dict[str, bytes] = {}
        self.data = folder / "data"
        Journal.open(self.data).close()
        # a reader that never ends keeps all that is ever written to the journal in its WAL
        self.reader = sqlite3.connect(self.data / "journal.db", isolation_level=None)
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT count(*) FROM runs").fetchone()

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program with everything that makes it talkative."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, "LOG_LEVEL": "debug", **environment}.items():
                patch.setenv(name, value)
            code = main(["--verbose", *arguments])
        out, err = self.capsys.readouterr()
        number = len(self.said) // 2 + 1
        self.said |= {f"stdout of run {number}": out.encode(), f"stderr of run {number}": err.encode()}
        assert "Traceback" not in err
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err)

    def mark(self, which: str = "child", **changes: Any) -> Child:
        """Stage a marked child, with marks in the other columns of its row as well."""
        payload = {**marked(self.canaries, which), **changes}
        word = self.canaries.word
        columns = {
            "person_id": word(f"{which}.person_id", 20),
            "legacy_id": word(f"{which}.legacy_id", 36),
            "previous_json_payload": json.dumps({"child_details": {"surname": word(f"{which}.previous surname")}}),
            "partial_json_payload": json.dumps({"surname": word(f"{which}.partial surname")}),
            "api_response": f"{word(f'{which}.an old answer')} was refused",
        }
        self.stage(payload, **columns)
        return payload

    def leaks(self) -> list[str]:
        """Where canaries turned up: files of the data folder and their names, and what the program said."""
        for token in self.box.token._good_until:
            self.canaries.names[token] = "token"
        files = [path for path in self.data.rglob("*") if path.is_file()]
        contents = {str(path.relative_to(self.data)): path.read_bytes() for path in files}
        assert {"journal.db", "journal.db-wal"} <= set(contents)
        return self.canaries.found({**contents, **self.said, "file names": "\n".join(contents).encode()})


def guarded(night: Night, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Let the sandbox want secrets that are canaries, too."""
    secret, key = night.canaries.word("client secret", 40), night.canaries.word("supplier key", 32)
    monkeypatch.setattr(sandbox_token, "CLIENT_SECRET", secret)
    monkeypatch.setattr(sandbox_receiver, "SUPPLIER_KEY", key)
    night.environment |= {"CLIENT_SECRET": secret, "SUPPLIER_KEY": key}
    return night


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=secrets.randbits(32)) as sandbox:
        yield sandbox


@pytest.fixture
def night(
    tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Night]:
    night = guarded(Night(tmp_path, box, capsys), monkeypatch)
    yield night
    night.reader.close()


# --- the test of the test ------------------------------------------------------------------------------------------


def in_a_log(night: Night, value: str) -> None:
    (night.data / "logs" / "planted.log").write_text(f'{{"message": "{value.lower()}"}}', encoding="utf-8")


def in_the_journal(night: Night, value: str) -> None:
    journal = Journal.open(night.data)
    journal.record("planted", [Item("1", "failed", message=value)])
    with journal.transaction() as db:
        db.execute("DELETE FROM items")  # what was deleted is still in the file
    journal.close()


def in_a_file_name(night: Night, value: str) -> None:
    (night.data / "locks" / f"{value}.lock").touch()


def in_utf_16(night: Night, value: str) -> None:
    (night.data / "planted").write_text(value, encoding="utf-16")


@pytest.mark.parametrize(
    ("plant", "field"),
    [
        (in_a_log, "first_name"),
        (in_the_journal, "first_name"),
        (in_a_file_name, "la_child_id"),
        (in_utf_16, "ethnicity"),
    ],
)
def test_what_is_planted_is_found(night: Night, plant: Callable[[Night, str], None], field: str) -> None:
    child = night.mark()
    assert night.submit().code == 0
    assert night.leaks() == []
    plant(night, str({**child, **child["child_details"]}[field]).split()[0])
    leaks = night.leaks()
    assert leaks and all(leak.startswith(f"child.{field} in ") for leak in leaks)


def test_a_line_that_says_too_much_is_found(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    child = night.mark()
    carry = BatchSender.carry

    def chatty(courier: BatchSender, batch: Any) -> Any:
        logging.getLogger("dataflows.planted").warning("sending %s", child["child_details"]["sex"])
        return carry(courier, batch)

    monkeypatch.setattr(BatchSender, "carry", chatty)
    assert night.submit().code == 0
    [leak] = night.leaks()
    assert leak.startswith("child.sex in logs")


# --- nights as they are --------------------------------------------------------------------------------------------


def test_ordinary_nights_keep_everything_to_themselves(night: Night) -> None:
    children = [night.mark(f"child {n}") for n in range(1, 5)]
    assert night.submit("--dry-run", "--out", str(night.folder / "preview")).code == 0
    assert night.submit("--rehearsal").code == 0
    assert night.submit("--child", children[0]["la_child_id"])["sent"] == 1
    assert night.submit("--child", night.row(2).person_id)["sent"] == 1
    assert night.call("csc-submit").code == 0
    night.restage(1, {**children[0], "mis_child_id": night.canaries.word("new mis_child_id")})
    night.restage(2, {key: value for key, value in children[1].items() if key != "mis_child_id"})
    night.restage(3, {**children[2], "la_child_id": night.canaries.word("new la_child_id")})
    night.delete(4)
    ran = night.submit()
    assert (ran.code, ran["delta"], ran["reset"], ran["delete"]) == (0, 1, 1, 2)  # one of them under its former name
    assert night.call("csc-submit", "--show", "1").code == 2
    for command in (["runs", "list"], ["runs", "show", ran["run_id"]], ["test-db"], ["test-schema"], ["test-endpoint"]):
        assert night.call(*command).code == 0
    assert night.leaks() == []


def test_invalid_records_are_told_by_path_and_rule_only(night: Night) -> None:
    payloads = spoiled(night.canaries)
    night.stage(*payloads)
    night.stage(*spoiled(night.canaries), row_state="Deleted", submission_status="Sent")
    night.mark("good")
    ran = night.submit()
    assert (ran.code, ran["full"], ran["invalid"] >= len(payloads)) == (3, 1, True)
    assert night.submit("--mode", "full").code == 3
    assert night.call("runs", "show", ran["run_id"], "--failed").code == 0
    assert night.leaks() == []


def test_a_name_that_landed_in_a_key_is_not_repeated(night: Night) -> None:
    name = night.canaries.word("name as key").lower()
    night.stage({"la_child_id": "SYN1", "child_details": {f"ann{name}": "first_name"}})
    assert night.submit().code == 4
    assert night.leaks() == []


# --- the receiver --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["all", "none"])
def test_records_that_the_receiver_refuses(night: Night, names: str) -> None:
    bad = night.mark("refused")
    night.mark("blocked", mis_child_id=f"0x{night.canaries.word('0x')}")
    night.mark("good")
    night.box.receiver.faults.set(refuse_ids=[bad["la_child_id"]], names=names)
    ran = night.submit()
    assert (ran.code, ran["sent"], ran["failed"]) == (3, 1, 2)
    assert night.leaks() == []


STATUSES = (200, 206, 302, 400, 401, 403, 404, 413, 418, 422, 429, 500, 503)


@pytest.mark.parametrize("status", STATUSES)
def test_a_far_side_that_repeats_what_it_was_told(night: Night, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    first, _ = night.mark("one"), night.mark("two")
    child_id = first["la_child_id"]

    def echo(request: Request) -> Answer:
        said = [request.parsed, dict(request.headers.items())]
        headers = {"Location": f"/{child_id}?{child_id}", "Retry-After": child_id, "WWW-Authenticate": child_id}
        return Answer.json(status, [*said, child_id] if status == 400 else said, **headers)

    monkeypatch.setattr(night.box.receiver, "_at_the_door", echo)
    ran = night.submit("--workers", "1")
    assert (ran.code != 0, ran["sent"]) == (True, 0)
    assert night.leaks() == []


@pytest.mark.parametrize("single", [True, False])
def test_receipts_that_repeat_what_was_sent(night: Night, monkeypatch: pytest.MonkeyPatch, single: bool) -> None:
    child = night.mark()
    said = f"accepted: {child['child_details']['surname']}"
    monkeypatch.setattr(night.box.receiver, "_acknowledged", lambda _: Answer.json(200, said if single else [said]))
    night.submit()
    assert night.leaks() == []


@pytest.mark.parametrize("kind", ["short", "text", "nulls", "object"])
def test_receipts_that_do_not_fit(night: Night, kind: str) -> None:
    night.mark("one")
    night.mark("two")
    night.box.receiver.faults.set(receipts=kind)
    assert night.submit().code == 4
    assert night.leaks() == []


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"lost_next": 9}, 13),
        ({"drop_share": 1.0}, 13),
        ({"cut_share": 1.0}, 13),
        ({"error_share": 1.0, "retry_after": "soon"}, 13),
        ({"forbid": True}, 12),
    ],
)
def test_answers_that_never_come_right(night: Night, faults: dict[str, Any], code: int) -> None:
    night.mark()
    night.box.receiver.faults.set(**faults)
    assert night.submit().code == code
    night.box.receiver.faults.clear()
    assert night.submit().code == 0
    assert night.leaks() == []


@pytest.mark.parametrize("how", ENDLESS)
def test_answers_without_end_or_measure(night: Night, how: str) -> None:
    night.mark()
    night.environment |= {"LOG_LEVEL": "debug", "HTTP_ATTEMPTS": "1", "HTTP_TIMEOUT_SECONDS": "1"}
    night.box.receiver.faults.set(endless_share=1.0, endless_by=how)
    assert night.submit().code in (4, 10, 13)
    night.box.receiver.faults.clear()
    assert night.submit().code == 0
    assert night.leaks() == []


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(200, 10), (302, 10), (400, 12), (401, 12), (404, 10), (500, 13)])
@pytest.mark.parametrize("command", ["csc-submit", "test-endpoint"])
def test_a_token_endpoint_that_repeats_the_secret(
    night: Night, monkeypatch: pytest.MonkeyPatch, status: int, code: int, command: str
) -> None:
    night.mark()
    secret = night.environment["CLIENT_SECRET"]
    said = {"error": secret, "error_description": secret, "error_codes": [secret], "token": secret}
    answer = Answer.json(status, said, Location=f"/?{secret}", **{"Retry-After": secret})
    monkeypatch.setattr(night.box.token, "_issue", lambda: answer)
    ended = night.call(command, "--json").code
    assert ended == code if command == "csc-submit" else ended != 0
    assert night.leaks() == []


@pytest.mark.parametrize("command", ["csc-submit", "test-db", "test-schema"])
@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://user:{}@127.0.0.1:1/base",
        "postgresql://user:{}@127.0.0.1:port/base",
        "nonsense://user:{}@127.0.0.1/base",
        "mssql+pyodbc://user:{}@nowhere.example.org/base?driver=No+Such+Driver",
        "Driver={{No Such Driver}};Server=nowhere.example.org;UID=user;PWD={}",
        "Server {}",
    ],
)
def test_a_password_in_the_address_of_a_database(night: Night, address: str, command: str) -> None:
    password = night.canaries.word("password", 24)
    assert night.call(command, "--json", DB_CONNECTION_STRING=address.format(password)).code not in (0, 1)
    assert night.leaks() == []


@pytest.mark.parametrize("name", ["HTTP_TIMEOUT_SECONDS", "LA_CODE", "API_ENDPOINT", "TOKEN_ENDPOINT", "TABLE_NAME"])
def test_a_secret_that_went_into_the_wrong_setting(night: Night, name: str) -> None:
    secret = night.canaries.word("misplaced secret")
    assert night.submit(**{name: f"{secret} {secret}"}).code == 10
    assert night.leaks() == []


def test_a_secret_that_was_wrapped_in_the_env_file(night: Night) -> None:
    first, second = night.canaries.word("begin of a secret"), night.canaries.word("rest of a secret")
    file = night.folder / "wrapped.env"
    file.write_text(f"CLIENT_SECRET={first}\nA{second}==\n", encoding="utf-8")
    assert night.call("--env-file", str(file), "csc-submit").code == 0
    assert night.leaks() == []


def test_an_env_file_that_everybody_can_read_is_told_without_what_it_holds(night: Night) -> None:
    night.mark()
    file = night.folder / "open.env"
    names = ("CLIENT_SECRET", "SUPPLIER_KEY")
    file.write_text("".join(f"{name}={night.environment[name]}\n" for name in names), encoding="utf-8")
    file.chmod(0o644)
    ran = night.call("--env-file", str(file), "csc-submit", **dict.fromkeys(names, " "))
    assert ran.code == 0
    assert sys.platform == "win32" or "every account of this machine can read the secrets" in ran.err
    assert night.leaks() == []


# --- the disk ------------------------------------------------------------------------------------------------------


def test_a_journal_whose_disk_runs_full(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        night.mark(f"child {number}")
    made = Journal.open

    def nearly_full(data_dir: Path) -> Journal:
        journal = made(data_dir)
        with journal.reading() as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages + 1}")
        return journal

    monkeypatch.setattr("dataflows.runs.runner.Journal.open", nearly_full)
    assert night.call("csc-submit").code == 13
    monkeypatch.undo()
    assert night.leaks() == []


# --- databases -----------------------------------------------------------------------------------------------------


def test_a_database_that_quotes_the_row(night: Night) -> None:
    child = night.mark()
    with night.engine.begin() as connection:
        quoted = json.dumps(child).replace("'", "''")
        connection.exec_driver_sql(
            f"CREATE TRIGGER quoting BEFORE UPDATE ON {night.table.name} BEGIN SELECT RAISE(ABORT, '{quoted}'); END"
        )
    assert night.submit().code == 3  # the row cannot be written, and holds up no other
    assert night.leaks() == []


@pytest.mark.parametrize("state", ["XX000", "23505", "57014", "08006"])
def test_a_server_that_quotes_the_row(
    tmp_path: Path,
    box: Sandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    postgres_url: str,
    state: str,
) -> None:
    night = guarded(Night(tmp_path, box, capsys, postgres_url), monkeypatch)
    try:
        night.mark()
        with night.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "CREATE OR REPLACE FUNCTION quoting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
                    f" 'Key (person_id)=(%) in %', NEW.person_id, NEW.json_payload USING ERRCODE = '{state}',"
                    " DETAIL = NEW.json_payload, HINT = NEW.json_payload; END $$"
                )
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER quoting BEFORE UPDATE ON {night.table.name} FOR EACH ROW EXECUTE FUNCTION quoting()"
            )
        assert night.submit().code in (1, 3, 10, 13)
        assert night.leaks() == []
    finally:
        night.table.drop(night.engine)
        night.engine.dispose()
        night.reader.close()


# --- people who ask ------------------------------------------------------------------------------------------------


def asked(night: Night) -> dict[str, str]:
    """Who is meant, each word of it a mark."""
    word = night.canaries.word
    names = {"first_name": f"{word('asked first name')} Ünï", "last_name": f"O'{word('asked last name')}"}
    return {
        **names,
        "email": f"{word('asked e-mail').lower()}@example.org",
        "date_of_birth": night.canaries.day("born"),
    }


@pytest.mark.parametrize("what", [["find"], ["export"], ["erase", "--yes"], ["erase", "--dry-run", "--json"]])
def test_who_is_asked_for_is_kept_nowhere(night: Night, what: list[str]) -> None:
    from tests.flows.people import asking

    assert asking(night.call, *what, **asked(night)).code == 14
    assert asking(night.call, *what, **{**asked(night), "date_of_birth": night.canaries.word("no date")}).code == 14
    assert asking(night.call, *what, **{night.canaries.word("no field"): "x"}).code == 14
    assert night.leaks() == []


@pytest.mark.parametrize("way", ["plainly", "in_a_chain", "in_an_undecodable_way"])
@pytest.mark.parametrize(("place", "name"), [(PersonAsked, "read"), (PersonAsked, "fits"), (person, "Places")])
def test_a_bug_that_quotes_who_is_asked_for(
    night: Night, monkeypatch: pytest.MonkeyPatch, way: str, place: object, name: str
) -> None:
    from tests.flows.people import asking

    who = asked(night)
    monkeypatch.setattr(place, name, globals()[way])
    if name == "fits":
        monkeypatch.setattr(holdings, "patients_named", lambda *_: {1: Seen.of(*who.values())})
    ran = asking(night.call, "find", "--json", **who)
    assert ran.code == 1, ran.err
    assert night.leaks() == []


# --- bugs ----------------------------------------------------------------------------------------------------------


def told(arguments: tuple[Any, ...]) -> str:
    """All that a piece of code was given, as a careless exception text would quote it."""
    return f"cannot work on {arguments!r}"


def plainly(*arguments: Any, **_: Any) -> Any:
    raise RuntimeError(told(arguments))


def in_a_chain(*arguments: Any, **_: Any) -> Any:
    try:
        raise KeyError(*arguments)
    except KeyError as error:
        failure = ValueError(told(arguments))
        failure.add_note(told(arguments))
        raise ExceptionGroup(told(arguments), [failure]) from error


def in_an_undecodable_way(*arguments: Any, **_: Any) -> Any:
    return told(arguments).encode("utf-16").decode("ascii")  # the error carries all of the text


PLACES: list[tuple[object, str]] = [
    (delta, "whole"),
    (ChildSchema, "problems"),
    (planning, "read_row"),
    (Recorder, "carried"),
    (Recorder, "_event"),
    (BatchSender, "_receipt"),
    (BatchSender, "carry"),
    (CscApi, "deliver"),
    (receiver, "headers"),
    (job, "options_to_json"),
]


BUGS = [(plainly, *place) for place in PLACES] + [
    (way, place, name)
    for way in (in_a_chain, in_an_undecodable_way)
    for place, name in PLACES
    if name in ("whole", "_receipt", "options_to_json")  # planning, a thread, the command
]


@pytest.mark.parametrize(("way", "place", "name"), BUGS, ids=[f"{way.__name__}-{name}" for way, _, name in BUGS])
def test_a_bug_that_quotes_what_it_was_given(
    night: Night, monkeypatch: pytest.MonkeyPatch, way: Callable[..., Any], place: object, name: str
) -> None:
    night.mark()
    monkeypatch.setattr(place, name, way)
    ran = night.submit("--child", night.row(1).person_id)
    assert (ran.code, ran["error"]["code"]) == (1, "bug")
    assert night.leaks() == []


class _Untidy:
    """Fails while it is cleared away."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        raise RuntimeError(self.text)


@pytest.mark.filterwarnings("ignore")
def test_libraries_and_threads_that_chatter(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.mark()
    carry = BatchSender.carry

    def chatter(courier: BatchSender, batch: Any) -> Any:
        text = told((batch,))
        library = logging.getLogger("urllib3.connectionpool")
        library.warning("Retrying (%r) after connection broken by '%r'", text, batch)
        library.error(text)
        library.debug(text)
        logging.getLogger("some.library").critical(f"{text}", exc_info=ValueError(text))
        warnings.warn(text, stacklevel=1)
        thread = threading.Thread(target=plainly, args=(text,))
        thread.start()
        thread.join()
        _Untidy(text)
        return carry(courier, batch)

    monkeypatch.setattr(BatchSender, "carry", chatter)
    assert night.submit("--workers", "2").code == 0
    [log] = (night.data / "logs").glob("*.log")
    assert "unexpected error in a thread" in log.read_text(encoding="utf-8")
    assert night.leaks() == []
