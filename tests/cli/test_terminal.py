"""On a terminal: a live bar, gone at the end; colours only where they are wanted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

RUN = """
import sys
from dataflows.cli.output import Output
from dataflows.errors import SettingUnusable
from dataflows.events import Done, Planned
output = Output(color=sys.argv[1] == "color")
output.command = "csc-submit"
for event in (Planned(2, "rows"), Done("1")):
    output.listener(event)
output.warn("the receiver is slow")
output.failed(SettingUnusable("LA_CODE is not set"))
"""


def on_a_terminal(mode: str, term: str = "xterm-256color") -> str:
    """What a terminal of 80 columns is sent on stderr."""
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "80", "LINES": "24"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run([sys.executable, "-c", RUN, mode], stderr=slave, env=environment, check=False)
    os.close(slave)
    with os.fdopen(master, "rb", buffering=0) as terminal:
        text = terminal.read(65536).decode()
    assert done.returncode == 0
    return text


def test_a_live_bar() -> None:
    text = on_a_terminal("color")
    assert "1/2 rows" in text
    assert "1 done, 0 failed, 1 pending" in text
    assert "\x1b[2K" in text  # the bar is wiped before what follows
    assert text.rstrip().splitlines()[-1].startswith("csc-submit: not done")


def test_colours_lead_the_eye() -> None:
    assert "\x1b[31merror:\x1b[0m LA_CODE is not set" in on_a_terminal("color")


def test_without_colours() -> None:
    text = on_a_terminal("plain")
    assert "error: LA_CODE is not set" in text
    assert "\x1b[3" not in text


def test_a_terminal_that_knows_no_control_characters_gets_lines() -> None:
    assert "\x1b[2K" not in on_a_terminal("plain", term="dumb")
