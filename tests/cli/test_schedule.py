"""``schedule``: texts that the three schedulers take, with whole paths, for a job that there is."""

from __future__ import annotations

import codecs
import os
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

from dataflows.cli import installing, timers
from dataflows.cli.main import main
from dataflows.cli.timers import Timer
from dataflows.runs.schedules import Recurrence

Capture = pytest.CaptureFixture[str]
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
EXE = r"C:\Program Files\Pflege & Hilfe\dataflows.exe"
ON_WINDOWS = Timer(
    "csc-submit",
    (EXE,),
    ("--env-file", r"C:\Daten 1\.env", "csc-submit", "--child", 'a"b'),
    PureWindowsPath(r"C:\Daten 1"),
    Recurrence(time(2, 5)),
    6,
    date(2026, 1, 31),
    r"LA\svc-csc",
)
ELSEWHERE = Timer(
    "cqc-fetch",
    ("/opt/data flows/dataflows",),
    ("cqc-fetch", "--output", "/srv/100% $HOME"),
    PurePosixPath("/opt/data flows"),
    Recurrence(time(18, 30)),
    2,
    date(2026, 1, 31),
)


RECURRENCES = [timers.weekly("fri 09:00"), *map(timers.every, timers.EVERY)]


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
    paths = [subprocess.list2cmdline([str(tmp_path / name)]) for name in (".env", "data")]
    assert (
        "--env-file {} --data-dir {} ".format(*paths) + name in arguments
    )  # the tests' DATA_DIR is in the environment
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
    program = (str(folder / "dataflows"),)
    told = {"PROXY_NOTE": 'a "quoted" 100% $HOME'}
    for recurrence in (ELSEWHERE.recurrence, *RECURRENCES):
        at_work = replace(ELSEWHERE, program=program, folder=PurePosixPath(folder), environment=told)
        text = timers.systemd(replace(at_work, recurrence=recurrence))
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
    *_, env_file, _, data_dir, job, option, value = shlex.split(out)
    assert (Path(env_file), job, option, value) == (tmp_path / ".env", "csc-submit", "--limit", "5")
    assert Path(data_dir) == tmp_path / "data"
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
        (["demo", "--daily", "02:00"], "this job cannot be scheduled"),
        (["csc-submti", "--daily", "02:00"], "this job cannot be scheduled"),
        (["csc-submit", "--daily", "24:00"], "--daily must be a time of day"),
        (["csc-submit", "--weekly", "09:00"], "--weekly must be a day and a time"),
        (["csc-submit", "--weekly", "t 09:00"], "--weekly must be a day and a time"),
        (["csc-submit", "--every", "7h"], "--every must be one of 5min"),
        (["csc-submit"], "needs one of --daily, --weekly and --every"),
        (["csc-submit", "--daily", "02:00", "--every", "1h"], "needs one of --daily"),
        ([], "schedule needs a job"),
        (["csc-submit", "--daily", "02:00", "--account", "root\nExecStartPre=/bin/sh"], "not the name of an account"),
        (["csc-submit", "--daily", "02:00", "--name", "a\nb"], "--name may contain"),
        (["cqc-fetch", "--daily", "02:00", "--", "--output", "/srv/a\nb"], "a line break"),
        (["csc-submit", "--daily", "02:00", "--", "--limmit", "5"], "--limmit"),
        (["hospitals-bulk", "--daily", "02:00", "--", "hospitals.csv"], "hospitals.csv is not a full path"),
        (["cqc-fetch", "--daily", "02:00", "--", "--output=data"], "data is not a full path"),
        (["therapist-import", "--daily", "02:00", "--", "C:/a.json", "b.json"], "b.json is not a full path"),
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


@pytest.mark.parametrize("recurrence", RECURRENCES, ids=str)
def test_every_recurrence_is_of_microsofts_schema(schema: XMLSchema, recurrence: Recurrence) -> None:
    schema.validate(timers.task_scheduler(replace(ON_WINDOWS, recurrence=recurrence)))


@pytest.mark.parametrize(
    ("recurrence", "trigger", "calendar", "crontab"),
    [
        (timers.daily("02:05"), "<DaysInterval>1</DaysInterval>", "*-*-* 02:05:00", "5 2 * * *"),
        (timers.weekly("Friday 9:00"), "<Friday />", "Fri *-*-* 09:00:00", "0 9 * * 5"),
        (timers.weekly("sun 23:59"), "<Sunday />", "Sun *-*-* 23:59:00", "59 23 * * 0"),
        (timers.every("1h"), "<Interval>PT1H</Interval>", "*-*-* 00/1:00:00", "0 */1 * * *"),
        (timers.every("15MIN"), "<Interval>PT15M</Interval>", "*-*-* *:00/15:00", "*/15 * * * *"),
    ],
    ids=str,
)
def test_when_it_starts(recurrence: Recurrence, trigger: str, calendar: str, crontab: str) -> None:
    timer = replace(ON_WINDOWS, recurrence=recurrence)
    assert trigger in timers.task_scheduler(timer)
    assert f"OnCalendar={calendar}\n" in timers.systemd(timer)
    assert timers.cron(timer).startswith(f"{crontab} timeout ")


@pytest.mark.parametrize(
    ("account", "logon", "command"),
    [
        (r"LA\svc csc", True, r'/RU "LA\svc csc" /RP *'),
        (r"NT AUTHORITY\SYSTEM", False, r'/RU "NT AUTHORITY\SYSTEM"'),
        ("LOCAL SERVICE", False, '/RU "LOCAL SERVICE"'),
        (r"LA\gmsa-csc$", True, "/RU SYSTEM"),
    ],
)
def test_accounts_are_quoted_and_only_those_with_a_password_are_asked_for_it(
    schema: XMLSchema, account: str, logon: bool, command: str
) -> None:
    timer = replace(ON_WINDOWS, account=account)
    text = timers.task_scheduler(timer)
    schema.validate(text)
    assert ("<LogonType>" in text) is logon
    first, *more = installing.task_commands(timer, "csc.xml")
    assert first.endswith(command)
    assert ["gmsa" in line for line in more] == ([True] if account.endswith("$") else [])


class TestWhatStandsOnlyInTheEnvironment:
    """Nothing that a scheduled run needs is dropped without a word, and no secret is written anywhere."""

    @pytest.fixture(autouse=True)
    def env_file(self, tmp_path: Path) -> Path:
        file = tmp_path / "with blank" / ".env"
        file.parent.mkdir()
        file.write_text("TABLE_NAME=dbo.staging\nSUPPLIER_KEY=known\n", encoding="utf-8")
        return file

    def scheduled(self, env_file: Path, *options: str) -> int:
        return main(["--env-file", str(env_file), "schedule", "csc-submit", "--daily", "02:00", *options])

    @pytest.mark.parametrize("form", ["task-scheduler", "systemd", "cron"])
    def test_it_is_written_along(
        self, env_file: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "other"))
        monkeypatch.setenv("LA_CODE", "998")
        monkeypatch.setenv("TABLE_NAME", "dbo.staging")  # as the file says
        monkeypatch.setenv("SUPPLIER_KEY", "known")
        monkeypatch.setenv("GCS_BUCKET", "of-another-flow")
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")
        monkeypatch.setenv("DATAFLOWS_CSC_SUBMIT_LIMIT", "5")
        assert self.scheduled(env_file, "--format", form) == 0
        shown = capsys.readouterr().out
        assert str(tmp_path / "other") in shown
        for setting in ("LA_CODE=998", "HTTPS_PROXY=http://proxy.example:8080", "DATAFLOWS_CSC_SUBMIT_LIMIT=5"):
            assert setting in shown
        assert "TABLE_NAME" not in shown
        assert "known" not in shown
        assert "GCS_BUCKET" not in shown

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("CLIENT_SECRET", "verysecret"),
            ("SUPPLIER_KEY", "verysecret"),
            ("HEALTHCHECK_URL_CSC_SUBMIT", "https://ping.example/verysecret"),
            ("HTTPS_PROXY", "http://me:verysecret@proxy.example:8080"),
        ],
    )
    def test_no_secret_is(
        self, env_file: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.setenv(name, value)
        assert self.scheduled(env_file) == 10
        out, err = capsys.readouterr()
        assert out == ""
        assert name in err
        assert "verysecret" not in err
        assert "--env-file" in err

    def test_no_value_ends_a_line(self, env_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        monkeypatch.setenv("CLIENT_ID", "a\nExecStartPre=/bin/sh")
        assert self.scheduled(env_file, "--format", "systemd") == 10
        assert "CLIENT_ID contains a line break" in capsys.readouterr().err

    def test_the_task_starts_with_it(self, env_file: Path, tmp_path: Path) -> None:
        """What the task of Windows is given by ``--set`` is in force in the run that it starts."""
        words = ["--env-file", str(env_file), "--set", "LA_CODE=12", "csc-submit", "--dry-run"]
        command = [sys.executable, "-m", "dataflows", *words]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
        assert done.returncode == 10
        assert "LA_CODE (from the environment) must be 3 digits" in done.stderr

    def test_a_setting_for_one_call_ends_with_it(self, env_file: Path, capsys: Capture) -> None:
        assert main(["--set", "LA_CODE=12", "--env-file", str(env_file), "runs", "list"]) == 10
        assert "LA_CODE" not in os.environ
        assert main(["--set", "LA_CODE", "runs", "list"]) == 2
        assert "--set needs NAME=VALUE" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="rights are lists there")
    def test_the_file_is_its_owners_alone(self, env_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "csc.xml"
        assert self.scheduled(env_file, "--format", "task-scheduler", "--account", "x", "--out", str(out)) == 0
        assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="the programs of the schedulers are played by shell scripts")
class TestInstalled:
    """What --install, --list and --remove ask the scheduler for; its programs are played by scripts on the PATH."""

    @pytest.fixture(autouse=True)
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        table = tmp_path / "crontab.txt"
        noted = f'printf "%s\\n" "$*" >> "{tmp_path}/calls"'
        scripts = {
            "crontab": f"""if [ "$1" = -l ]
                then cat "{table}" 2>/dev/null || {{ echo "no crontab for x" >&2; exit 1; }}
                else cat > "{table}"
                fi""",
            "systemctl": noted,
            "schtasks": f'{noted}\ncase "$1" in /Query) cat "{tmp_path}/tasks";; esac',
        }
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(installing, "UNITS", tmp_path / "units")
        (tmp_path / "units").mkdir()
        return tmp_path

    def calls(self, programs: Path) -> list[str]:
        return (programs / "calls").read_text(encoding="utf-8").splitlines()

    def test_a_crontab_keeps_what_others_wrote(self, programs: Path, capsys: Capture) -> None:
        table = programs / "crontab.txt"
        table.write_text("MAILTO=ops@example.org\n0 1 * * * /bin/true\n", encoding="utf-8")
        cron = ["schedule", "--format", "cron"]
        assert main([*cron, "cqc-fetch", "--weekly", "fri 09:00", "--install"]) == 0
        assert main([*cron, "cqc-fetch", "--weekly", "mon 09:00", "--install"]) == 0
        assert main([*cron, "patient-import", "--every", "1h", "--name", "patients of the north", "--install"]) == 0
        capsys.readouterr()
        lines = table.read_text(encoding="utf-8").splitlines()
        assert lines[:3] == ["MAILTO=ops@example.org", "0 1 * * * /bin/true", "# dataflows: cqc-fetch"]
        assert [line.split(" ")[4] for line in lines if "timeout" in line] == ["1", "*"]
        assert main([*cron, "--list"]) == 0
        assert capsys.readouterr().out.splitlines() == ["cqc-fetch", "patients of the north"]
        assert main([*cron, "--remove", "cqc-fetch"]) == 0
        assert main([*cron, "--remove", "patients of the north"]) == 0
        assert table.read_text(encoding="utf-8") == "MAILTO=ops@example.org\n0 1 * * * /bin/true\n"
        assert main([*cron, "--remove", "cqc-fetch"]) == 2
        assert "nothing is installed" in capsys.readouterr().err

    def test_systemd_gets_both_units(self, programs: Path, capsys: Capture) -> None:
        assert main(["schedule", "csc-submit", "--daily", "02:00", "--format", "systemd", "--install"]) == 0
        units = programs / "units"
        assert sorted(path.name for path in units.iterdir()) == [
            "dataflows-csc-submit.service",
            "dataflows-csc-submit.timer",
        ]
        assert "OnCalendar=*-*-* 02:00:00" in (units / "dataflows-csc-submit.timer").read_text(encoding="utf-8")
        capsys.readouterr()
        assert main(["schedule", "--format", "systemd", "--list"]) == 0
        assert capsys.readouterr().out == "csc-submit\n"
        assert main(["schedule", "--format", "systemd", "--remove", "csc-submit"]) == 0
        assert list(units.iterdir()) == []
        assert self.calls(programs) == [
            "daemon-reload",
            "enable --now dataflows-csc-submit.timer",
            "disable --now dataflows-csc-submit.timer",
            "daemon-reload",
        ]

    @pytest.mark.parametrize(
        ("account", "owner"),
        [
            (r"LA\svc", r"/RU LA\svc /RP *"),
            (r"NT AUTHORITY\SYSTEM", r"/RU NT AUTHORITY\SYSTEM"),
            (r"LA\g$", "/RU SYSTEM"),
        ],
    )
    def test_task_scheduler_gets_the_file(
        self, programs: Path, account: str, owner: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        windows = ["schedule", "--format", "task-scheduler"]
        assert main([*windows, "csc-submit", "--daily", "02:00", "--account", account, "--install"]) == 0
        (call,) = self.calls(programs)
        assert call.startswith("/Create /F /TN dataflows\\csc-submit /XML ")
        assert call.endswith(f"task.xml {owner}")
        (programs / "tasks").write_text(
            '"\\dataflows\\csc-submit","01/12/2026 02:00:00","Ready"\n"\\Other","N/A","Ready"\n', encoding="utf-8"
        )
        capfd.readouterr()
        assert main([*windows, "--list"]) == 0
        assert capfd.readouterr().out == "csc-submit\n"
        assert main([*windows, "--remove", "csc-submit"]) == 0
        assert self.calls(programs)[-1] == "/Delete /F /TN dataflows\\csc-submit"

    def test_a_scheduler_that_refuses_is_12(self, programs: Path, capsys: Capture) -> None:
        (programs / "bin" / "systemctl").write_text("#!/bin/sh\nexit 4\n", encoding="utf-8")
        assert main(["schedule", "csc-submit", "--daily", "02:00", "--format", "systemd", "--install"]) == 12
        assert "the scheduler refused: systemctl ended with 4" in capsys.readouterr().err
        (programs / "units" / "dataflows-csc-submit.timer").unlink()

    def test_a_machine_without_it_is_10(self, programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        monkeypatch.setenv("PATH", str(programs))
        assert main(["schedule", "--format", "cron", "--list"]) == 10
        assert "crontab is missing" in capsys.readouterr().err

    def test_task_scheduler_wants_an_account(self, capsys: Capture) -> None:
        windows = ["schedule", "--format", "task-scheduler"]
        assert main([*windows, "csc-submit", "--daily", "02:00", "--install"]) == 2
        assert "needs the account" in capsys.readouterr().err
