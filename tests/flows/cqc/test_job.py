"""`cqc-fetch` through the real program, over real sockets: what is saved, what never is, and what the run says."""

from __future__ import annotations

import gzip
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

import pytest

from dataflows.flows.cqc import job
from dataflows.flows.cqc.fetching import DEFAULTS, HEADERS
from dataflows.flows.cqc.folder import Folder, target
from dataflows.flows.cqc.history import History
from dataflows.flows.cqc.layout import is_header
from dataflows.runs import clock
from dataflows.runs.journal import Journal
from dataflows.runs.lock import only_one
from dataflows.runs.runner import Order, Outcome, run_job
from dataflows.sandbox.cqc import NEW_PER_EDITION, text_of
from dataflows.settings import load
from tests.flows.cqc.world import BOTH, Ran, World
from tests.remote.loopback import Answer, Loopback, Request, in_turn, raw, reply, serving, silence

GOOD = text_of("homecare", 50, 1).encode()
ONE = ("--source", "mirror")


def only_files_of(world: World, ran: Ran) -> bool:
    """Whether the folder holds what the run names, and nothing else."""
    return world.names() == sorted(one["file"] for one in ran["results"].values() if one["file"])


@contextmanager
def mirror(world: World, answer: Answer) -> Iterator[Loopback]:
    """A source of raw bytes besides the sandbox, called ``mirror``."""
    with serving(answer) as server:
        world.environment["CQC_URL_MIRROR"] = f"{server.url}/export.csv?display=csv"
        yield server


def chunked(body: bytes, end: bytes = b"0\r\n\r\n", header: bytes = b"") -> Answer:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/csv\r\n" + header + b"\r\n"
    return raw(head + b"%x\r\n%b\r\n" % (len(body), body) + end, close=True)


def until_closed(body: bytes) -> Answer:
    return raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nConnection: close\r\n\r\n" + body, close=True)


def short(body: bytes) -> Answer:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n" % len(body)
    return raw(head + body[: len(body) // 2], close=True)


def dripping(connection: socket.socket, _: Request) -> None:
    pause = threading.Event()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nName,")
    for drop in repeat(b"x"):
        connection.sendall(drop)
        pause.wait(0.02)


# --- a good night ---------------------------------------------------------------------------------------------------


def test_every_source_is_saved_byte_for_byte_and_reported_as_the_seed_does(world: World) -> None:
    ran = world.fetch("--all")
    assert (ran.code, ran["status"], ran["saved_to"], ran["error"]) == (0, "ok", str(world.out), None)
    assert list(ran["results"]) == ["homecare", "carehomes", "directory"]
    for source in ran["results"]:
        result = ran.of(source)
        assert world.bytes_of(ran, source) == world.cqc.export(source)
        assert (result["bytes"], result["rows"]) == (len(world.cqc.export(source)), 400)
        assert result["url"] == f"/files/{result['file']}"
        assert (result["error"], result["unchanged"], result["tries"]) == (None, False, 1)
    assert only_files_of(world, ran)


def test_all_sources_are_fetched_at_once(world: World) -> None:
    world.cqc.faults.set(latency_ms=300)
    assert world.fetch("--all").code == 0
    assert world.cqc.most_in_flight == 3
    world.cqc.reset()
    world.cqc.faults.set(latency_ms=20)
    assert world.fetch("--all", "--workers", "1").code == 0
    assert world.cqc.most_in_flight == 1


@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("newline", ["lf", "crlf"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_both_layouts_come_through_every_framing(world: World, bom: bool, newline: str, framing: str) -> None:
    world.cqc.faults.set(rows=60, bom=bom, newline=newline, framing=framing, gzip=framing == "chunked")
    ran = world.fetch("--all")
    assert ran.code == 0
    for source in ran["results"]:
        assert ran.of(source)["rows"] == 60
        assert world.bytes_of(ran, source) == world.cqc.export(source)


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
def test_another_content_type_is_fine_when_the_content_is(world: World, content_type: str) -> None:
    world.cqc.faults.set(content_type=content_type)
    assert world.fetch().code == 0


def test_it_asks_as_a_browser_does(world: World) -> None:
    with mirror(world, reply(200, GOOD)) as server:
        assert world.fetch(*ONE).code == 0
    [request] = server.requests
    assert request.line == "GET /export.csv?display=csv HTTP/1.1"
    assert request.headers["user-agent"].startswith("Mozilla/5.0")
    assert request.headers["accept"] == HEADERS["Accept"]


def test_the_seeds_queries_arrive_as_they_are(world: World) -> None:
    query = DEFAULTS["homecare"].partition("?")[2]
    with serving(reply(200, GOOD)) as server:
        assert world.fetch(*ONE, CQC_URL_MIRROR=f"{server.url}/search/all?{query}").code == 0
    [request] = server.requests
    assert request.line.split()[1].replace("%5B", "[").replace("%5D", "]") == f"/search/all?{query}"


def test_without_settings_the_two_exports_of_cqc_are_fetched(world: World) -> None:
    for source in ("HOMECARE", "CAREHOMES", "DIRECTORY"):
        world.environment.pop(f"CQC_URL_{source}")
    ran = world.call("cqc-fetch", "--dry-run", "--json")
    assert {plan["source"]: plan["from"] for plan in ran["would_fetch"]} == dict(DEFAULTS)
    assert ran["saved_to"] == world.environment["DATA_DIR"]
    assert "services:homecare-agencies" in DEFAULTS["homecare"] and "careHomes:all" in DEFAULTS["carehomes"]


def test_a_run_leaves_what_it_learnt_in_the_journal(world: World) -> None:
    ran = world.fetch("--source", "homecare")
    journal = Journal.open(Path(world.environment["DATA_DIR"]))
    last = History(journal, target(world.out)).last_good("homecare")
    assert last is not None
    result = ran.of("homecare")
    assert (last.file, last.bytes, last.rows, last.sha256) == tuple(
        result[name] for name in ("file", "bytes", "rows", "sha256")
    )
    assert last.url == world.environment["CQC_URL_HOMECARE"]
    assert (last.etag or "").startswith('"') and last.last_modified == "Sun, 01 Mar 2026 06:00:00 GMT"
    assert (last.tries, last.good, last.seconds > 0) == (1, 1, True)
    assert [(item.key, item.state) for item in journal.items(ran["run_id"])] == [("homecare", "done")]
    journal.close()


def test_the_log_tells_status_bytes_records_and_path(world: World) -> None:
    ran = world.fetch("--source", "homecare")
    [log] = (Path(world.environment["DATA_DIR"]) / "logs").glob("*-cqc-fetch.log")
    text = log.read_text(encoding="utf-8")
    for said in (
        "cqc-fetch starts",
        "status 200",
        f"{ran.of('homecare')['bytes']} bytes",
        "400 records",
        "exit code 0",
    ):
        assert said in text
    assert ran.of("homecare")["file"] in text


# --- what never gets a final name -----------------------------------------------------------------------------------

CUT = GOOD[: len(GOOD) // 2]
PACKED = gzip.compress(GOOD)
BROKEN = {
    "short with length": (short(GOOD), "broke off"),
    "short without length": (until_closed(CUT), "the file ends inside"),
    "cut chunked body": (chunked(CUT, end=b""), "broke off"),
    "cut gzip in whole chunks": (
        chunked(PACKED[: len(PACKED) // 2], header=b"Content-Encoding: gzip\r\n"),
        "the gzip stream from .* is incomplete",
    ),
    "open quote at the end": (reply(200, GOOD.rstrip()[:-1] + b',"x\n'), "the file ends inside quotes"),
    "nothing": (reply(200, b""), "the file is empty"),
    "503 all night": (reply(503, b"<html>busy</html>"), "answered 503"),
    "closed at once": (raw(b"", close=True), "closed the connection"),
}
REFUSED = {
    "html as csv": (reply(200, b"<!doctype html>\na,b,\nc,d\n", Content_Type="text/csv"), "html"),
    "html": (reply(200, b"<html>a,b\n</html>", Content_Type="text/html"), "html"),
    "header only": (reply(200, GOOD.splitlines(keepends=True)[0]), "empty"),
    "an extra column": (reply(200, GOOD.rstrip() + b",x\n" + GOOD.splitlines()[1] + b"\n"), "ragged"),
    "a missing column": (reply(200, GOOD + b"a,b\n" + GOOD.splitlines()[1] + b"\n"), "ragged"),
    "something else": (reply(200, b"a,b\nc,d\n"), "header"),
    "another host": (reply(302, b"", Location="https://example.org/export.csv"), "redirected"),
    "403": (reply(403, b"<html>robots</html>"), "access_refused"),
    "404": (reply(404, b""), "unavailable"),
    "packed otherwise": (reply(200, GOOD, Content_Encoding="br"), "encoding"),
}


def not_saved(world: World, ran: Ran, code: str) -> str:
    """Make sure that nothing is in the folder and that the reason is told in one line; returns it."""
    assert world.names() == []
    result = ran.of("mirror")
    assert (result["file"], result["code"], ran["status"]) == (None, code, "error")
    [line] = [line for line in ran.err.splitlines() if line.startswith("failed  mirror")]
    assert result["error"] in line
    return str(result["error"])


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_breaks_off_is_tried_again_and_then_given_up(world: World, name: str) -> None:
    answer, words = BROKEN[name]
    with mirror(world, answer) as server:
        ran = world.fetch(*ONE)
        assert len(server.requests) == 3
    assert ran.code == 13
    told = not_saved(world, ran, "broken_off" if "answered" not in words and "closed" not in words else "service_down")
    assert re.search(words, told)


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_wrong_is_refused_and_not_asked_for_again(world: World, name: str) -> None:
    answer, code = REFUSED[name]
    with mirror(world, answer) as server:
        ran = world.fetch(*ONE)
        assert len(server.requests) == 1
    assert ran.code == 4
    not_saved(world, ran, code)


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_broke_off_is_fetched_from_its_start_and_then_succeeds(world: World, name: str) -> None:
    with mirror(world, in_turn(BROKEN[name][0], reply(200, GOOD))) as server:
        ran = world.fetch(*ONE)
        assert len(server.requests) == 2
        assert all("range" not in request.headers for request in server.requests)
    assert (ran.code, ran.of("mirror")["tries"]) == (0, 2)
    assert world.bytes_of(ran, "mirror") == GOOD
    assert only_files_of(world, ran)


@pytest.mark.parametrize("answer", [silence, dripping, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nName,")])
def test_no_server_holds_a_run_longer_than_the_deadline(world: World, answer: Answer) -> None:
    with mirror(world, answer):
        ran = world.fetch(*ONE, CQC_DEADLINE_SECONDS="0.4", HTTP_TIMEOUT_SECONDS="30")
    assert ran.code == 13
    assert ran["seconds"] < 3
    assert "did not send the whole file in time" in not_saved(world, ran, "service_down")


STALLED = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nName,")


@pytest.mark.parametrize("answer", [silence, STALLED])
@pytest.mark.parametrize(("deadline", "timeout", "waited"), [("0.4", "30", 0.4), ("20", "0.3", 0.3)])
def test_a_stalled_server_is_told_with_the_time_really_waited(
    world: World, answer: Answer, deadline: str, timeout: str, waited: float
) -> None:
    with mirror(world, answer):
        ran = world.fetch(*ONE, CQC_DEADLINE_SECONDS=deadline, HTTP_TIMEOUT_SECONDS=timeout, CQC_RETRIES="0")
    told = re.search(r"(?:within |after |in time \()([0-9.]+) s", ran.of("mirror")["error"])
    assert told is not None, ran.of("mirror")["error"]
    assert waited - 0.05 <= float(told[1]) <= ran["seconds"] + 0.05


IN_THE_PAST = "Sat, 21 Nov 2020 04:55:20 GMT"


@pytest.mark.parametrize("told", ["", "0", "1", "soon", "-5", "1.5", IN_THE_PAST, "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_429_is_tried_again_whatever_its_retry_after_says(world: World, told: str) -> None:
    headers = {"Retry_After": told} if told else {}
    with mirror(world, in_turn(reply(429, b"", **headers), reply(200, GOOD))):
        ran = world.fetch(*ONE)
    assert (ran.code, ran.of("mirror")["tries"]) == (0, 2)


def test_a_file_larger_than_allowed_is_refused(world: World) -> None:
    with mirror(world, chunked(GOOD)):
        ran = world.fetch(*ONE, CQC_MAX_BYTES="1000")
    assert ran.code == 4
    not_saved(world, ran, "too_large")


def test_one_source_that_fails_does_not_hold_up_the_other(world: World) -> None:
    with mirror(world, reply(403, b"")):
        ran = world.fetch(*ONE, "--source", "homecare")
    assert (ran.code, ran["status"]) == (3, "partial")
    assert ran.of("homecare")["file"] and not ran.of("mirror")["file"]
    assert only_files_of(world, ran)


def test_some_that_fail_for_good_and_some_that_are_down_make_4(world: World) -> None:
    with mirror(world, reply(403, b"")):
        world.cqc.faults.set(error_share=1.0)
        assert world.fetch(*ONE, "--source", "homecare").code == 4


def test_a_failure_is_kept_for_runs_show(world: World) -> None:
    with mirror(world, reply(403, b"")):
        ran = world.fetch(*ONE)
    shown = world.call("runs", "show", ran["run_id"], "--json")
    [item] = shown["items"]
    assert (item["key"], item["code"]) == ("mirror", "access_refused")


# --- the folder -----------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_a_setting(world: World) -> None:
    world.out.write_text("a file and no folder", encoding="utf-8")
    ran = world.fetch()
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")
    assert str(world.out) in ran["error"]["message"]
    assert world.cqc.requests == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_a_setting(world: World) -> None:
    world.out.mkdir(mode=0o500)
    assert world.fetch().code == 10


def test_two_runs_in_the_same_second_have_two_names(world: World) -> None:
    files = [world.fetch("--source", "homecare").of("homecare")["file"] for _ in range(3)]
    assert len(set(files)) == 3
    assert world.names() == sorted(files)


def test_a_second_run_into_the_same_folder_is_refused(world: World) -> None:
    data = Path(world.environment["DATA_DIR"])
    world.out.mkdir()
    with only_one(data, "cqc-fetch", target(world.out)):
        ran = world.fetch("--output", str(world.out / ".." / "out"))
        assert (ran.code, ran["error"]["code"]) == (11, "already_running")
        assert world.fetch("--output", str(world.out / "other")).code == 0


def test_old_files_go_and_the_journal_says_which_is_the_newest_good_one(world: World) -> None:
    first = world.fetch("--source", "homecare").of("homecare")["file"]
    (world.out / "cqc_homecare_20200101_000000Z.csv").touch()
    (world.out / "changes_homecare_20200101_000000Z.csv").touch()
    (world.out / "mine_20200101_000000Z.csv").touch()
    looked = world.fetch("--source", "homecare", "--dry-run")
    assert looked["would_prune"] == ["changes_homecare_20200101_000000Z.csv", "cqc_homecare_20200101_000000Z.csv"]
    assert len(world.names()) == 4
    kept = world.fetch("--source", "homecare", "--keep-days", "0")
    assert len(world.names()) == 5
    ran = world.fetch("--source", "homecare")
    assert ran["pruned"] == looked["would_prune"]
    files = [first, kept.of("homecare")["file"], ran.of("homecare")["file"]]
    assert world.names() == sorted([*files, "mine_20200101_000000Z.csv"])


def test_weeks_pass_and_only_the_newest_good_file_outlives_its_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    settings = load()

    def night(day: int, **faults: object) -> Outcome:
        world.cqc.faults.set(**faults)
        moment = datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(days=day)
        options = job.Options(world.out, ("homecare",), merged=True)
        order = Order("cqc-fetch", str(world.out), {}, settings.data_dir)
        return run_job(order, job.fetch(settings, options, lambda: moment), lambda _: None)

    assert night(0).exit_code == 0
    assert night(40, rows=10).exit_code == 3  # suspiciously small, so the first one is still the newest good one
    assert night(80, error_share=1.0).exit_code == 13
    assert world.names() == ["cqc_homecare_20260101_060000Z.csv", "cqc_homecare_20260210_060000Z.csv"]
    assert night(81, rows=400, error_share=0.0).exit_code == 0
    assert world.names() == ["cqc_homecare_20260323_060000Z.csv", "merged_20260323_060000Z.csv"]


def test_a_dry_run_asks_nobody_and_writes_nothing(world: World) -> None:
    ran = world.fetch("--dry-run")
    assert ran.code == 0
    assert [plan["source"] for plan in ran["would_fetch"]] == ["homecare", "carehomes"]
    assert not world.out.exists()
    assert world.cqc.requests == []


# --- compared with the last one -------------------------------------------------------------------------------------


def test_the_same_file_is_reported_as_unchanged_and_saved_again(world: World) -> None:
    world.fetch()
    ran = world.fetch()
    assert (ran.code, ran.of("homecare")["unchanged"], len(world.names())) == (0, True, 4)


def test_the_same_file_need_not_be_saved_again(world: World) -> None:
    first = world.fetch()
    ran = world.fetch("--skip-unchanged")
    assert (ran.code, ran["counts"]["skipped"]) == (0, 2)
    assert ran.of("homecare")["file"] == first.of("homecare")["file"]
    assert len(world.names()) == 2
    (world.out / first.of("homecare")["file"]).unlink()
    again = world.fetch("--skip-unchanged")
    assert (again["counts"]["done"], again["counts"]["skipped"], len(world.names())) == (1, 1, 2)


def test_a_file_with_under_half_the_records_is_kept_and_warned_about(world: World) -> None:
    world.fetch()
    world.cqc.faults.set(rows=199)
    ran = world.fetch()
    assert (ran.code, ran["status"], ran["error"]["code"]) == (3, "partial", "shrunk")
    assert ran.of("homecare")["warning"] == "199 records, under half of the 400 of the last good file"
    assert ran.of("homecare")["error"] is None
    assert len(world.names()) == 4
    assert world.fetch().code == 3  # it does not become the measure by being there
    assert world.fetch("--accept-shrink").code == 0
    assert world.fetch().code == 0


def test_half_the_records_are_no_warning(world: World) -> None:
    world.fetch()
    world.cqc.faults.set(rows=200)
    assert world.fetch().code == 0


def test_changes_are_written_beside_the_new_file(world: World) -> None:
    first = world.fetch("--source", "homecare", "--changes")
    assert first.code == 0
    assert first.of("homecare")["changes"] is None
    assert "no earlier file to compare with" in first.err
    world.cqc.faults.set(edition=2)
    ran = world.fetch("--source", "homecare", "--changes")
    changes = ran.of("homecare")["changes"]
    assert changes["file"] == ran.of("homecare")["file"].replace("cqc_", "changes_")
    assert (changes["new"], changes["gone"], changes["changed"]) == (NEW_PER_EDITION, 2, 20)
    assert len([row for row in world.rows_of(changes["file"]) if row["change"] == "new"]) == NEW_PER_EDITION
    last = world.fetch("--source", "homecare", "--changes").of("homecare")["changes"]
    assert (last["new"], last["gone"], last["changed"]) == (0, 0, 0)


def test_an_earlier_file_that_was_tampered_with_fails_the_comparison_only(world: World) -> None:
    first = world.fetch("--source", "homecare")
    (world.out / first.of("homecare")["file"]).write_text("something else\n", encoding="utf-8")
    ran = world.fetch("--source", "homecare", "--changes")
    assert (ran.code, ran["counts"]) == (3, {"done": 1, "failed": 1, "skipped": 0, "pending": 0})
    assert ran.of("homecare")["error"] is None
    assert not [name for name in world.names() if name.startswith((".", "changes"))]


def test_merged_holds_each_location_once(world: World) -> None:
    ran = world.fetch("--all", "--merged")
    rows = world.rows_of(ran["merged"]["file"])
    assert len(rows) == ran["merged"]["rows"]
    ids = [row["CQC Location ID (for office use only)"] for row in rows]
    located = [one for one in ids if one]
    assert len(located) == len(set(located))
    assert ran["merged"]["sources"] == ["homecare", "carehomes", "directory"]
    assert any(row["Name"].startswith("'=") for row in rows)
    for source in ran["results"]:
        assert world.bytes_of(ran, source) == world.cqc.export(source)  # the downloads are left alone


# --- how it is asked for --------------------------------------------------------------------------------------------


def test_an_unknown_source_is_wrong_usage(world: World) -> None:
    ran = world.fetch("--source", "hospitals")
    assert (ran.code, ran["error"]["code"]) == (2, "wrong_usage")
    assert "CQC_URL_HOSPITALS" in ran["error"]["hint"]


def test_a_source_is_fetched_once_however_often_it_is_named(world: World) -> None:
    ran = world.fetch(*BOTH, "--source", "HomeCare")
    assert list(ran["results"]) == ["homecare", "carehomes"]
    assert len(world.cqc.requests) == 2


def test_an_address_that_would_send_it_in_the_clear_is_refused(world: World) -> None:
    ran = world.fetch(CQC_URL_HOMECARE="http://example.org/export.csv")
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")
    assert "CQC_URL_HOMECARE" in ran["error"]["message"]


def test_a_run_without_an_answer_can_be_resumed(world: World) -> None:
    world.cqc.faults.set(drop_share=1.0)
    ran = world.fetch("--merged")
    assert ran.code == 13
    world.cqc.faults.set(drop_share=0.0)
    resumed = world.call("runs", "resume", ran["run_id"], "--json")
    assert (resumed.code, resumed["command"], resumed["saved_to"]) == (0, "cqc-fetch", str(world.out))
    assert list(resumed["results"]) == ["homecare", "carehomes"]
    assert resumed["merged"]["rows"] > 400
    state = world.call("runs", "show", ran["run_id"], "--json")
    assert (state["status"], state["continued_by"]) == ("partial", resumed["run_id"])


def test_people_get_a_table_and_the_reason_on_a_line(world: World) -> None:
    arguments = ("cqc-fetch", *ONE, "--source", "homecare", "--output", str(world.out), "--merged", "--changes")
    with mirror(world, reply(403, b"")):
        world.call(*arguments)
        ran = world.call(*arguments)
    assert (ran.code, "\x1b" in ran.out + ran.err) == (3, False)
    saved, head, row, changes, merged = ran.out.splitlines()
    assert saved == f"saved to {world.out}"
    assert head.split() == ["source", "file", "records", "bytes"]
    assert row.split()[0] == "homecare" and row.endswith("unchanged")
    assert changes.endswith("0 new, 0 gone, 0 changed") and merged.endswith("400 records")
    assert "failed  mirror  access_refused" in ran.err
    assert ran.err.splitlines()[-1].startswith("run ")


def test_the_seeds_addresses_are_as_the_seed_has_them() -> None:
    assert not any(" " in url or "{" in url for url in DEFAULTS.values())
    assert all(url.startswith("https://www.cqc.org.uk/search/all?query=&location-query=") for url in DEFAULTS.values())
    assert is_header(["Name", "CQC Provider ID (for office use only)", "CQC Location (for office use only"])


# --- a clock that jumped ahead --------------------------------------------------------------------------------------


def old_files(world: World, count: int = 25) -> list[str]:
    """Files of the pattern, one a day, the newest of today."""
    world.out.mkdir(parents=True, exist_ok=True)
    days = [datetime.now(UTC) - timedelta(days=number) for number in range(count)]
    names = [f"cqc_homecare_{day:%Y%m%d_%H%M%SZ}.csv" for day in days]
    for name in names:
        (world.out / name).write_text("x", encoding="utf-8")
    return names


@pytest.mark.parametrize("date_header", [True, False])
def test_runs_with_the_clock_years_ahead_remove_nothing_and_say_so(
    world: World, monkeypatch: pytest.MonkeyPatch, date_header: bool
) -> None:
    names = old_files(world)
    assert world.fetch().code == 0
    later = datetime.now(UTC) + timedelta(days=1500)
    monkeypatch.setattr(clock, "utc_now", lambda: later)
    if not date_header:
        monkeypatch.setattr("dataflows.sandbox.cqc.formatdate", lambda **_: "")
    monkeypatch.setattr(Folder, "outdated", lambda folder, *_, **__: [folder.path / name for name in names])
    for _ in range(2):
        ran = world.fetch()
        assert (ran.code, ran["clock_jumped"], "pruned" in ran.document) == (0, True, False)
        assert "check this machine's clock" in ran.err
    assert set(names) <= set(world.names())
    monkeypatch.undo()


# --- columns --------------------------------------------------------------------------------------------------------


def renamed(world: World, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Rename a column of all exports from now on."""
    export = world.cqc.export
    monkeypatch.setattr(world.cqc, "export", lambda source: export(source).replace(old.encode(), new.encode(), 1))


def test_a_renamed_column_is_said_and_makes_the_run_partial_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.fetch("--source", "homecare").code == 0
    renamed(world, monkeypatch, "Town/City", "Town")
    ran = world.fetch("--source", "homecare")
    assert (ran.code, ran["status"], ran["error"]["code"]) == (3, "partial", "suspect")
    assert ran.of("homecare")["warning"] == "new columns: Town; columns that are gone: Town/City"
    assert world.fetch("--source", "homecare").code == 0  # it is the last good one by now


def test_rows_of_commas_make_a_file_suspect_and_are_not_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fetch("--source", "homecare")
    export = world.cqc.export
    monkeypatch.setattr(world.cqc, "export", lambda source: export(source) + (b"," * 17 + b"\n") * 6)
    ran = world.fetch("--source", "homecare", "--changes")
    assert (ran.code, ran.of("homecare")["nameless"], ran.of("homecare")["rows"]) == (3, 6, 400)
    assert ran.of("homecare")["warning"] == "6 rows have no identifier and are not records"
    assert ran.of("homecare")["changes"]["new"] == 0


def test_a_header_in_the_middle_is_a_warning_that_names_the_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    export = world.cqc.export
    monkeypatch.setattr(world.cqc, "export", lambda source: export(source) + export(source))
    ran = world.fetch("--source", "homecare")
    assert (ran.code, ran["status"]) == (3, "partial")
    assert "the header is repeated in the middle, at record 401" in ran.of("homecare")["warning"]
    assert "record 401 repeats the first one" in ran.of("homecare")["warning"]
