"""A file of made-up hospitals, the program, and the sandbox where the Directory would be."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import main
from dataflows.flows.hospitals.rows import portions
from dataflows.flows.hospitals.table import validate
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.synthetic import SyntheticHospital, hospitals

QUICK = {
    "HOSPITALS_CREATES_PER_MINUTE": "0",
    "HOSPITALS_SETTLE_SECONDS": "0.3",
    "HOSPITALS_LOOK_EVERY_SECONDS": "0.05",
    "HOSPITALS_WAKE_SECONDS": "5",
    "HTTP_ATTEMPTS": "6",
    "HTTP_MAX_WAIT_SECONDS": "0.05",
    "HTTP_TIMEOUT_SECONDS": "2",
    "HTTP_CONNECT_TIMEOUT_SECONDS": "2",
}
CREATE_MS = 10.0


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended; ``document`` is what it printed with --json."""

    code: int
    document: dict[str, Any]
    err: str
    out: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.document[name]


class World:
    """Runs ``hospitals-bulk`` with settings of its own, and compares the Directory with the file."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.box = box
        self.directory = box.directory
        self.directory.faults.set(create_ms=CREATE_MS, creates_per_minute=0, calls_per_minute=0)
        self.capsys = capsys
        self.environment = {**box.settings(), **QUICK, "DATA_DIR": str(folder / "data")}
        self.file = folder / "hospitals.csv"

    def write(self, rows: int | Sequence[SyntheticHospital], file: Path | None = None) -> list[SyntheticHospital]:
        """Write a CSV of so many hospitals, or of these; returns them."""
        content = list(hospitals(rows)) if isinstance(rows, int) else list(rows)
        with (file or self.file).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("name", "address", "phone"))
            writer.writerows((one.name, one.address, one.phone or "") for one in content)
        return content

    def send(self, *arguments: str, **environment: str) -> Ran:
        """Run ``hospitals-bulk`` on the file, inside this process."""
        return self.call("hospitals-bulk", str(self.file), *arguments, "--json", **environment)

    def resume(self, run_id: str, **environment: str) -> Ran:
        """Run ``runs resume``."""
        return self.call("runs", "resume", run_id, "--json", **environment)

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program inside this process with the settings of this world."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        out, err = self.capsys.readouterr()
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err, out)

    def lose_the_journal(self) -> None:
        """Delete it, as an operator may who cleans up."""
        for path in (self.folder / "data").glob("journal.db*"):
            path.unlink()

    def put(self, row: SyntheticHospital, times: int = 1) -> None:
        """Put a record into the batch that the file as it is belongs to, as somebody else may."""
        address = self.environment["EXTERNAL_API_BASE_URL"]
        rows = validate(self.file, max_rows=0).rows
        fields = {**row._asdict(), "creation_batch_id": portions(address, rows, 20)[0].batch_id}
        for _ in range(times):
            self.directory._memory.add(fields, 10_000)

    # --- what the Directory holds -----------------------------------------------------------------------------

    def held(self, *, active: bool | None = None) -> Counter[SyntheticHospital]:
        """The texts of the records, with their numbers; only those that are (in)active when asked for."""
        return Counter(
            SyntheticHospital(one["name"], one["address"], one["phone"])
            for one in self.directory.records
            if active is None or one["active"] is active
        )

    def is_right(self, rows: Sequence[SyntheticHospital]) -> bool:
        """Whether the Directory holds every row once, active, and nothing else."""
        return self.held() == self.held(active=True) == Counter(rows)
