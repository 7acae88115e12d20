"""Records: what the csv module writes is read back, however it is cut into pieces, and nothing is repaired."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import chain, repeat

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflows.flows.hospitals.quoting import LONGEST_RECORD, Fault, Records, TextLines, Unending
from dataflows.flows.hospitals.source import CsvSource

NASTY = st.text(st.sampled_from(list('",;\t\r\n aé\x00\u2028\x0b\x85\ufeff😀')), max_size=6)
TEXTS = NASTY | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TABLES = st.lists(st.lists(TEXTS, max_size=4), max_size=6)


def written(table: Sequence[Sequence[str]], delimiter: str, quoting: int, end: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(table)  # type: ignore[arg-type]
    return text.getvalue()


def read(pieces: Sequence[str], delimiter: str = ",") -> list[tuple[int, list[str], Fault | None]]:
    return [tuple(record) for record in Records(TextLines(pieces), delimiter)]  # type: ignore[misc]


@settings(max_examples=250, deadline=None)
@given(
    table=TABLES,
    delimiter=st.sampled_from([",", ";", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\r\n", "\n", "\r"]),
    mark=st.booleans(),
    piece=st.integers(1, 20) | st.just(64 * 1024),
)
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]], delimiter: str, quoting: int, end: str, mark: bool, piece: int,
) -> None:  # fmt: skip
    # with QUOTE_MINIMAL, some versions of csv do not quote the line ends that are not their own
    text = written(table, delimiter, quoting, end if quoting != csv.QUOTE_MINIMAL else "\r\n")
    data = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    assume(mark or not text.startswith("\ufeff"))
    assume(data[:64].count(0) * 4 < max(len(data[:64]), 1))  # NULs in every second place are UTF-16
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(data)
    with CsvSource(path, piece=piece) as source:
        found = [record.fields for record in Records(TextLines(source.text()), delimiter)]
    assert found == [record for record in table if record]


@given(pieces=st.lists(st.text(st.sampled_from('a",\r\n'), max_size=6), max_size=5))
def test_it_does_not_matter_how_a_text_comes_in_pieces(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert read(pieces) == read([whole]) == read(list(whole))


def test_records_know_the_line_where_they_begin() -> None:
    text = 'a,"b\nc\r\nd"\r\re,f\n\n"g","h"'
    assert read([text]) == [(1, ["a", "b\nc\r\nd"], None), (5, ["e", "f"], None), (7, ["g", "h"], None)]


@pytest.mark.parametrize(
    ("text", "code", "column", "contained"),
    [
        ('a, "b, c",d', "blank_before_quote", 1, True),
        ('a,\t"b",d', "blank_before_quote", 1, True),
        (' "a",b,c', "blank_before_quote", 0, True),
        ('a, "b,\nc",d', "blank_before_quote", 1, False),
        ('a, "b,"c,d', "blank_before_quote", 1, False),
        ('a,b "c" d,e', "quote_in_field", 1, True),
        ('a,5" pipe,e', "quote_in_field", 1, False),
        ('a,5" pipe, "b', "quote_in_field", 1, False),
        ('a,"b" ,c', "text_after_quote", 1, True),
        ('a,"b"c,d', "text_after_quote", 1, True),
        ('a,"b"c,"d', "text_after_quote", 1, False),
        ('a,"b', "unclosed_quote", 1, False),
        ('a,b,"', "unclosed_quote", 2, False),
    ],
)
def test_nothing_is_repaired(text: str, code: str, column: int, contained: bool) -> None:
    (record, *_) = Records(TextLines([text + "\n"]), ",")
    assert record.fault
    assert (record.fault.code, record.fault.column, record.fault.contained) == (code, column, contained)
    assert len(record.fields) == column


def test_after_a_fault_the_next_line_is_the_next_record() -> None:
    records = list(Records(TextLines(['a, "b"\nc,d\n']), ","))
    assert [record.line for record in records] == [1, 2]
    assert records[1].fields == ["c", "d"]


@pytest.mark.parametrize(
    ("first", "piece", "code", "line"),
    [
        ("a", "x" * 1000, "record_too_long", 1),
        ("a", '"' * 1000, "record_too_long", 1),
        ("a", ' "' * 500, "record_too_long", 1),
        ('a\n"', "x\n" * 500, "unclosed_quote", 2),
        ('a\n"', 'x\n","' * 500, "unclosed_quote", None),
        ("\r", "\r" * 1000, "blank_lines", 10_001),
    ],
    ids=["one line", "quotes", "blanks and quotes", "open quote", "endless record", "blank lines"],
)
def test_what_never_ends_is_given_up(first: str, piece: str, code: str, line: int | None) -> None:
    pieces = repeat(piece, 3 * LONGEST_RECORD // len(piece))
    with pytest.raises(Unending) as stopped:
        list(Records(TextLines(chain(first, pieces)), ","))
    assert (stopped.value.code, line or stopped.value.line) == (code, stopped.value.line)
    assert next(pieces)  # it was not read to its end
