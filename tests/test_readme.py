"""README and the operator's page say what is true: commands, links, figures, exit codes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer

from dataflows.cli.main import app
from dataflows.demo.csc import ALSO, SECOND_NIGHT
from dataflows.errors import ExitCode
from dataflows.flows.csc import job

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "csc-submit.md").read_text(encoding="utf-8")
COMMANDS = ["python3 tools/dev.py demo", "python3 tools/dev.py test"]


def test_readme_has_the_two_commands() -> None:
    assert [line.strip() for line in README.splitlines() if line.startswith("    python3 ")] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_checks_run_what_readme_says(command: str) -> None:
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_readme_lists_every_command_and_no_other() -> None:
    table = README.partition("| command | does |")[2].partition("\n\n")[0]
    group = typer.main.get_command(app)
    assert re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE) == group.list_commands(None)  # type: ignore[attr-defined]


def test_readme_installs_nothing_from_an_index() -> None:
    """The name there is somebody else's; what is installed is the file of the release."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    wheel = f"./{named.replace('-', '_')}-VERSION-py3-none-any.whl"
    assert re.findall(r"pip install (?!-c)(\S+?)`", README) == [wheel]


def test_readme_fits_on_a_screen_or_two() -> None:
    assert len(README.splitlines()) < 110
    assert README.index("docs/assets/morning.svg") < README.index("```mermaid") < README.index("## Install")


@pytest.mark.parametrize("page", ["README.md", "docs/csc-submit.md", "docs/index.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_page_explains_every_figure() -> None:
    table = PAGE.partition("| figure | meaning |")[2].partition("\n\n")[0]
    explained = {
        name.strip() for row in re.findall(r"^\| ([a-z, ]+) \|", table, re.MULTILINE) for name in row.split(",")
    }
    shown = {*ALSO, *(one.figure for one in SECOND_NIGHT)}
    figures = {*job._COUNTS, *(name for name in shown if " " not in name), "in_doubt"}
    assert explained == {figure.replace("_", " ") for figure in figures}


def test_the_page_says_what_to_do_for_every_exit_code() -> None:
    table = PAGE.partition("| code | what to do |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [int(code) for code in ExitCode]


def test_the_page_explains_every_option() -> None:
    known = typer.main.get_command(app).commands["csc-submit"].params  # type: ignore[attr-defined]
    names = [max((*one.opts, *one.secondary_opts), key=len) for one in known if one.name not in ("workers", "out")]
    assert [name for name in names if name not in PAGE] == []
