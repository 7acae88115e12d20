"""The exports of the sandbox: both layouts, editions, and the faults that were met with the real ones."""

from __future__ import annotations

import csv
import gzip
import http.client
import io
from urllib.parse import urlsplit

import pytest

from dataflows.sandbox.cqc import DIRECTORY_COLUMNS, PREAMBLE, SEARCH_COLUMNS
from dataflows.sandbox.server import Sandbox
from tests.sandbox.client import ask


def got(box: Sandbox, source: str = "homecare", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    """The raw answer for one source: bodies that break off must be seen as they are."""
    url = urlsplit(box.settings()[f"CQC_URL_{source.upper()}"])
    connection = http.client.HTTPConnection(url.netloc, timeout=5)
    try:
        connection.request("GET", f"{url.path}?{url.query}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def records(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))


def test_the_search_layout(box: Sandbox) -> None:
    status, body, headers = got(box)
    assert (status, headers["Content-Type"], body) == (200, "text/csv; charset=UTF-8", box.cqc.export("homecare"))
    header, *rows = records(body)
    assert tuple(header) == SEARCH_COLUMNS
    assert len(rows) == 400
    assert all("Synthetic" in row[0] and row[5].startswith("ZZ99") for row in rows)
    assert any(not row[8] for row in rows)  # a provider's own record


def test_the_weekly_layout(box: Sandbox) -> None:
    body = got(box, "directory")[1]
    assert body.count(b"\r\n") == body.count(b"\n") - 10  # ten names have a line break of their own
    above, rows = records(body)[: len(PREAMBLE)], records(body)[len(PREAMBLE) :]
    assert "synthetic" in above[0][0].lower()
    assert tuple(rows[0]) == DIRECTORY_COLUMNS
    assert all(row[13] for row in rows[1:])


def test_editions_differ_a_little_and_repeat(box: Sandbox) -> None:
    first = got(box)[1]
    box.cqc.faults.set(edition=2)
    second = got(box)[1]
    assert first != second == box.cqc.export("homecare")
    box.reset()
    assert got(box)[1] == first


def test_gzip_is_for_those_who_accept_it_and_may_lack_its_end(box: Sandbox) -> None:
    box.cqc.faults.set(gzip=True, gzip_cut_next=1)
    assert got(box)[1] == box.cqc.export("homecare")
    _, cut, headers = got(box, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    with pytest.raises(EOFError):
        gzip.decompress(cut)
    whole = got(box, **{"Accept-Encoding": "gzip"})[1]
    assert gzip.decompress(whole) == box.cqc.export("homecare")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_every_framing_can_be_whole_and_cut(box: Sandbox, framing: str) -> None:
    box.cqc.faults.set(framing=framing, cut_next=1)
    try:
        assert len(got(box)[1]) < len(box.cqc.export("homecare"))
        assert framing == "close"  # which cannot tell
    except http.client.IncompleteRead:
        assert framing != "close"
    assert got(box)[1] == box.cqc.export("homecare")


@pytest.mark.parametrize("source", ["homecare", "directory"])
def test_wrong_content_is_right_again_after_so_many(box: Sandbox, source: str) -> None:
    right = box.cqc.export(source)
    width = 18 if source == "homecare" else 15
    for content, wrong in (("extra", width + 1), ("missing", 2)):
        box.cqc.faults.set(content=content, content_next=1)
        widths = [len(row) for row in records(got(box, source)[1])][-400:]
        assert set(widths[:-1]) == {width} and widths[-1] == wrong
        assert got(box, source)[1] == right
    box.cqc.faults.set(content="open_quote", content_next=1)
    with pytest.raises(csv.Error):
        records(got(box, source)[1])
    box.cqc.faults.set(content="header_only", content_next=1)
    assert right.startswith(got(box, source)[1])
    assert got(box, source)[1] == right


@pytest.mark.parametrize(
    ("content", "begins"), [("html", b"<!DOCTYPE html>"), ("other", b"synthetic,"), ("empty", b"")]
)
def test_other_content_may_be_called_csv(box: Sandbox, content: str, begins: bytes) -> None:
    box.cqc.faults.set(content=content)
    _, body, headers = got(box)
    assert body.startswith(begins) and body != box.cqc.export("homecare")
    assert headers["Content-Type"].startswith("text/csv")


def test_a_redirect_leads_where_it_is_told(box: Sandbox) -> None:
    box.cqc.faults.set(redirect_to="https://example.org/elsewhere")
    status, _, headers = got(box)
    assert (status, headers["Location"]) == (302, "https://example.org/elsewhere")


def test_other_paths_are_not_there(box: Sandbox) -> None:
    assert ask(box, "GET", "/cqc/hospitals.csv").status == 404
