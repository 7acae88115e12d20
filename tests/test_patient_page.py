"""The operator's page of patient-import says what is true: options, fields, reasons, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from dataflows.cli.main import app
from dataflows.errors import ExitCode
from dataflows.flows.practice.patients import failures, fields, objects, registration, reporting, tracking

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "patient-import.md").read_text(encoding="utf-8")


def first_column(head: str) -> set[str]:
    """The names in the first column of a table."""
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    return {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(",")}


def test_it_explains_every_field_of_the_report() -> None:
    told = set(reporting.ImportTally().figures()) | {"events"}
    assert first_column("| field | meaning |") - {"---"} == told


def test_it_explains_every_reason() -> None:
    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in (fields, registration)]
    unfit = {code for source in sources for code in re.findall(r'NotARegistration\(\s*"([a-z_]+)"', source)}
    others = {failures.Damaged.code, "service_down", "access_refused", "not_deleted", objects.Vanished.code}
    others |= {tracking.UNRECOGNISED, tracking.DEAD, "no_generation"}
    assert first_column("| code | what it means, and what to do |") - {"---"} == unfit | others


def test_it_says_what_to_do_for_every_exit_code_of_a_run() -> None:
    listed = {int(code) for code in first_column("| code | what to do |") - {"---"}}
    assert listed == {int(code) for code in ExitCode} - {ExitCode.BUG, ExitCode.USAGE}


def test_it_explains_every_option() -> None:
    known = typer.main.get_command(app).commands["patient-import"].params  # type: ignore[attr-defined]
    names = [max(one.opts, key=len) for one in known if one.name != "as_json"]
    assert [name for name in names if name not in PAGE] == []


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert all((DOCS / target).exists() for target in targets)
