"""The server as a process, the sandbox where its services would be, and callers that use curl as the seeds do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from dataflows.runs.journal import RUNNING, Journal
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.synthetic import hospitals
from tests.flows.hospitals.world import QUICK
from tests.processes import PATIENCE, Ended, Process, Program

TOKEN = "synthetic-token-0123456789"
_SERVING = re.compile(r"serving on (http://\S+),")


@dataclass(frozen=True)
class Answer:
    """What a caller got."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.body)

    def __getitem__(self, name: str) -> Any:
        return self.json[name]


class Served:
    """One running server."""

    def __init__(self, process: Process, address: str) -> None:
        self.process = process
        self.address = address
        self._http = urllib3.PoolManager(maxsize=16, retries=False)

    def call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """Send a request; redirects are not followed."""
        answer = self._http.request(
            method, self.address + path, headers=dict(headers or {}), redirect=False, timeout=PATIENCE, **more
        )
        return Answer(answer.status, answer.data, {name.lower(): value for name, value in answer.headers.items()})

    def get(self, path: str, **headers: str) -> Answer:
        """GET; keywords are headers, with ``_`` for ``-``."""
        return self.call("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, **headers: str) -> Answer:
        """POST without a body."""
        return self.call("POST", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def upload(self, path: str, file: Path) -> Answer:
        """POST a file as a form's field ``file``."""
        return self.call("POST", path, fields={"file": (file.name, file.read_bytes(), "text/csv")})

    def curl(self, *arguments: str, folder: Path) -> tuple[int, str]:
        """Call curl; returns the status and what it printed."""
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("there is no curl")
        done = subprocess.run(
            [curl, "-s", "-w", "\n%{http_code}", *arguments], capture_output=True, cwd=folder, check=True, timeout=60
        )
        text, _, status = done.stdout.decode().rpartition("\n")
        return int(status), text


class World:
    """A folder, the sandbox, and the settings of a server that works with both."""

    def __init__(self, folder: Path, box: Sandbox, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.box = box
        self.directory = box.directory
        self.directory.faults.set(create_ms=5.0, creates_per_minute=0, calls_per_minute=0)
        self.environment = {
            **box.settings(), **QUICK, "DATA_DIR": str(self.data), "RUN_TOKEN": TOKEN, "CQC_RETRIES": "0", **settings
        }  # fmt: skip
        self.program = Program(folder / "elsewhere", self.environment)

    @contextmanager
    def serving(self, *arguments: str, **settings: str) -> Iterator[Served]:
        """Serve for the length of the block."""
        with self.program.start("serve", "--port", "0", *arguments, **settings) as process:
            yield Served(process, _address(process))

    def run(self, *arguments: str) -> Ended:
        """Run a command beside the server."""
        return self.program.run(*arguments)

    def write(self, rows: int, tag: str = "") -> Path:
        """Write a CSV of so many hospitals; another ``tag`` makes others."""
        lines = [f"{one.name}{tag},{one.address.replace(',', ' ')},{one.phone or ''}\n" for one in hospitals(rows)]
        path = self.folder / f"hospitals{tag}.csv"
        path.write_text("name,address,phone\n" + "".join(lines), encoding="utf-8")
        return path

    def running(self) -> int:
        """How many runs the journal says are running."""
        journal = Journal.open(self.data)
        try:
            return len(journal.runs(state=RUNNING))
        finally:
            journal.close()

    def names(self, *, active: bool | None = None) -> list[str]:
        """The names that the Directory holds, in order."""
        return sorted(one["name"] for one in self.directory.records if active is None or one["active"] is active)


def _address(process: Process) -> str:
    """Wait until the server says where it listens; the little that it says later fits into the pipe."""
    while line := process.line():
        if found := _SERVING.search(line):
            return found[1]
    raise AssertionError("the server did not start")
