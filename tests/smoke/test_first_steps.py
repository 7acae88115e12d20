"""From nothing to a first dry run, by what the program itself says is next."""

from __future__ import annotations

import shlex
import sys

import pytest

from tests.smoke.program import Installed
from tests.smoke.test_programs import stage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shlex reads as POSIX shells do")


def said(text: str, beginning: str) -> list[str]:
    """The words of the command that ends a line, without the program."""
    [line] = [line for line in text.splitlines() if line.strip().startswith(beginning)]
    words = shlex.split(line[line.index("--env-file") :])
    assert words[0] == "--env-file"
    return words


@pytest.mark.usefixtures("forked")
def test_from_nothing_to_a_dry_run(here: Installed, addresses: dict[str, str]) -> None:
    here.env_file.unlink()
    first = here.run("init", "--yes", "--flow", "csc-submit", program=None, **{**addresses, "DATA_DIR": "data"})
    assert first.code == 10
    assert "csc-submit still needs DB_CONNECTION_STRING" in first.err
    assert here.run(*said(first.err, "hint: to try things out")).code == 0
    stage(here.folder / "data" / "staging.db", 3)
    second = here.run("init", "--yes", "--flow", "csc-submit", "--force")
    assert (second.code, second.out) == (0, "")
    assert "checks passed, 0 failed" in second.err
    *_, following, _ = second.err.splitlines()
    code, document = here.ask(*said(following, following.strip()))
    assert (code, document["rows"]) == (0, 3)
    code, config = here.ask("config", "--env-file", str(here.env_file))
    assert (code, config["missing"]["csc-submit"]) == (0, [])
    shown = here.run("config")
    assert addresses["CLIENT_SECRET"] not in shown.out + shown.err
