"""The operator's page of cqc-fetch says what is true: options, fields, reasons, exit codes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import typer

from dataflows.cli import cqc_fetch
from dataflows.cli.main import app
from dataflows.errors import AccessRefused, ExitCode, ServiceDown
from dataflows.flows.cqc import fetching, folder, history, verify
from dataflows.remote import download

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "cqc-fetch.md").read_text(encoding="utf-8")


def first_column(head: str) -> set[str]:
    """The names in the first column of a table."""
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    return {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(",")}


def test_it_explains_every_field_of_the_report() -> None:
    explained = {name.removeprefix("results.SOURCE.") for name in first_column("| field | meaning |")} - {"---"}
    assert explained == {one.name for one in fields(history.Result)} | {"status", "saved_to", "merged", "pruned"}


def test_it_explains_every_reason() -> None:
    source = Path(str(verify.__file__)).read_text(encoding="utf-8")
    unfit = set(re.findall(r'UnfitFile\(\s*"([a-z]+)"', source))
    classes = (download.BrokenOff, download.NotFollowed, download.Oversized, download.UnknownEncoding)
    others = {one.code for one in (*classes, fetching.Unavailable, folder.NotWritten, AccessRefused, ServiceDown)}
    assert first_column("| code | what it means, and what to do |") - {"---"} == unfit | others


def test_it_says_what_to_do_for_every_exit_code_of_a_run() -> None:
    listed = {int(code) for code in first_column("| code | what to do |") - {"---"}}
    assert listed == {int(code) for code in cqc_fetch._CODES} - {ExitCode.BUG, ExitCode.USAGE}


def test_it_explains_every_option() -> None:
    known = typer.main.get_command(app).commands["cqc-fetch"].params  # type: ignore[attr-defined]
    names = [max(one.opts, key=len) for one in known if one.name != "workers"]
    assert [name for name in names if name not in PAGE] == []


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert all((Path(__file__).resolve().parent.parent / "docs" / target).exists() for target in targets)
