"""A folder, the program, and the sandbox (or a server of raw bytes) where CQC would be."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import main
from dataflows.sandbox.server import Sandbox

QUICK = {
    "CQC_RETRIES": "2",
    "CQC_DEADLINE_SECONDS": "20",
    "HTTP_MAX_WAIT_SECONDS": "0.01",
    "HTTP_TIMEOUT_SECONDS": "5",
    "HTTP_CONNECT_TIMEOUT_SECONDS": "2",
}
BOTH = ("--source", "homecare", "--source", "carehomes")


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended; ``document`` is what it printed with --json."""

    code: int
    document: dict[str, Any]
    err: str
    out: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def of(self, source: str) -> dict[str, Any]:
        """The result of one source."""
        found: dict[str, Any] = self.document["results"][source]
        return found


class World:
    """Runs ``cqc-fetch`` with settings of its own and looks into its output folder."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.box = box
        self.cqc = box.cqc
        self.capsys = capsys
        urls = {name: url for name, url in box.settings().items() if name.startswith("CQC_URL_")}
        self.environment = {**urls, **QUICK, "DATA_DIR": str(folder / "data")}

    def fetch(self, *arguments: str, **environment: str) -> Ran:
        """Run ``cqc-fetch`` inside this process; without a source named, for homecare and carehomes."""
        sources = () if "--source" in arguments or "--all" in arguments else BOTH
        rest = [argument for argument in arguments if argument != "--all"]
        output = () if "--output" in arguments else ("--output", str(self.out))
        return self.call("cqc-fetch", *sources, *output, *rest, "--json", **environment)

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program inside this process with the settings of this world."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
                patch.delenv(name)
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        out, err = self.capsys.readouterr()
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err, out)

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``cqc-fetch`` as a process of its own."""
        return [sys.executable, "-m", "dataflows", "cqc-fetch", *BOTH, "--output", str(self.out), *arguments]

    def full_environment(self) -> dict[str, str]:
        """The environment for such a process."""
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**clean, **self.environment}

    def names(self) -> list[str]:
        """Whatever is in the output folder, hidden files included."""
        return sorted(path.name for path in self.out.iterdir()) if self.out.exists() else []

    def bytes_of(self, ran: Ran, source: str) -> bytes:
        """The file that a run saved for a source."""
        return (self.out / str(ran.of(source)["file"])).read_bytes()

    def rows_of(self, name: str) -> list[dict[str, str]]:
        """The records of a file."""
        with (self.out / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
