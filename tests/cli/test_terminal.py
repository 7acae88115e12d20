"""On a terminal: a live bar, gone at the end; colours only where they are wanted."""

from __future__ import annotations

import json
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
output.warn("the receiver is slow", reason="test")
output.failed(SettingUnusable("LA_CODE is not set", reason="test"))
"""


PASSES = """
import sys
from dataflows.cli.output import Output
from dataflows.errors import ServiceDown
first = Output(as_json=True)
for _ in range(2):
    output = first.anew() if sys.argv[1] == "watching" else first
    output.failed(ServiceDown("the bucket does not answer", reason="test"))
"""


def on_a_terminal(mode: str, term: str = "xterm-256color", *, run: str = RUN, stream: str = "stderr") -> str:
    """What a terminal of 80 columns is sent on stderr (or on stdout)."""
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "80", "LINES": "24"}
    environment.pop("NO_COLOR", None)
    out, err = (slave if stream == name else subprocess.DEVNULL for name in ("stdout", "stderr"))
    done = subprocess.run([sys.executable, "-c", run, mode], stdout=out, stderr=err, env=environment, check=False)
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


def test_a_document_is_indented_for_who_reads_it_and_a_line_for_each_pass_of_a_watch() -> None:
    once = on_a_terminal("once", run=PASSES, stream="stdout")
    assert once.startswith('{\r\n  "')
    lines = on_a_terminal("watching", run=PASSES, stream="stdout").splitlines()
    assert [json.loads(line)["exit_code"] for line in lines] == [13, 13]
