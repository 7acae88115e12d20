"""A file as a whole: what is refused and where it says so, what is a row, and that garbage costs nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sys
import tracemalloc
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataflows.errors import BadInput
from dataflows.flows.hospitals import rows, source, table
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from dataflows.flows.hospitals.table import MOST_ROWS, Validation, validate

HEAD = b"name,address,phone\n"
ROW = b"Synthetic Hospital,1 Example Street,555-0123\n"
HOSPITAL = Hospital("Synthetic Hospital", "1 Example Street", "555-0123")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "hospitals-csv.md").read_text(encoding="utf-8")

fuzzed = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "Krankenhäuser list.csv"


def judged(file: Path, data: bytes, *, max_rows: int = 20) -> Validation:
    file.write_bytes(data)
    return validate(file, max_rows=max_rows)


def places(found: Validation) -> list[tuple[int | None, str | None, str, int | None]]:
    return [(one.row, one.column, one.code, one.line) for one in found.problems]


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "delimiter", "encoding"),
    [
        (HEAD + ROW, ",", "utf-8"),
        (b"\xef\xbb\xbf" + HEAD + ROW, ",", "utf-8-sig"),
        ((HEAD + ROW).replace(b"\n", b"\r\n"), ",", "utf-8"),
        ((HEAD + ROW).replace(b"\n", b"\r"), ",", "utf-8"),
        (HEAD + ROW[:-1], ",", "utf-8"),
        ((HEAD + ROW).replace(b",", b";"), ";", "utf-8"),
        ((HEAD + ROW).replace(b",", b"\t"), "\t", "utf-8"),
        (b' PHONE ,"Address",\tNaMe\n555-0123, 1 Example Street ,Synthetic Hospital\n', ",", "utf-8"),
        (b"\n \n" + HEAD + b"\n\t\n" + ROW + b"\n\n", ",", "utf-8"),
    ],
    ids=["plain", "mark", "crlf", "cr", "no last end", "semicolon", "tab", "order and case", "blank lines"],
)
def test_a_file_that_is_right(file: Path, data: bytes, delimiter: str, encoding: str) -> None:
    found = judged(file, data)
    assert (found.rows, found.problems, found.refused, found.is_valid) == ([HospitalRow(1, HOSPITAL)], [], False, True)
    assert found.info == table.FileInfo(len(data), encoding, delimiter, has_header=True)
    assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_without_a_phone_column_nobody_has_a_phone(file: Path) -> None:
    found = judged(file, b'address,name\n"12 High St, Leeds",Synthetic Hospital\n')
    assert found.rows == [HospitalRow(1, Hospital("Synthetic Hospital", "12 High St, Leeds", None))]


def test_the_report_has_the_shape_of_the_seed(file: Path) -> None:
    document = judged(file, HEAD + ROW * 6 + b"A,1 Example Street,\n").document()
    assert document["file_info"] == {"size_bytes": 309, "encoding": "utf-8", "delimiter": ",", "has_header": True}
    counts = [document[name] for name in ("is_valid", "total_rows", "valid_rows", "invalid_rows")]
    assert counts == [False, 7, 6, 1]
    assert document["preview_hospitals"] == [HOSPITAL._asdict()] * 5
    (error,) = document["errors"]
    assert {name: error[name] for name in ("row", "column", "code", "line")} == {
        "row": 7, "column": "name", "code": "too_short", "line": 8,
    }  # fmt: skip


def test_the_same_row_again_is_a_warning_that_names_both(file: Path) -> None:
    found = judged(file, HEAD + ROW + b"Other Hospital,1 Example Street,\n" + ROW)
    (warning,) = found.warnings
    assert (warning.row, warning.code, warning.line, found.is_valid) == (3, "duplicate_row", 4, True)
    assert "row 3 is the same as row 1" in warning.message


@pytest.mark.parametrize("line", [b"sep=;\n", b"SEP=;\r\n", b'"sep=;"\n', b"\n\xef\xbb\xbfsep=;\n".lstrip(b"\n")])
def test_a_line_that_names_the_separator_is_taken(file: Path, line: bytes) -> None:
    found = judged(file, line + b"name;address;phone\nSynthetic Hospital;12 High St, Leeds;\n")
    assert (found.rows, found.problems) == (
        [HospitalRow(1, Hospital("Synthetic Hospital", "12 High St, Leeds", None))],
        [],
    )
    assert (found.info.delimiter, [one.code for one in found.warnings]) == (";", ["sep_line"])


@pytest.mark.parametrize("data", [b"sep=;\n" + HEAD + ROW, b"sep=|\nname|address\nA|B\n"])
def test_a_line_that_names_another_separator_than_the_file_has_is_the_cause(file: Path, data: bytes) -> None:
    found = judged(file, data)
    assert (found.problems[0].code, found.refused, found.rows) == ("sep_line", True, [])
    assert "remove that line" in found.problems[0].message


@pytest.mark.parametrize("head", [b"name,address,phone\n", b"Name , ADDRESS,\n", b"\xef\xbb\xbfname,address,phone\n"])
def test_a_header_that_is_repeated_is_no_hospital(file: Path, head: bytes) -> None:
    found = judged(file, HEAD + ROW + head + ROW)
    (problem,) = found.problems
    assert (problem.row, problem.code, problem.line) == (2, "header_repeated", 3)
    assert (len(found.rows), found.refused) == (2, False)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (b"", ["empty_file"]),
        (b"\xef\xbb\xbf\r\n\r\n", ["empty_file"]),
        (HEAD, ["no_rows"]),
        (HEAD + b"\n\n", ["no_rows"]),
        (ROW, ["no_header"]),
        (b"name,phone\nx,y\n", ["missing_column"]),
        (b"phone\n555-0123\n", ["missing_column", "missing_column"]),
        (b"name,address,NAME \nx,y,z\n", ["duplicate_column"]),
        (b"name,address,type\nSynthetic Hospital,1 Example Street,x\n", ["unknown_column"]),
        (b"name,address,\nSynthetic Hospital,1 Example Street,\n", ["unknown_column"]),
        (b"name;address,phone\nx,y\n", ["missing_column", "missing_column", "unknown_column"]),
        (b'name, "address",phone\n' + ROW, ["blank_before_quote"]),
        (HEAD + ROW * 21, ["too_many_rows"]),
    ],
)
def test_a_file_that_is_refused_as_a_whole(file: Path, data: bytes, codes: list[str]) -> None:
    found = judged(file, data)
    assert [one.code for one in found.problems] == codes
    assert found.refused


@pytest.mark.parametrize(
    ("record", "column", "code"),
    [
        (b'Foo Hospital, "12 High St, Leeds",555-0123', "address", "blank_before_quote"),
        (b'Foo Hospital,"12 High St, Leeds" ,555-0123', "address", "text_after_quote"),
        (b'The "Royal" Hospital,12 High St,555-0123', "name", "quote_in_field"),
        (b"Foo Hospital,12 High St", None, "field_count"),
        (b"Foo Hospital,12 High St, Leeds,555-0123", None, "field_count"),
        (b'Foo Hospital,"12 High St,\nLeeds",555-0123', "address", "control_character"),
        (b"Foo\0Hospital,12 High St,555-0123", "name", "control_character"),
        (b"Foo Hospital,12 High St,call us", "phone", "phone_characters"),
    ],
)
def test_a_row_that_is_refused_leaves_the_others(file: Path, record: bytes, column: str | None, code: str) -> None:
    found = judged(file, HEAD + ROW + record + b"\n" + ROW)
    assert places(found) == [(2, column, code, 3)]
    assert ([row.number for row in found.rows], found.refused) == ([1, 3], False)


@pytest.mark.parametrize("record", [b'Foo, "12 High St,\nLeeds", x', b'5" Hospital,12 High St,', b'Foo,"12 High St,'])
def test_after_a_mark_that_may_still_be_open_no_row_is_used(file: Path, record: bytes) -> None:
    found = judged(file, HEAD + ROW + record + b"\n" + ROW)
    assert (found.problems[0].row, found.problems[0].line, found.refused) == (2, 3, True)
    assert [row.number for row in found.rows] == [1]


@pytest.mark.parametrize(
    ("data", "place", "words", "encoding"),
    [
        ((HEAD + ROW).decode().encode("utf-16"), (None, 1), "byte 0xFF at offset 0", "utf-16-le"),
        ((HEAD + ROW).decode().encode("utf-16-le"), (None, 1), "UTF-16 without a byte order mark", "utf-16-le"),
        ((HEAD + ROW).decode().encode("utf-16-be"), (None, 1), "byte 0x00 at offset 0", "utf-16-be"),
        (HEAD + ROW + b"Caf\xe9,1 Example Street,\n", (2, 3), "byte 0xE9 at offset 67", "windows-1252"),
        (HEAD + ROW + b"Caf\xe9,1 Example Street,\n", (2, 3), "Windows-1252, where it is 'é'", "windows-1252"),
        (HEAD + ROW.replace(b"\n", b"\r") + b"\xe9", (2, 3), "in row 2", "windows-1252"),
        (HEAD + b'"a\n\n\x81', (1, 4), "no text encoding", "unknown"),
        (HEAD + b"a\xed\xa0\x80b", (1, 2), "half of a UTF-16 pair", "unknown"),
        (HEAD + b"a\xe2\x82", (1, 2), "the file is incomplete", "utf-8"),
        (b"PK\x03\x04\x14\x00" + b"x" * 90, (None, 1), "an Excel workbook", "unknown"),
        (bytes(1000), (None, 1), "a binary file", "unknown"),
    ],
)  # fmt: skip
def test_another_encoding_is_named(
    file: Path, data: bytes, place: tuple[int | None, int], words: str, encoding: str
) -> None:
    found = judged(file, data)
    (problem,) = found.problems
    assert (problem.code, problem.row, problem.line) == ("encoding", *place)
    assert words in problem.message
    assert (found.info.encoding, found.refused, found.sha256) == (encoding, True, "")


def test_the_offset_counts_from_the_beginning_of_the_file(file: Path) -> None:
    data = b"\xef\xbb\xbf" + HEAD + "Höspital,1 Example Street,\n".encode() * 5000
    (problem,) = judged(file, data + b"\x80", max_rows=0).problems
    assert (problem.row, problem.line) == (5001, 5002)
    assert f"byte 0x80 at offset {len(data)} " in problem.message


@pytest.mark.parametrize(("max_rows", "count", "row"), [(20, 21, 21), (1, 3, 2), (0, MOST_ROWS + 5, MOST_ROWS + 1)])
def test_too_many_rows(file: Path, max_rows: int, count: int, row: int) -> None:
    found = judged(
        file, HEAD + b"".join(b"Hospital %d,1 Example Street,\n" % n for n in range(count)), max_rows=max_rows
    )
    assert [(one.row, one.code) for one in found.problems] == [(row, "too_many_rows")]
    assert len(found.rows) == min(count, MOST_ROWS)


@pytest.mark.parametrize("max_rows", [0, MOST_ROWS, MOST_ROWS * 9])
def test_the_most_rows(file: Path, max_rows: int) -> None:
    assert judged(file, HEAD + ROW * MOST_ROWS, max_rows=max_rows).total_rows == MOST_ROWS


def test_problems_and_warnings_are_counted_beyond_those_that_are_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "KEPT", 1000)
    found = judged(file, HEAD + b"A,B,C\n" * 1500 + ROW * 1500, max_rows=0)
    assert (len(found.problems), found.problem_count) == (table.KEPT, 4500)
    assert (len(found.warnings), found.warning_count) == (table.KEPT, 1499)


def test_no_message_repeats_a_long_value(file: Path) -> None:
    columns = [b"x" * 900 for _ in range(60)]
    found = judged(file, b"name,address," + b",".join(columns) + b"\n" + b"y" * 9000 + b",\x01" + b"z" * 9000)
    assert len(found.problems) == 12
    assert max(len(one.message) for one in found.problems) < 200


# --- what is no file ----------------------------------------------------------------------------------------------


def test_a_path_without_a_file(tmp_path: Path, file: Path) -> None:
    file.write_bytes(HEAD)
    for path, words in [(tmp_path, "is a folder"), (tmp_path / "x", "no file"), (file / "x", "no file"),
                        (tmp_path / "a\0b", "not a path")]:  # fmt: skip
        with pytest.raises(BadInput, match=words):
            validate(path, max_rows=20)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and /proc are not Windows'")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # type: ignore[attr-defined,unused-ignore]
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadInput, match="a pipe or a device"):
            validate(path, max_rows=20)


def test_a_file_without_the_right_to_read_it(file: Path) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    file.write_bytes(HEAD + ROW)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BadInput, match="may not be read"):
        patch.setattr(os, "open", refuse)  # root may read everything
        validate(file, max_rows=20)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that fails while it is read, without a broken disk")
def test_a_disk_that_fails() -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        validate(Path("/proc/self/mem"), max_rows=20)


def test_a_file_that_is_still_written(file: Path) -> None:
    file.write_bytes(HEAD + ROW)
    with source.CsvSource(file) as opened:
        text = opened.text()
        next(text)
        with file.open("ab") as writer:
            writer.write(ROW)
        with pytest.raises(BadInput, match="was changed while it was read"):
            list(text)


# --- garbage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "top", [b"name", HEAD, HEAD + ROW + b'"', HEAD + ROW], ids=["header", "row", "quoted", "second"]
)
def test_a_gigabyte_in_one_line_costs_nothing(file: Path, top: bytes) -> None:
    with file.open("wb") as writer:
        writer.write(top + b"x" * 100_000)
        writer.truncate(1 << 30)  # sparse: NULs without taking room
    tracemalloc.start()
    found = validate(file, max_rows=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ([one.code for one in found.problems], found.refused) == (["record_too_long"], True)
    assert peak < 2_000_000


def csv_rows(text: str, *, lenient: bool) -> list[list[str]]:
    """The records as the standard library reads them."""
    return list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=lenient))


LINE = "\nGeneral Hospital,1 Example Street,555-0123\n"
PIECES = ['"', '"', ',"', '",', ",", "\n", "\r", " ", "\t", '""', "Name", "1 Street", "é", LINE, LINE]


@fuzzed
@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30))
@example(pieces=['0","\nGeneral Hospital,1 Example Street,555-0123\n'])
def test_a_valid_row_is_a_row_in_every_reading(file: Path, pieces: list[str]) -> None:
    body = "".join(pieces).encode("utf-8", "replace").decode()
    found = judged(file, HEAD + body.encode())
    for lenient in (False, True):
        records = [[value.strip() for value in record] for record in csv_rows(body, lenient=lenient)]
        for row in found.rows:
            assert [*row.hospital[:2], row.hospital.phone or ""] in records


@fuzzed
@given(head=st.sampled_from([b"", HEAD, b"\xef\xbb\xbf" + HEAD, b"\xff\xfe", HEAD + ROW]), data=st.binary(max_size=80))
def test_no_bytes_break_it(file: Path, head: bytes, data: bytes) -> None:
    found = judged(file, head + data)
    assert found.is_valid == (found.problems == [])
    assert len(found.rows) <= found.total_rows
    found.document()


# --- the page for operators ---------------------------------------------------------------------------------------


def explained(heading: str) -> set[str]:
    table = PAGE.partition(heading)[2].partition("\n## ")[0]
    return {line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")}


def test_the_page_explains_every_code() -> None:
    errors = {code for kind in (rows.FileError, rows.QuoteError, rows.RowError) for code in get_args(kind)}
    assert explained("\n## Errors") == errors
    assert explained("\n## Warnings") == set(get_args(rows.Warned))
