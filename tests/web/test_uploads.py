"""Uploads of every bad kind: too large, no form, bombs, with names that want to be paths, and a thousand at once."""

from __future__ import annotations

import gzip
import io
import select
import socket
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dataflows.runs import background
from dataflows.sandbox.server import Sandbox
from dataflows.web import bounds
from tests.flows.hospitals.world import QUICK
from tests.processes import gated, until
from tests.web.served import CSV, HEADER, TOKEN, Answer, Within, form, rest_of, within

MEBIBYTE = 1024 * 1024
UPLOADS = ("/hospitals/bulk", "/hospitals/validate", "/batch/upload-csv")
PATIENT = {"HTTP_TIMEOUT_SECONDS": "60", "HOSPITALS_WAKE_SECONDS": "60"}
HEAD = f"POST /hospitals/validate HTTP/1.1\r\nHost: x\r\n{HEADER}: {TOKEN}\r\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go, so that what is left of them is seen."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def server(box: Sandbox, kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    settings = {**box.settings(), **QUICK, **PATIENT, "UPLOAD_MAX_BYTES": MEBIBYTE}
    with within(tmp_path_factory.mktemp("server"), settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_is_left(kept: Path) -> Iterator[None]:
    yield
    until(lambda: not list(kept.iterdir()), "the end of the temporary files")


def outcome(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", UPLOADS)
def test_a_gigabyte_is_refused_before_it_is_sent(server: Within, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n{HEADER}: {TOKEN}\r\n\r\n"
    with server.connected() as one:
        one.sendall(head.encode())
        assert one.recv(12) == b"HTTP/1.1 413"


def test_a_gigabyte_of_unknown_length_is_cut_off_near_the_limit(server: Within) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    head = f"{HEAD}Content-Type: {form('')[1]}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connected() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        start = form("")[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        one.sendall(head.encode() + b"%x\r\n" % len(start) + start + b"\r\n")
        sent = 0
        while sent < 1_000_000_000 and not select.select([one], [], [], 0)[0]:
            one.sendall(chunk)
            sent += len(chunk)
        assert one.recv(12) == b"HTTP/1.1 413"
    assert sent < 30 * MEBIBYTE


def test_a_file_of_just_the_limit_is_taken(server: Within) -> None:
    text = "name,address\n" + "x" * (MEBIBYTE - 13)
    assert server.upload("/hospitals/validate", text).status == 200


def test_other_requests_may_bring_little(server: Within) -> None:
    assert outcome(server.post("/run", b"x" * 70_000)) == (413, "too_large")
    assert outcome(server.post("/runs/enter", b"x" * 70_000)) == (413, "too_large")


# --- bombs ------------------------------------------------------------------------------------------------------------


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hospitals.csv", b"\0" * 100 * MEBIBYTE)
    return held.getvalue()


BOMBS = {
    "zip": zipped(),
    "gzip": gzip.compress(b"name,address\n" + b"x" * 50 * MEBIBYTE),
    "rows": b"name,address,phone\n" + b"x\n" * 450_000,
    "columns": b"," * 900_000,
    "quote": b'name,address,phone\n"' + b"x" * 900_000,
    "lines in a quote": b'name,address,phone\n"' + b"\n" * 900_000,
    "NUL": b"name,address,phone\n" + b"\0" * 900_000,
    "empty": b"",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_judged_and_refused(server: Within, kind: str) -> None:
    assert server.upload("/hospitals/validate", BOMBS[kind]).document["is_valid"] is False
    assert server.upload("/hospitals/bulk", BOMBS[kind]).status == 422
    assert server.upload("/batch/upload-csv", BOMBS[kind]).status == 422


def test_a_compressed_request_is_not_unpacked(server: Within) -> None:
    body, kind = form(CSV)
    answer = server.post("/hospitals/validate", gzip.compress(body), content_type=kind, content_encoding="gzip")
    assert outcome(answer) == (400, "bad_request")


# --- forms ------------------------------------------------------------------------------------------------------------


def part(disposition: str, content: str = CSV) -> str:
    return f"--b\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n"


FILE = part('form-data; name="file"; filename="x.csv"')
FIELD = part('form-data; name="other"', "1")
END = "--b--\r\n"
MULTIPART = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (MULTIPART, FIELD * 8 + FILE + END, 200),
        (MULTIPART, FIELD * 9 + FILE + END, 400),
        (MULTIPART, FIELD * 5_000 + END, 400),
        (MULTIPART, FILE + FILE + END, 400),
        (MULTIPART, FIELD + END, 422),
        (MULTIPART, part('form-data; name="file"') + END, 422),
        (MULTIPART, part('form-data; filename="x.csv"') + END, 400),
        (MULTIPART, part("") + END, 400),
        (MULTIPART, "--b\r\n\r\n" + CSV + "\r\n" + END, 400),
        (MULTIPART, "--b\r\n" + "X: y\r\n" * 50_000 + "\r\n" + CSV + "\r\n" + END, 400),
        (MULTIPART, "--b\r\nX: " + "y" * 900_000 + "\r\n\r\n" + CSV + "\r\n" + END, 400),
        (MULTIPART, "no form at all", 400),
        (MULTIPART, "", 422),
        (MULTIPART, FILE, 422),
        (MULTIPART, FILE[:-3], 422),
        ("multipart/form-data", FILE + END, 400),
        ("multipart/form-data; boundary=", FILE + END, 400),
        ("multipart/form-data; boundary=" + "b" * 5000, FILE + END, 400),
        ("multipart/mixed; boundary=b", FILE + END, 422),
        ("text/csv", CSV, 422),
        ("application/json", '{"file": "x"}', 422),
        ("application/x-www-form-urlencoded", "file=x", 422),
        ("application/x-www-form-urlencoded", "&".join(["a"] * 400_000), 400),
        ("", CSV, 422),
        (MULTIPART + "; charset=undefined", FILE + END, 400),
        (MULTIPART + "; charset=punycode", part('form-data; name="file"; filename="\xff"') + END, 422),
    ],
)  # fmt: skip
def test_a_form_is_taken_or_refused(server: Within, kind: str, body: str, expected: int) -> None:
    answer = server.post("/hospitals/validate", body.encode(), content_type=kind)
    assert answer.status == expected
    assert answer.status == 200 or answer.code in ("bad_request", "missing")


NAMES = [
    "../../evil.csv",
    "/etc/passwd",
    "C:\\evil.csv",
    "x\0.csv",
    "x\r\nX-Evil: 1",
    'a"; filename="b',
    "x" * 60_000,
    "",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_name_of_a_file_reaches_nothing(server: Within, kept: Path, name: str) -> None:
    answer = server.upload("/hospitals/validate", CSV, name=name)
    assert answer.status in (200, 400, 422)
    assert "evil" not in str(answer.headers).lower() + answer.body.decode()
    assert not [path for path in kept.parent.rglob("*evil*") if path.is_file()]


# --- callers that go away, and callers that come all at once ----------------------------------------------------------


def test_a_caller_that_goes_away_is_no_bug(server: Within, caplog: pytest.LogCaptureFixture, kept: Path) -> None:
    caplog.set_level("INFO", "dataflows.web")
    with server.connected() as one:
        head = f"{HEAD}Content-Type: {form('')[1]}\r\nContent-Length: 900000\r\n\r\n"
        one.sendall(head.encode() + form("x" * 100_000)[0])
        until(lambda: bool(list(kept.iterdir())), "the upload")
    until(lambda: "POST /hospitals/validate 499" in caplog.text, "the line in the log")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_thousand_uploads_are_all_answered(server: Within, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MOST_TAKEN_IN", 16)
    monkeypatch.setattr(bounds, "BODY_GRACE_SECONDS", 60.0)  # how fast a busy machine is, is not asked here
    with gated(box.directory):
        answers = [answer for wave in range(4) for answer in all_at_once(server, wave)]
        assert server.get("/health").status == 200
    assert len(answers) == 1000
    assert {answer.status for answer in answers} == {202, 409, 503}
    taken = [answer.document["batch_id"] for answer in answers if answer.status == 202]
    assert len(taken) == 16 == len(set(taken))
    until(lambda: not server.context.background.running(), "the end of the batches")
    states = Counter(server.get(f"/batch/{batch}/progress").document["processing_status"] for batch in taken)
    assert states == {"completed": 16}


def all_at_once(server: Within, wave: int) -> list[Answer]:
    """250 uploads on as many connections, each file twice."""

    def one(number: int) -> Answer:
        return server.upload("/batch/upload-csv", CSV.format(f"{wave}-{number // 2}"))

    with ThreadPoolExecutor(250) as pool:
        return list(pool.map(one, range(250)))


def test_two_uploads_of_the_same_rows_at_once_create_them_once(server: Within, box: Sandbox) -> None:
    with gated(box.directory), ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(server.upload, "/batch/upload-csv", CSV.format("Twice")) for _ in range(10)]
        answers = [one.result() for one in asked]
    first, *others = sorted(answers, key=lambda answer: answer.status)
    assert (first.status, {outcome(answer) for answer in others}) == (202, {(409, "already_running")})
    until(lambda: not server.context.background.running(), "the end of the batch")
    assert [record["name"] for record in box.directory.records].count("Synthetic Hospital Twice") == 1


def test_the_rest_of_a_refused_upload_is_thrown_away(server: Within) -> None:
    body, kind = form("x" * 900_000)
    head = f"POST /run HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with server.connected() as one:
        one.sendall(head.encode() + body)
        one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answered = rest_of(one)
    assert answered.count(b"HTTP/1.1 ") == 2
    assert answered.startswith(b"HTTP/1.1 413 ")
    assert answered.endswith(b'{"ok":true}')
