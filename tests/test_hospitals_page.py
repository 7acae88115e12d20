"""The operator's page of hospitals-bulk says what is true: options, fields, statuses, exit codes, settings."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import typer

from dataflows.cli.main import app
from dataflows.errors import ExitCode
from dataflows.flows.hospitals.batch_rows import BatchPolicy, SettleTime
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.report import response, status_of
from dataflows.flows.hospitals.rows import FileContent, Hospital, HospitalRow, State
from dataflows.settings.table import table

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "hospitals-bulk.md").read_text(encoding="utf-8")


def first_column(head: str) -> set[str]:
    """The names in the first column of a table."""
    rows = PAGE.partition(head)[2].partition("\n\n")[0]
    return {name.strip() for row in re.findall(r"^\| ([^|]+) \|", rows, re.MULTILINE) for name in row.split(",")}


def test_it_explains_every_field_of_the_report() -> None:
    content = FileContent(
        "http://example.org", 20, [HospitalRow(1, Hospital("Synthetic", "1 Example Road", None))], [], 0
    )
    report = response(UploadPlan(content, BatchPolicy(SettleTime(1.0), 1.0)), "b", 0.0)
    assert first_column("| field | meaning |") - {"---"} == report.keys()


def test_it_names_every_status_of_a_row() -> None:
    statuses = {status_of(state, active=active) for state in State for active in (True, False)}
    told = PAGE.partition("A row is ")[2].partition(".")[0]
    assert set(re.findall(r"`(\w+)`", told)) == statuses


def test_it_says_what_to_do_for_every_exit_code_of_a_run() -> None:
    listed = {int(code) for code in first_column("| code | what to do |") - {"---"}}
    assert listed == set(map(int, ExitCode)) - {ExitCode.BUG, ExitCode.USAGE}


def test_it_explains_every_option() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    names = [max(one.opts, key=len) for one in commands["hospitals-bulk"].params if one.param_type_name == "option"]
    assert [name for name in names if name not in PAGE] == []


def test_its_settings_exist() -> None:
    known = {spec.name for spec in table()}
    assert set(re.findall(r"`((?:HOSPITALS|MAX)_[A-Z_]+)`", PAGE)) <= known


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert all((DOCS / target).exists() for target in targets)


def test_the_way_of_a_row_through_the_code_names_what_is_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)\.([\w.]+)`", text.partition("### One row of a CSV")[2].partition("\n## ")[0])
    assert len(named) > 20
    for module, path in named:
        first, *rest = path.split(".")
        value = getattr(import_module(f"dataflows.flows.hospitals.{module}"), first)
        assert all(hasattr(value, name) or f"self.{name}: " in inspect.getsource(value) for name in rest), path
