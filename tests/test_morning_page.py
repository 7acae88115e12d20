"""docs/morning.md and docs/runs.md say what is true: verdicts, options, settings, states, and calls that are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from dataflows.cli.main import app
from dataflows.cli.runs import State
from dataflows.runs.nights import Verdict
from dataflows.settings import table

DOCS = Path(__file__).resolve().parent.parent / "docs"
MORNING, RUNS = ((DOCS / name).read_text(encoding="utf-8") for name in ("morning.md", "runs.md"))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def rows(page: str, head: str) -> list[list[str]]:
    lines = page.partition(head)[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_verdict_is_explained_and_who_it_needs() -> None:
    told = {name: needs == "yes" for name, _, needs in rows(MORNING, "| it says | means | needs you |")}
    assert told == {one.value: one.needs_a_person for one in Verdict}


def test_its_settings_exist() -> None:
    known = {spec.name for spec in table()}
    told = {row[0].strip("`") for row in rows(MORNING, "| setting | says |")}
    assert told == {"REPORT_EMAIL", "REPORT_WHEN", "REPORT_URL", "CONSOLE_URL"}
    assert told <= known
    [when] = [spec for spec in table() if spec.name == "REPORT_WHEN"]
    assert [choice for choice in when.choices if f"`{choice}`" not in MORNING] == []
    assert f"`{when.default}` (default)" in MORNING


def test_every_state_is_explained() -> None:
    assert [row[0] for row in rows(RUNS, "| state | means |")] == list(get_args(State))


def calls(page: str) -> Iterator[list[str]]:
    """Every command line of a page, in its text and in its examples, without the options of the program."""
    for line in re.findall(r"(?:^ +|`)dataflows(?:\.exe)? ([^`\n]+)", page, re.MULTILINE):
        words = re.sub(r"--(quiet|env-file \S+) ?", "", line).split()
        if words and not words[0].startswith("-"):
            yield [word.strip('"') for word in words]


@pytest.mark.parametrize("page", [MORNING, RUNS], ids=["morning", "runs"])
def test_every_call_is_one_that_the_program_takes(page: str) -> None:
    found = list(calls(page))
    assert len(found) > 5
    for name, *rest in found:
        if name == "runs":
            verb, *options = rest
            COMMANDS[name].commands[verb].make_context(verb, options)
        else:
            COMMANDS[name].make_context(name, rest)


def test_every_option_of_runs_is_explained() -> None:
    group = COMMANDS["runs"].commands
    names = [max(one.opts, key=len) for name in ("list", "show", "prune") for one in group[name].params]
    assert [name for name in names if name.startswith("--") and name != "--json" and name not in RUNS] == []
