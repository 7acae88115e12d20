"""``schedule``: texts that the three schedulers take, with whole paths, for a job that there is."""

from __future__ import annotations

import codecs
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import date, time
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

import pytest
from xmlschema import XMLSchema

from dataflows.cli import timers
from dataflows.cli.main import main
from dataflows.cli.timers import Timer

Capture = pytest.CaptureFixture[str]
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
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


def text_of(path: str, task: str = "") -> str:
    return element(task or timers.task_scheduler(ON_WINDOWS), path).text or ""


@pytest.fixture(scope="module")
def schema() -> XMLSchema:
    return XMLSchema(Path(__file__).with_name("task.xsd"))


def test_the_task_is_of_microsofts_schema(schema: XMLSchema) -> None:
    schema.validate(timers.task_scheduler(ON_WINDOWS))
    schema.validate(timers.task_scheduler(replace(ON_WINDOWS, account=None)))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mit/task", "mit/tasks"),
        ("PT6H", "6 hours"),
        ("T02:05:00", " 02:05"),
        ("IgnoreNew", "Ignore"),
        ("Password", "Passphrase"),
        ('Context="Author"', 'Context="Writer"'),
        ("<DaysInterval>1<", "<DaysInterval>0<"),
        ("<LogonType>", "<Logon/><LogonType>"),
        ("</StartBoundary>", "</StartBoundary><Enabled>true</Enabled>"),
        (EXE.replace("&", "&amp;"), "C:\\" + "x" * 260),
    ],
)
def test_what_microsofts_schema_refuses(schema: XMLSchema, right: str, wrong: str) -> None:
    task = timers.task_scheduler(ON_WINDOWS)
    assert right in task
    assert not schema.is_valid(task.replace(right, wrong))


@pytest.mark.parametrize(
    "job",
    [
        ["csc-submit", "--limit", "5"],
        ["hospitals-bulk", "--", "{folder}/hospitals.csv", "--skip-invalid"],
        ["cqc-fetch", "--", "--output", "{folder}/Größe & 50 %", "--changes"],
        ["patient-import"],
        ["therapist-import", "--", "{folder}/a.json", "{folder}/b.json"],
    ],
    ids=lambda job: job[0],
)
def test_the_task_of_each_job(schema: XMLSchema, job: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LA_CODE=999\n", encoding="utf-8")
    out = tmp_path / "task.xml"
    name, *rest = [word.replace("{folder}", str(tmp_path)) for word in job]
    options = ["--format", "task-scheduler", "--account", r"LA\svc", "--out", str(out)]
    assert main(["schedule", name, "--daily", "02:00", *options, *(rest if "--" in rest else ["--", *rest])]) == 0
    schema.validate(out)
    task = out.read_text(encoding="utf-16")
    command, arguments = text_of("Actions/Exec/Command", task), text_of("Actions/Exec/Arguments", task)
    assert Path(command).is_absolute()
    assert f"--env-file {subprocess.list2cmdline([str(tmp_path / '.env')])} {name}" in arguments
    assert text_of("Actions/Exec/WorkingDirectory", task) == str(tmp_path)


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


with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def findings(folder: Path, **units: str) -> str:
    """What systemd-analyze says of units that call ``folder/dataflows``."""
    shutil.copy("/bin/true", folder / "dataflows")
    for kind, text in units.items():
        (folder / f"dataflows.{kind}").write_text(f"{text}\n", encoding="utf-8")
    command = ["systemd-analyze", "verify", *(str(folder / f"dataflows.{kind}") for kind in units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{done.stderr}ends with {done.returncode}"


@with_systemd
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path: Path) -> None:
    folder = tmp_path / "50% data flows"
    folder.mkdir()
    command = (str(folder / "dataflows"), *ELSEWHERE.command[1:])
    text = timers.systemd(replace(ELSEWHERE, command=command, folder=PurePosixPath(folder)))
    service, timer = text.split("\n\n# /etc/systemd/system/")
    assert findings(folder, service=service, timer=f"# {timer}") == "ends with 0"


@with_systemd
def test_systemd_finds_nothing_wrong_with_the_unit_of_serve(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    found = re.search(r"^    # /etc/systemd.*?\n(?=\n`)", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    unit = textwrap.dedent(found[0]).replace("/srv/dataflows/venv/bin/dataflows", str(tmp_path / "dataflows"))
    assert str(tmp_path) in unit
    assert findings(tmp_path, service=unit) == "ends with 0"


@with_systemd
def test_systemd_would_tell(tmp_path: Path) -> None:
    assert "Persisted" in findings(tmp_path, timer="[Timer]\nOnCalendar=*-*-* 02:00\nPersisted=true")


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
    assert out.read_bytes().startswith(codecs.BOM_UTF16_LE)
    assert out.read_text(encoding="utf-16").startswith('<?xml version="1.0" encoding="UTF-16"?>\n<Task ')
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
        (["hospitals-bulk", "--daily", "02:00", "--", "hospitals.csv"], "hospitals.csv is no whole path"),
        (["cqc-fetch", "--daily", "02:00", "--", "--output=data"], "data is no whole path"),
        (["therapist-import", "--daily", "02:00", "--", "C:/a.json", "b.json"], "b.json is no whole path"),
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
