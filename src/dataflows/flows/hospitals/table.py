"""Reads a file of hospitals row by row, and reports what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataflows.flows.hospitals import rules
from dataflows.flows.hospitals.quoting import DELIMITERS, CsvRecord, Fault, Records, TextLines, Unending
from dataflows.flows.hospitals.rows import Error, Hospital, HospitalRow, SkippedRow, Warned
from dataflows.flows.hospitals.rules import Header, delimiter_of, read_header, repeats, separator_of
from dataflows.flows.hospitals.source import CsvSource, NotUtf8

KEPT = 40_000
"""So many problems, and so many warnings, are kept; all are counted. Four for each of the 10,000 rows that a file can
have, so that every row that is left out is reported.
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

    def left_out(self) -> list[SkippedRow]:
        """The problems by row (0: of the file), the first one's code and all messages."""
        found: dict[int, SkippedRow] = {}
        for problem in self.problems:
            row = problem.row or 0
            text = f"{problem.column}: {problem.message}" if problem.column else problem.message
            known = found.get(row)
            found[row] = (
                known._replace(message=f"{known.message}; {text}") if known else SkippedRow(row, problem.code, text)
            )
        return list(found.values())

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


MOST_ROWS = 10_000
"""The Directory evicts its oldest records beyond that; no ``max_rows`` lifts it."""


def validate(path: Path, *, max_rows: int) -> Validation:
    """Read and judge a whole file. ``max_rows`` is the most rows it may have, 0 for none but ``MOST_ROWS``.

    Raises:
        BadInput: the file cannot be read at all (missing, a folder, a pipe, no right, changed meanwhile).
    """
    with CsvSource(path) as source:
        return _Reading(source, min(max_rows or MOST_ROWS, MOST_ROWS)).result()


class _Reading:
    """One file while it is read: the rows so far, what was found, and how far the rows can be trusted."""

    def __init__(self, source: CsvSource, limit: int) -> None:
        self._source = source
        self._lines = TextLines(source.text())
        self._limit = limit
        self._rows: list[HospitalRow] = []
        self._first: dict[Hospital, int] = {}
        self._total = 0
        self._problems, self._warnings = ProblemList(), ProblemList()
        self._refused = False  # the file as a whole
        self._lost = False  # after a quotation mark that makes it doubtful where records begin
        self._delimiter = ","
        self._separator: str | None = None  # of a line sep=; at the top
        self._header: Header | None = None

    def result(self) -> Validation:
        """Read the file and say what it holds."""
        to_its_end = self._read()
        if self._lines.blank:
            self._warn(None, None, "blank_lines", f"{self._lines.blank:,} blank line(s) were skipped")
        has_header = bool(self._header and self._header.places)
        return Validation(
            rows=self._rows,
            total_rows=self._total,
            problems=self._problems.kept,
            problem_count=self._problems.count,
            warnings=self._warnings.kept,
            warning_count=self._warnings.count,
            refused=self._refused,
            info=FileInfo(self._source.size, self._source.encoding, self._delimiter, has_header),
            sha256=self._source.sha256 if to_its_end else "",
        )

    def _read(self) -> bool:
        """Take in the whole file; returns whether its end was reached."""
        try:
            return self._table()
        except NotUtf8 as error:
            where = "in the header" if self._header is None else f"in row {self._total + 1}"
            self._refuse("encoding", f"{error}; {where}", self._next_row(), line=self._lines.number + 1)
        except Unending as error:
            self._refuse(error.code, str(error), self._next_row(), line=error.line)
        return False

    def _table(self) -> bool:
        if not self._find_top():
            self._refuse("empty_file", "the file is empty")
            return True
        records = iter(Records(self._lines, self._delimiter))
        if not self._take_header(next(records)):
            return False
        return self._take_rows(records)

    def _find_top(self) -> bool:
        """Go to the first line that is not blank and see what separates its columns."""
        for line in self._lines:
            if not line.strip():
                self._lines.skip_blank()
            elif self._separator is None and (separator := separator_of(line)):
                self._separator = separator
            else:
                self._lines.push_back(line)
                self._delimiter = self._separator if self._separator in DELIMITERS else delimiter_of(line)
                return True
        return False

    def _take_header(self, record: CsvRecord) -> bool:
        """Returns whether the rows below it can be judged."""
        if record.fault:
            self._refuse(record.fault.code, f"in the header: {record.fault.message}", line=record.line)
            return False
        self._header = read_header(record.fields)
        self._judge_separator()
        for column, code, message in self._header.complaints:
            self._refuse(code, message, column=column, line=record.line)
        return self._header.is_usable

    def _judge_separator(self) -> None:
        """A line ``sep=;`` is skipped where the header below it is right, and named as the cause where it is not."""
        if self._separator is None or self._header is None:
            return
        said = f"the first line, sep={self._separator}, says what separates the columns"
        if self._separator not in DELIMITERS:
            self._refuse("sep_line", f"{said}, which is not one of {', '.join(DELIMITERS.values())}; remove that line")
        elif self._header.complaints:
            self._refuse("sep_line", f"{said}, and the header below it is not separated so; remove that line")
        else:
            self._warn(None, None, "sep_line", f"{said}; it is skipped")

    def _take_rows(self, records: Iterable[CsvRecord]) -> bool:
        for record in records:
            if len(record.fields) == 1 and not record.fault and not record.fields[0].strip(rules.BLANKS):
                self._lines.skip_blank()
                continue
            self._total += 1
            if self._total > MOST_ROWS:
                break
            self._take(record)
        return self._within_limits()

    def _take(self, record: CsvRecord) -> None:
        """Judge one record and keep it if it is right and surely a record."""
        hospital = self._hospital(record)
        if hospital is None:
            return
        if repeats(hospital):
            text = "repeats the header; remove the row: files that are put together keep only the first"
            self._problems.add(Problem(self._total, None, "header_repeated", text, record.line))
            return
        wrong = list(rules.errors(hospital))
        for column, code, message in wrong:
            self._problems.add(Problem(self._total, column, code, message, record.line))
        if not wrong and not self._lost:
            self._keep(hospital, record.line)

    def _hospital(self, record: CsvRecord) -> Hospital | None:
        """The three texts of a record; None (and a problem) where it cannot be said which field is which."""
        header, fields, fault = self._header, record.fields, record.fault
        assert header
        if fault:
            self._take_fault(fault, header.names.get(fault.column), record.line)
            return None
        if len(fields) != header.width:
            advice = (
                "; a value that contains the delimiter belongs in quotation marks" if len(fields) > header.width else ""
            )
            message = f"has {len(fields):,} field(s) and the header has {header.width:,}{advice}"
            self._problems.add(Problem(self._total, None, "field_count", message, record.line))
            return None
        name, address, phone = header.places["name"], header.places["address"], header.places.get("phone")
        return rules.trimmed(fields[name], fields[address], "" if phone is None else fields[phone])

    def _take_fault(self, fault: Fault, column: str | None, line: int) -> None:
        if fault.contained or self._lost:
            self._problems.add(Problem(self._total, column, fault.code, fault.message, line))
            return
        message = f"{fault.message}; so it is uncertain where the rows below begin, and none of them is used"
        self._refuse(fault.code, message, self._total, column=column, line=line)
        self._lost = True

    def _keep(self, hospital: Hospital, line: int) -> None:
        self._rows.append(HospitalRow(self._total, hospital))
        first = self._first.setdefault(hospital, self._total)
        if first != self._total:
            self._warn(self._total, None, "duplicate_row", f"row {self._total} is the same as row {first}", line)
        for column, code, message in rules.remarks(hospital):
            self._warn(self._total, column, code, message, line)

    def _within_limits(self) -> bool:
        """Judge the number of rows; returns whether the reading came to the end of the file."""
        if self._total > MOST_ROWS:
            text = (
                f"the file has more than {MOST_ROWS:,} rows, the most that the Directory keeps; it was read up to there"
            )
            self._refuse("too_many_rows", text, self._total)
            return False
        if self._total > self._limit:
            text = f"the file has {self._total:,} rows and may have {self._limit:,}"
            self._refuse("too_many_rows", text, self._limit + 1)
        elif not self._total:
            self._refuse("no_rows", "the file has a header and no row below it")
        return True

    def _next_row(self) -> int | None:
        return self._total + 1 if self._header else None

    def _refuse(
        self, code: Error, message: str, row: int | None = None, *, column: str | None = None, line: int | None = None
    ) -> None:
        """Report a problem because of which no row of the file may be used."""
        self._problems.add(Problem(row, column, code, message, line))
        self._refused = True

    def _warn(self, row: int | None, column: str | None, code: Warned, message: str, line: int | None = None) -> None:
        self._warnings.add(Problem(row, column, code, message, line))
