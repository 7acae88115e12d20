"""The site has every page, and says everything that an operator can meet: commands, options, settings, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dataflows.cli.main import app
from dataflows.errors import ExitCode
from dataflows.settings import families, table

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAV = re.findall(r"^ +- .+: (\S+\.md)$", CONFIG.partition("\nnav:")[2], re.MULTILINE)
PAGES = sorted(DOCS.glob("*.md"))


def commands(command: Any = None, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or typer.main.get_command(app)
    yield way, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*way, name))


def section(page: str, heading: str) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_page_has_its_place_in_the_navigation() -> None:
    assert sorted(page.name for page in PAGES) == sorted(set(NAV) - {"CHANGELOG.md"} - missing())


def missing() -> set[str]:
    """Pages whose place is kept for them (tools/site_hooks.py)."""
    hooks = (ROOT / "tools" / "site_hooks.py").read_text(encoding="utf-8")
    later = re.findall(r'"(\w+\.md)"', hooks.partition("_LATER = (")[2].partition(")")[0])
    return {name for name in later if not (DOCS / name).exists()}


def test_every_decision_is_a_page_with_a_title() -> None:
    first = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in (DOCS / "decisions").glob("*.md")}
    assert [name for name, line in first.items() if not line.startswith("# ")] == []


@pytest.mark.parametrize("page", [*PAGES, *sorted((DOCS / "decisions").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("way", "command"), [pytest.param(*one, id=" ".join(("dataflows", *one[0]))) for one in commands()]
)
def test_every_option_of_every_command_is_listed(way: tuple[str, ...], command: Any) -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    told = section(page, " ".join(way) or "dataflows")
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    names = [name for one in shown for name in (*one.opts, *one.secondary_opts) if name.startswith("--")]
    assert [name for name in names if name not in told and name != "--help"] == []


def test_every_setting_is_listed() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    names = [*(spec.name for spec in table()), *(f"{family.prefix}<NAME>" for _, family in families())]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_exit_code_is_listed() -> None:
    codes = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert [code for code in ExitCode if f"| {int(code)} | {code.meaning} |" not in codes] == []


def test_nothing_of_the_site_comes_from_elsewhere() -> None:
    """No font, script or style from another host: authorities read it behind proxies that allow none."""
    assert "font: false" in CONFIG
    assert re.findall(r"https?://|analytics|cdn", CONFIG) == []
    assert re.findall(r"url\(|@import", (DOCS / "assets" / "site.css").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", ["seeds.md", "architecture.md"])
def test_the_modules_that_it_names_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:flows|remote|runs|store)/[\w/]+\.py)`", text)
    assert [name for name in named if not (ROOT / "src" / "dataflows" / name).exists()] == []
    folders = re.findall(r"`(flows/\w+)/\{([^}]+)\}\.py`", text)
    missed = [f"{folder}/{name}" for folder, names in folders for name in names.split(", ")]
    assert [name for name in missed if not (ROOT / "src" / "dataflows" / f"{name}.py").exists()] == []
