"""What starts a job every day: the texts that Task Scheduler, systemd and cron want. A helper of ``schedule``."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import PurePath
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Timer:
    """One job, every day. All paths are whole, because a service account starts in a folder of its own."""

    job: str
    command: tuple[str, ...]
    folder: PurePath
    at: time
    stop_after: int
    """Hours until a run is ended that does not come to its end."""
    first: date
    account: str | None = None


def task_scheduler(timer: Timer) -> str:
    """A task for ``schtasks /Create /XML`` (schema 1.2, Windows 7 and later), without an XML declaration.

    It runs whether somebody is logged on or not, never twice at a time, and is made up for when the machine was off.
    """
    user = f"<UserId>{escape(timer.account)}</UserId>\n      " if timer.account else ""
    return f"""\
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>dataflows {escape(timer.job)}, every day</Description>
  </RegistrationInfo>
  <Triggers>
    <CalendarTrigger>
      <StartBoundary>{timer.first.isoformat()}T{timer.at.isoformat()}</StartBoundary>
      <ScheduleByDay>
        <DaysInterval>1</DaysInterval>
      </ScheduleByDay>
    </CalendarTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      {user}<LogonType>Password</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <Enabled>true</Enabled>
    <ExecutionTimeLimit>PT{timer.stop_after}H</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(timer.command[0])}</Command>
      <Arguments>{escape(subprocess.list2cmdline(timer.command[1:]))}</Arguments>
      <WorkingDirectory>{escape(str(timer.folder))}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>"""


def systemd(timer: Timer) -> str:
    """A service and its timer. systemd starts no second one while the first one runs."""
    user = f"User={timer.account}\n" if timer.account else ""
    return f"""\
# /etc/systemd/system/dataflows-{timer.job}.service
[Unit]
Description=dataflows {timer.job}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{user}WorkingDirectory={str(timer.folder).replace("%", "%%")}
ExecStart={" ".join(_systemd_word(word) for word in timer.command)}
TimeoutStartSec={timer.stop_after}h
TimeoutStopSec=60

# /etc/systemd/system/dataflows-{timer.job}.timer
[Unit]
Description=dataflows {timer.job}, every day

[Timer]
OnCalendar=*-*-* {timer.at.isoformat()}
Persistent=true

[Install]
WantedBy=timers.target"""


def cron(timer: Timer) -> str:
    """A line for crontab; a percent sign would end the command there."""
    line = shlex.join(["timeout", "--signal=TERM", "--kill-after=60", f"{timer.stop_after}h", *timer.command])
    return f"{timer.at.minute} {timer.at.hour} * * * {line.replace('%', chr(92) + '%')}"


def _systemd_word(word: str) -> str:
    """A word of ExecStart: in double quotes where it has to be, percent and dollar signs doubled (systemd.service)."""
    doubled = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return doubled if _is_plain(word) else f'"{doubled}"'


def _is_plain(word: Sequence[str]) -> bool:
    return bool(word) and not any(character in " \t\"';" for character in word)
