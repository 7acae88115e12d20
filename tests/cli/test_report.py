"""The report in the morning: a night of all five flows, by a real mail server and to a real webhook."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from dataflows.cli.main import main
from dataflows.runs.journal import Journal
from dataflows.runs.schedules import InstalledJobs, Recurrence
from dataflows.sandbox.mailbox import Mailbox
from tests.frozen import thaw
from tests.remote.loopback import reply, serving

Capture = pytest.CaptureFixture[str]
READER = "morning@example.org"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


@pytest.fixture
def settings(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    values = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mailbox.port),
        "SMTP_STARTTLS": "false",
        "MAIL_FROM": "dataflows@example.org",
        "REPORT_EMAIL": READER,
        "CONSOLE_URL": "https://dataflows.example.org/runs",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Fifteen runs of all five flows, moved to this night, and a job that was to run an hour ago."""
    folder = tmp_path / "data"
    folder.mkdir()
    thaw(folder, 9)
    with closing(sqlite3.connect(folder / "journal.db")) as db, db:
        (last,) = db.execute("SELECT max(started_at) FROM runs").fetchone()
        shift = datetime.now(UTC) - timedelta(hours=3) - datetime.fromisoformat(last)
        for run_id, *moments in db.execute("SELECT run_id, started_at, ended_at FROM runs").fetchall():
            moved = [(datetime.fromisoformat(one) + shift).isoformat(timespec="milliseconds") for one in moments]
            db.execute("UPDATE runs SET started_at = ?, ended_at = ? WHERE run_id = ?", (*moved, run_id))
    due = datetime.now().astimezone() - timedelta(hours=1)
    with closing(Journal.open(folder)) as journal:
        InstalledJobs(journal).add("LA 998", "csc-submit", Recurrence(due.time().replace(second=0, microsecond=0)))
        with journal.transaction() as db:
            db.execute("UPDATE schedules SET installed_at = ?", ((datetime.now(UTC) - timedelta(days=3)).isoformat(),))
    return folder


def received(mailbox: Mailbox) -> EmailMessage:
    (mail,) = mailbox.messages
    assert mail.recipients == (READER,)
    return mail.message


def body(mail: EmailMessage) -> str:
    return str(mail.get_content())


def test_one_mail_says_what_the_night_was_like(night: Path, settings: dict[str, str], mailbox: Mailbox) -> None:
    assert main(["report"]) == 0
    mail = received(mailbox)
    assert mail["To"] == READER
    assert str(mail["Subject"]).endswith(": 4 of 8 jobs need you")
    lines = body(mail).splitlines()
    assert [line[:30].rstrip() for line in lines if line[:1].isalpha()][:8] == [
        "needs you   cqc-fetch",
        "needs you   csc-submit",
        "needs you   hospitals-bulk",
        "missing     LA 998",
        "as before   patient-import",
        "works again hospitals-bulk",
        "works again therapist-import",
        "well        hospitals-bulk",
    ]
    assert settings["CONSOLE_URL"] in body(mail)


def test_what_it_advises_can_be_called(night: Path, settings: dict[str, str], mailbox: Mailbox) -> None:
    assert main(["report"]) == 0
    lines = body(received(mailbox)).splitlines()
    advised = [line.split()[1:] for line in lines if line.strip().startswith("dataflows runs")]
    assert len(advised) == 3
    assert {main(words) for words in advised} == {0}


def test_it_is_sent_only_when_it_is_wanted(
    tmp_path: Path, settings: dict[str, str], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for when, mails in (("problems", 0), ("never", 0), ("always", 1)):
        monkeypatch.setenv("REPORT_WHEN", when)
        assert main(["report"]) == 0
        assert len(mailbox.messages) == mails
    assert "no job ran" in str(received(mailbox)["Subject"])


def test_problems_are_wanted_by_problems(
    night: Path, settings: dict[str, str], mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORT_WHEN", "problems")
    assert main(["report"]) == 0
    assert len(mailbox.messages) == 1


def test_a_webhook_gets_it_as_json(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(reply(202)) as seen:
        monkeypatch.setenv("REPORT_URL", f"{seen.url}/hook")
        assert main(["report"]) == 0
    posted = json.loads(seen.requests[0].body)
    assert posted["subject"].endswith("4 of 8 jobs need you")
    assert posted["text"].startswith("needs you")
    assert [one["verdict"] for one in posted["items"]][:1] == ["needs you"]


@pytest.mark.parametrize(("status", "code"), [(403, 12), (404, 10), (302, 10)])
def test_a_webhook_that_does_not_take_it_is_an_error(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with serving(reply(status)) as seen:
        monkeypatch.setenv("REPORT_URL", f"{seen.url}/hook?token=synthetic-secret")
        assert main(["report"]) == code
    assert "synthetic-secret" not in capsys.readouterr().err


def test_a_mail_server_that_is_away_keeps_the_report_for_the_next_one(
    night: Path, settings: dict[str, str], mailbox: Mailbox, capsys: Capture
) -> None:
    mailbox.stop()
    assert main(["report"]) == 13
    capsys.readouterr()
    assert len(list((night / "outbox" / "unsent").glob("*.eml"))) == 1


def test_without_a_reader_it_is_a_missing_setting(capsys: Capture) -> None:
    assert main(["report"]) == 10
    assert "REPORT_EMAIL" in capsys.readouterr().err


def test_a_dry_run_shows_it_and_sends_nothing(
    night: Path, settings: dict[str, str], mailbox: Mailbox, capsys: Capture
) -> None:
    assert main(["report", "--dry-run"]) == 0
    assert "4 of 8 jobs need you" in capsys.readouterr().out
    assert mailbox.messages == []


def test_status_is_for_monitors_and_for_people(night: Path, capsys: Capture) -> None:
    assert main(["status"]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("needs you   cqc-fetch")
    assert err.startswith("status: 4 of 8 jobs need you")
    assert main(["status", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert {one["verdict"] for one in document["items"]} == {"needs you", "missing", "as before", "works again", "well"}


def test_status_of_nothing_is_well(capsys: Capture) -> None:
    assert main(["status"]) == 0
    assert "no job ran, and none is installed" in capsys.readouterr().err


@pytest.mark.parametrize("since", ["1m", "yesterday", "99999999d"])
def test_a_time_that_may_be_misread_is_refused(since: str, capsys: Capture) -> None:
    assert main(["status", "--since", since]) == 2
    assert "--since" in capsys.readouterr().err
