"""``schedule``: texts that the three schedulers take, with whole paths, for a job that there is."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import date, time
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

import pytest

from dataflows.cli import timers
from dataflows.cli.main import main
from dataflows.cli.timers import Timer

Capture = pytest.CaptureFixture[str]
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
# the order that the schema wants (MS-TSCH 2.3: xs:sequence; the other groups are xs:all)
IN_ORDER = {"CalendarTrigger": ["StartBoundary", "Enabled", "ScheduleByDay"]}
EXE = r"C:\Program Files\Pflege & Hilfe\dataflows.exe"
ON_WINDOWS = Timer(
    "csc-submit",
    (EXE, "--env-file", r"C:\Daten 1\.env", "csc-submit", "--child", 'a"b'),
    PureWindowsPath(r"C:\Daten 1"),
    time(2, 5),
    6,
    date(2026, 1, 31),
    r"LA\svc-csc",
)
ELSEWHERE = Timer(
    "cqc-fetch",
    ("/opt/data flows/dataflows", "cqc-fetch", "--output", "/srv/100% $HOME"),
    PurePosixPath("/opt/data flows"),
    time(18, 30),
    2,
    date(2026, 1, 31),
)


def element(text: str, path: str) -> ElementTree.Element:
    found = ElementTree.fromstring(text).find("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))
    assert found is not None, path
    return found


def text_of(path: str) -> str:
    return element(timers.task_scheduler(ON_WINDOWS), path).text or ""


def test_the_task_is_of_microsofts_schema() -> None:
    root = ElementTree.fromstring(timers.task_scheduler(ON_WINDOWS))
    assert (root.tag, root.get("version")) == (f"{NAMESPACE}Task", "1.2")
    assert all(part.tag.startswith(NAMESPACE) for part in root.iter())
    assert [part.tag.removeprefix(NAMESPACE) for part in root] == [
        "RegistrationInfo",
        "Triggers",
        "Principals",
        "Settings",
        "Actions",
    ]
    trigger = element(timers.task_scheduler(ON_WINDOWS), "Triggers/CalendarTrigger")
    assert [part.tag.removeprefix(NAMESPACE) for part in trigger] == IN_ORDER["CalendarTrigger"]
    assert element(timers.task_scheduler(ON_WINDOWS), "Actions").get("Context") == "Author"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Triggers/CalendarTrigger/StartBoundary", "2026-01-31T02:05:00"),
        ("Triggers/CalendarTrigger/ScheduleByDay/DaysInterval", "1"),
        ("Principals/Principal/UserId", r"LA\svc-csc"),
        ("Principals/Principal/LogonType", "Password"),
        ("Settings/MultipleInstancesPolicy", "IgnoreNew"),
        ("Settings/StartWhenAvailable", "true"),
        ("Settings/ExecutionTimeLimit", "PT6H"),
        ("Actions/Exec/Command", EXE),
        ("Actions/Exec/Arguments", r'--env-file "C:\Daten 1\.env" csc-submit --child a\"b'),
        ("Actions/Exec/WorkingDirectory", r"C:\Daten 1"),
    ],
)
def test_what_the_task_says(path: str, text: str) -> None:
    assert text_of(path) == text


def test_the_line_of_cron_is_what_the_shell_has_to_see() -> None:
    line = timers.cron(ELSEWHERE)
    assert line.startswith("30 18 * * * timeout ")
    assert re.findall(r"(?<!\\)%", line) == []
    assert shlex.split(line.replace("\\%", "%"))[-4:] == list(ELSEWHERE.command)


def test_the_units_of_systemd() -> None:
    lines = timers.systemd(ELSEWHERE).splitlines()
    assert 'ExecStart="/opt/data flows/dataflows" cqc-fetch --output "/srv/100%% $$HOME"' in lines
    assert {"OnCalendar=*-*-* 18:30:00", "Persistent=true", "TimeoutStartSec=2h", "Type=oneshot"} <= set(lines)


def test_whole_paths_and_the_env_file_that_was_found(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("LA_CODE=999\n", encoding="utf-8")
    assert main(["schedule", "csc-submit", "--daily", "2:00", "--format", "cron", "--", "--limit", "5"]) == 0
    out, err = capsys.readouterr()
    *_, env_file, job, option, value = shlex.split(out)
    assert (Path(env_file), job, option, value) == (tmp_path / ".env", "csc-submit", "--limit", "5")
    assert "warning" not in err
    assert Path(shlex.split(out)[9]).is_absolute()


def test_a_file_for_schtasks_is_utf_16(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "täglich.xml"
    assert main(["schedule", "cqc-fetch", "--daily", "02:00", "--format", "task-scheduler", "--out", str(out)]) == 0
    assert out.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert ElementTree.parse(out).getroot().tag == f"{NAMESPACE}Task"
    shown, err = capsys.readouterr()
    assert shown == ""
    assert f'/XML "{out}"' in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--daily", "02:00"], "no such job"),
        (["csc-submti", "--daily", "02:00"], "no such job"),
        (["csc-submit", "--daily", "24:00"], "no time of day"),
        (["csc-submit", "--daily", "02:00", "--", "--limmit", "5"], "--limmit"),
    ],
)
def test_what_would_fail_every_night_is_refused(arguments: list[str], told: str, capsys: Capture) -> None:
    assert main(["schedule", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_the_default_is_the_scheduler_of_this_machine(capsys: Capture) -> None:
    assert main(["schedule", "csc-submit", "--daily", "02:00"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "<Task" if sys.platform == "win32" else "# /etc/systemd/system/dataflows-csc-submit.service"
    )
