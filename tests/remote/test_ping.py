"""Health checks, to a real server on loopback."""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dataflows.remote import ping as module
from dataflows.remote.ping import What, ping
from dataflows.settings import Secret, Settings
from tests.remote.loopback import Loopback, Request, closed_port, in_turn, reply, serving, settings, silence
from tests.remote.mocked import answering

CANARY = "5ecret-0f-the-operator"


def watched(tmp_path: Path, url: str) -> Settings:
    return replace(settings(tmp_path), healthcheck_urls={"patient_import": Secret(url)})


def lines(seen: Loopback) -> list[str]:
    return [one.line.removesuffix(" HTTP/1.1") for one in seen.requests]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("start", f"GET /ping/{CANARY}/start"),
        ("success", f"GET /ping/{CANARY}"),
        ("failure", f"GET /ping/{CANARY}/fail"),
    ],
)
def test_each_end_of_a_run_has_its_address(tmp_path: Path, what: What, line: str) -> None:
    with serving(reply(200)) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/{CANARY}"), "patient-import", what) is True

    assert lines(seen) == [line]


def test_a_query_stays_behind_the_path(tmp_path: Path) -> None:
    with serving(reply(200)) as seen:
        ping(watched(tmp_path, f"{seen.url}/ping/x/?create=1"), "patient-import", "failure")

    assert lines(seen) == ["GET /ping/x/fail?create=1"]


def test_another_command_has_no_health_check(tmp_path: Path) -> None:
    with serving(reply(200)) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/x"), "therapist-import", "start") is None

    assert seen.requests == []


def test_a_hiccup_is_tried_again(tmp_path: Path) -> None:
    with serving(in_turn(reply(503), reply(200))) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/x"), "patient-import", "success") is True

    assert len(seen.requests) == 2


@pytest.mark.parametrize("status", [404, 302])
def test_a_refusal_fails_nothing(tmp_path: Path, status: int) -> None:
    with serving(reply(status)) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/x"), "patient-import", "success") is False

    assert len(seen.requests) == 1


def test_nobody_there_fails_nothing_and_shows_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/ping/{CANARY}"
    given = watched(tmp_path, url)
    with caplog.at_level(logging.INFO):
        assert ping(given, "patient-import", "start") is False

    shown = caplog.text + "".join(capsys.readouterr()) + repr(given)
    assert CANARY not in shown
    assert str(urlsplit(url).port) not in shown


def test_a_dripping_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.4)

    def drip(connection: socket.socket, request: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 Synthetic\r\n")
        for _ in range(500):
            connection.sendall(b"X: y\r\n")
            time.sleep(0.01)

    began = time.monotonic()
    with serving(drip) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/x"), "patient-import", "start") is False
    assert time.monotonic() - began < 3


def test_being_stopped_ends_the_attempt(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with serving(silence) as seen:
        assert ping(watched(tmp_path, f"{seen.url}/ping/x"), "patient-import", "start", stop=stop) is False


def test_an_unusable_bundle_fails_nothing(tmp_path: Path) -> None:
    given = replace(watched(tmp_path, "https://hc.example.org/x"), requests_ca_bundle=tmp_path / "missing.pem")
    assert ping(given, "patient-import", "start") is False


@pytest.mark.parametrize(("status", "told"), [(200, True), (204, True), (302, False), (404, False), (410, False)])
def test_only_a_good_answer_counts_as_told(tmp_path: Path, status: int, told: bool) -> None:
    with answering() as wire:
        wire.get("https://hc.example.org/synthetic/fail", status=status, headers={"Location": "/"})
        assert ping(watched(tmp_path, "https://hc.example.org/synthetic"), "patient-import", "failure") is told
        assert len(wire.calls) == 1
