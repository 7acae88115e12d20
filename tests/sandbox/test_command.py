"""``dataflows sandbox``: prints the settings, serves, and ends well when it is told to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import typer

from dataflows.cli import sandbox
from dataflows.cli.options import Invocation
from dataflows.cli.output import Output
from dataflows.errors import WrongUsage
from dataflows.sandbox.mailbox import Mailbox
from dataflows.sandbox.server import Sandbox

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command; a signal stops it as soon as it says that it listens."""
    app = typer.Typer()
    app.callback()(lambda: None)
    sandbox.register(app)
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)

    def call(
        *arguments: str, number: signal.Signals = signal.SIGTERM, meanwhile: Callable[[], None] | None = None
    ) -> int:
        def note(output: Output, text: str) -> None:
            if meanwhile:
                meanwhile()
            signal.raise_signal(number)

        monkeypatch.setattr(Output, "note", note)
        given = ["sandbox", *arguments]
        return int(app(args=given, standalone_mode=False, obj=Invocation(Output(), given)) or 0)

    yield call


def lines(text: str) -> dict[str, str]:
    """Settings by name."""
    return dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_settings_and_ends_with_0(
    run: Run, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(number=number) == 0
    shown = capsys.readouterr()
    assert lines(shown.out).keys() == Sandbox().settings().keys()
    assert "sandbox: 0 requests, 0 children stored in" in shown.err
    assert "-> exit 0" in shown.err


def test_the_signals_are_given_back(run: Run) -> None:
    before = signal.getsignal(signal.SIGINT)
    run()

    assert signal.getsignal(signal.SIGINT) is before


def test_the_env_file_points_at_a_sandbox_that_answers(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sandbox.env"

    def look() -> None:
        url = lines(file.read_text(encoding="utf-8"))["API_ENDPOINT"]
        with urlopen(f"{url}/_sandbox/faults", timeout=5) as answer:
            assert b'"lost_share":0.25' in answer.read()

    assert run("--write-env", str(file), "--lost-answer-share", "0.25", meanwhile=look) == 0
    assert lines(file.read_text(encoding="utf-8")) == lines(capsys.readouterr().out)
    assert run("--write-env", str(file)) == 0


def test_a_foreign_env_file_is_left_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("CLIENT_SECRET=synthetic", encoding="utf-8")

    with pytest.raises(WrongUsage, match="already exists"):
        run("--write-env", str(file))
    assert file.read_text(encoding="utf-8") == "CLIENT_SECRET=synthetic"


def test_a_taken_port_is_wrong_usage(run: Run) -> None:
    with Sandbox() as other, pytest.raises(WrongUsage, match="cannot listen"):
        run("--port", other.url.rpartition(":")[2])


def test_the_directory_and_any_fault_can_be_set(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "sandbox.env"
    given = ["--create-ms", "5", "--wake-ms", "7", "--creates-per-minute", "0", "--calls-per-minute", "9"]
    given += [
        "--fault",
        "directory/create.late_share=0.5",
        "--fault",
        "receiver.retry_after=soon",
        "--error-share",
        "0.1",
    ]
    state: dict[str, Any] = {}

    def look() -> None:
        url = lines(file.read_text(encoding="utf-8"))["API_ENDPOINT"]
        with urlopen(f"{url}/_sandbox/faults", timeout=5) as answer:
            state.update(json.load(answer))

    assert run("--write-env", str(file), *given, meanwhile=look) == 0
    directory = state["directory"]
    assert [directory[name] for name in ("create_ms", "wake_ms", "creates_per_minute", "calls_per_minute")] == [
        5,
        7,
        0,
        9,
    ]
    assert (directory["error_share"], directory["error_status"], state["receiver"]["error_status"]) == (0.1, 500, 503)
    assert (state["directory/create"]["late_share"], state["receiver"]["retry_after"]) == (0.5, "soon")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere.error_next=1", "no such service"),
        ("error_next=1", "no such service"),
        ("receiver.eror_next=1", "did you mean error_next"),
        ("receiver.error_next=many", "is not a value for error_next"),
        ("receiver.error_next", "is not a value for error_next"),
        ("directory/create.lost_share=2", "out of range"),
    ],
)
def test_a_fault_that_is_none_is_wrong_usage(run: Run, text: str, words: str) -> None:
    with pytest.raises(WrongUsage, match=words):
        run("--fault", text)


def test_faults_reach_the_bucket_and_the_mailbox(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, seen = tmp_path / "sandbox.env", []

    def look() -> None:
        url = lines(file.read_text(encoding="utf-8"))["STORAGE_EMULATOR_HOST"]
        with urlopen(f"{url}/_sandbox/faults", timeout=5) as answer:
            seen.append(json.loads(answer.read()))

    assert run("--write-env", str(file), "--bad-hash-share", "0.5", "--error-share", "0.25", meanwhile=look) == 0
    [faults] = seen
    assert (faults["bucket"]["bad_hash_share"], faults["bucket"]["error_share"]) == (0.5, 0.25)
    assert (faults["mailbox"]["error_share"], faults["mailbox"]["error_status"]) == (0.25, 451)


def test_the_mailbox_listens_at_the_port_that_was_chosen(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with Mailbox() as other:
        port = str(other.port)
    assert run("--mail-port", port) == 0
    assert lines(capsys.readouterr().out)["SMTP_PORT"] == port


def test_a_mail_port_that_is_taken_is_told(run: Run) -> None:
    with Mailbox() as other, pytest.raises(WrongUsage, match="cannot listen"):
        run("--mail-port", str(other.port))
