"""The kept copy of what a run carries: with it a run can be resumed although its file is gone or has changed."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import BadInput
from dataflows.flows.hospitals.identity import rows_key, upload_key
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from dataflows.store.disk import unusable
from dataflows.store.files import private_folder, write_whole

_KEEP_AT_LEAST_SECONDS = 86_400.0


class SkippedRow(NamedTuple):
    """A row of the file that cannot be sent (``--skip-invalid``)."""

    row: int
    code: str
    message: str


@dataclass(frozen=True)
class FileContent:
    """What a file asks for: where the hospitals go, how many to a batch, which, and what was left out."""

    address: str
    size: int
    rows: list[HospitalRow]
    invalid: list[SkippedRow]
    invalid_count: int

    @cached_property
    def key(self) -> str:
        """The name of this content."""
        return upload_key(self.address, self.rows, self.size)

    @cached_property
    def rows_key(self) -> str:
        """The name of its rows, however they are split into batches."""
        return rows_key(self.address, self.rows)


class CopyFolder:
    """The folder ``batches`` of a data folder: one file per content, for its owner only."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "batches"

    def has(self, key: str) -> bool:
        """Whether this content was kept before."""
        return self._path(key).exists()

    def keep(self, content: FileContent) -> None:
        """Write a copy, whole or not at all. Raises SettingUnusable or ServiceDown when it cannot be written."""
        kept = {
            "address": content.address,
            "size": content.size,
            "rows": [[row.number, *row.hospital] for row in content.rows],
            "invalid": content.invalid,
            "invalid_count": content.invalid_count,
        }
        data = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            private_folder(self._folder)
            write_whole(self._path(content.key), data)
        except OSError as error:
            raise unusable(self._folder, error, "the folder of rows", "check DATA_DIR and its permissions") from None

    def read(self, key: str) -> FileContent:
        """Return what was kept. Raises BadInput when it is gone or is not what was kept."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            kept["rows"] = [HospitalRow(number, Hospital(*texts)) for number, *texts in kept["rows"]]
            kept["invalid"] = [SkippedRow(*one) for one in kept["invalid"]]
            content = FileContent(**kept)
        except (OSError, ValueError, TypeError, KeyError):
            raise self._unusable() from None
        if content.key != key:
            raise self._unusable()
        return content

    def _unusable(self) -> BadInput:
        return BadInput(
            f"the kept copy of the rows is missing or damaged in {self._folder}",
            hint="run the command again with the file: what is at the Directory is found again",
        )

    def sweep(self, wanted: set[str]) -> None:
        """Remove the copies of runs that are pruned. Young ones stay: their journal may have been lost."""
        oldest = time.time() - _KEEP_AT_LEAST_SECONDS
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if path.stem not in wanted and path.stat().st_mtime < oldest:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
