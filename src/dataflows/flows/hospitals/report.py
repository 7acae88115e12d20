"""What is reported about a file: seed 003's validation response, with codes and places."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dataflows.flows.hospitals.codes import Error, Warned
from dataflows.flows.hospitals.rows import HospitalRow

KEPT = 40_000
"""So many problems, and so many warnings, are kept; all are counted. Four for each of the 10,000 rows that a file can
have, so that every row that is left out is told.
"""

PREVIEW = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong (or strange) at one place.

    ``row`` is 1 for the first record below the header, None for what concerns the file; ``line`` is the line of the
    file (1 is the first) where that record begins. The codes are listed in docs/hospitals-csv.md.
    """

    row: int | None
    column: str | None
    code: Error | Warned
    message: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class FileInfo:
    """``encoding`` is a codec's name (``utf-8``, ``utf-8-sig`` with a byte order mark), or ``unknown``."""

    size_bytes: int
    encoding: str
    delimiter: str
    has_header: bool


@dataclass(frozen=True, slots=True)
class Validation:
    """What a file holds. ``rows`` are the valid ones in their order; ``refused`` says that something is wrong with the
    file as a whole, so that its valid rows must not be sent either. ``sha256`` (hex) is of the whole file, and empty
    where the reading had to stop before its end.
    """

    rows: list[HospitalRow]
    total_rows: int
    problems: list[Problem]
    problem_count: int
    warnings: list[Problem]
    warning_count: int
    refused: bool
    info: FileInfo
    sha256: str

    @property
    def is_valid(self) -> bool:
        """Every row may be sent."""
        return self.problem_count == 0

    @property
    def invalid_rows(self) -> int:
        """Rows that must not be sent: with an error, or where it is not sure that they are rows."""
        return self.total_rows - len(self.rows)

    def document(self) -> dict[str, Any]:
        """Seed 003's validation response, with codes, lines and the full counts beside it."""
        return {
            "is_valid": self.is_valid,
            "total_rows": self.total_rows,
            "valid_rows": len(self.rows),
            "invalid_rows": self.invalid_rows,
            "errors": [asdict(one) for one in self.problems],
            "warnings": [asdict(one) for one in self.warnings],
            "error_count": self.problem_count,
            "warning_count": self.warning_count,
            "preview_hospitals": [row.hospital._asdict() for row in self.rows[:PREVIEW]],
            "file_info": asdict(self.info),
        }


class ProblemList:
    """Problems (or warnings) as they are found: all counted, the first ``KEPT`` of them kept."""

    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.count = 0

    def add(self, problem: Problem) -> None:
        """Count it, and keep it while there is room."""
        self.count += 1
        if len(self.kept) < KEPT:
            self.kept.append(problem)
