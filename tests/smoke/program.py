"""The program under test, always as a process: from source, from a wheel or frozen.

``DATAFLOWS_TEST_COMMAND`` is the path of a program (``csc_api_pipeline`` then lies beside it) or words divided by
blanks; without it the source is run by this Python. ``DATAFLOWS_TEST_PIPELINE`` names another ``csc_api_pipeline``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import warm
from tests.processes import Ended, Process

ROOT = Path(__file__).resolve().parents[2]
_SETTING = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)


def command() -> list[str]:
    """How ``dataflows`` is called."""
    given = os.environ.get("DATAFLOWS_TEST_COMMAND", "")
    if not given:
        return [sys.executable, "-m", "dataflows"]
    found = _program(given)
    return [found] if found else given.split()


def pipeline() -> list[str]:
    """How ``csc_api_pipeline`` is called."""
    given = os.environ.get("DATAFLOWS_TEST_PIPELINE", "")
    if given:
        return [_program(given) or given]
    *before, last = command()
    if last == "dataflows" and before:  # python -m dataflows
        return [*before, "api_pipeline"]
    return [str(Path(last).with_stem("csc_api_pipeline"))]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process without any setting of the program and without a proxy, and ``settings``."""
    known = set(_SETTING.findall((ROOT / ".env.example").read_text(encoding="utf-8"))) | {"NO_COLOR"}
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in known and not name.startswith("DATAFLOWS_") and not name.lower().endswith("_proxy")
    }
    return {**ours, **settings}


class Installed:
    """Calls the programs in a folder, with the env file that lies there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env_file = folder / ".env"
        self.forked = False
        """Whether the source, where that is under test, may be run without a start from nothing (see warm.py)."""

    def write(self, settings: Mapping[str, str], **more: str) -> None:
        """Write the env file."""
        lines = [f"{name}={value}\n" for name, value in {**settings, **more}.items()]
        self.env_file.write_text("".join(lines), encoding="utf-8")

    def start(self, *arguments: str, program: list[str] | None = None, **settings: str) -> Process:
        """Start ``dataflows`` (or ``program``) and return at once."""
        words = program or command()
        if self.forked and warm.POSSIBLE and words[:-1] == [sys.executable, "-m"]:
            return Process(arguments, warm.Warm(words[-1], arguments, self.folder, environment(settings)))
        return Process(
            arguments,
            subprocess.Popen(
                [*words, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.folder,
                env=environment(settings),
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            ),
        )

    def run(self, *arguments: str, program: list[str] | None = None, **settings: str) -> Ended:
        """Run ``dataflows`` (or ``program``) to its end."""
        with self.start(*arguments, program=program, **settings) as process:
            return process.ended()

    def ask(self, *arguments: str, **settings: str) -> tuple[int, dict[str, Any]]:
        """Run ``dataflows`` with --json: its exit code and its document."""
        ended = self.run(*arguments, "--json", program=None, **settings)
        return ended.code, ended.document


def _program(path: str) -> str | None:
    """The whole path of a program that is there (the folder of a test is not that of whoever named it)."""
    return shutil.which(Path(path).absolute()) if Path(path).name != path else shutil.which(path)
