"""The operator's page of therapist-import says what is true: options, fields, names of reasons, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from dataflows.cli.main import app
from dataflows.errors import ExitCode
from dataflows.flows.practice.therapists import applying, changes, importing, record, reporting

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "therapist-import.md").read_text(encoding="utf-8")


def first_column(head: str) -> set[str]:
    """The names in the first column of a table."""
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    return {name.strip() for row in rows for name in row.split(",")} - {"---"}


def test_it_explains_every_field_of_the_report() -> None:
    fields = {"files", "therapists", "mismatches", "warnings", "remarks", "fields", "items", "events"}
    assert first_column("| field | meaning |") == fields
    assert [name for name in (*reporting._FILES, *reporting._THERAPISTS) if name not in PAGE] == []


def test_it_explains_every_reason() -> None:
    source = Path(str(record.__file__)).read_text(encoding="utf-8")
    wrong = set(re.findall(r'_Wrong\("([a-z_]+)"', source))
    refused = set(
        re.findall(r'refuse\(entry.at, "([a-z_]+)"', Path(str(applying.__file__)).read_text(encoding="utf-8"))
    )
    of_files = set(importing.MEANINGS) - {"changed", "partial"}  # of which one leads to not_ready, the other to entries
    assert first_column("| code | what it means |") == of_files | wrong | (refused - {"ambiguous"})
    assert [name for name in (*changes.CODES, "ambiguous") if f"`{name}`" not in PAGE] == []


def test_it_says_what_to_do_for_every_exit_code_of_a_run() -> None:
    listed = {int(code) for code in first_column("| code | what to do |")}
    assert listed == {int(code) for code in ExitCode} - {ExitCode.BUG, ExitCode.USAGE, ExitCode.BAD_INPUT}


def test_it_explains_every_option() -> None:
    known = typer.main.get_command(app).commands["therapist-import"].params  # type: ignore[attr-defined]
    names = [max(one.opts, key=len) for one in known if one.opts[0].startswith("--") and one.name != "as_json"]
    assert [name for name in names if name not in PAGE] == []


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert all((DOCS / target).exists() for target in targets)
