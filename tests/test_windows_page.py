"""docs/windows.md says what is true: every exit code as Task Scheduler shows it, and commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer

from dataflows.cli.main import app
from dataflows.errors import ExitCode

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "windows.md").read_text(encoding="utf-8")


def test_every_exit_code_is_there_in_hexadecimal() -> None:
    shown = {
        int(number): hexadecimal for hexadecimal, number in re.findall(r"^\| (0x\w+) \| (\d+) \|", PAGE, re.MULTILINE)
    }
    assert shown == {int(code): f"0x{int(code):X}" for code in ExitCode}


def test_the_links_lead_somewhere() -> None:
    folder = Path(__file__).resolve().parent.parent / "docs"
    assert [target for target in re.findall(r"\]\(([^)#]+)\)", PAGE) if not (folder / target).exists()] == []


def test_the_call_of_schedule_is_right() -> None:
    [line] = [line.strip() for line in PAGE.splitlines() if " schedule csc-submit " in line]
    words = shlex.split(line.replace("\\", "/"))
    command = typer.main.get_command(app).commands["schedule"]  # type: ignore[attr-defined]
    given = command.make_context("schedule", words[words.index("schedule") + 1 :], resilient_parsing=False).params
    assert (given["job"], given["daily"], given["account"]) == ("csc-submit", "02:00", "LA/svc-csc")
