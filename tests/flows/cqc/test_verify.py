"""What is taken for an export: exactly what the standard library's strict csv reads as one, however it is cut up."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflows.flows.cqc.layout import COLUMNS, plain
from dataflows.flows.cqc.verify import LONGEST_RECORD, FileSummary, UnfitFile, Verifier
from dataflows.remote.download import BrokenOff
from dataflows.sandbox.cqc import DIRECTORY_COLUMNS, PREAMBLE, SEARCH_COLUMNS, text_of

HEADER = b"Name,CQC Provider ID (for office use only),CQC Location ID (for office use only)\n"


def judged(data: bytes, *, allow_ragged: int = 0, size: int = 1000) -> FileSummary:
    verifier = Verifier(allow_ragged=allow_ragged)
    for start in range(0, len(data), size):
        verifier.take(data[start : start + size])
    return verifier.finish()


def why(data: bytes, **how: int) -> str:
    with pytest.raises((UnfitFile, BrokenOff)) as caught:
        judged(data, **how)
    return caught.value.code


# --- the measure ----------------------------------------------------------------------------------------------------


def naive(data: bytes, allow_ragged: int) -> tuple[int, int, int] | str:
    """The whole file at once, by the standard library alone."""
    lines = io.StringIO(data.decode("latin-1"), newline="")
    reader = csv.reader(lines, strict=True)
    header = next(reader)
    width = len(header)
    rows = blank = ragged = 0
    open_end = not data.endswith((b"\n", b"\r"))
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
        failure = ""
    except csv.Error as error:
        failure = "broken_off" if "unexpected end" in str(error) else "quotes"
    for number, record in enumerate(records, 1):
        last = number == len(records) and not failure and open_end
        empty = len(record) <= 1 and not "".join(record).strip()
        if last and len(record) != width and "".join(record).strip():
            return "broken_off"
        if empty and len(record) != width:
            blank += 1
            continue
        if not "".join(record).strip() or (len(record) == width and not "".join(record[1:3]).strip()):
            continue  # without any identifier it is no record
        if record == header:
            continue
        ragged += len(record) != width
        if ragged > allow_ragged:
            return "ragged"
        rows += 1
    return failure or ((rows, blank, ragged) if rows else "empty")


def ours(data: bytes, allow_ragged: int, pieces: Iterator[bytes]) -> tuple[int, int, int] | str:
    verifier = Verifier(allow_ragged=allow_ragged, block=1)
    try:
        for piece in pieces:
            verifier.take(piece)
        content = verifier.finish()
    except (UnfitFile, BrokenOff) as error:
        return error.code
    assert content.sha256 == hashlib.sha256(data).hexdigest()
    return content.rows, content.blank, content.ragged


def cut_up(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return (data[start:end] for start, end in pairwise(places) if end > start)


cells = st.text(st.sampled_from("ab ,\"\n\r'=#é"), max_size=6)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), max_size=8)
faults = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(['"', ",", "\n", "\r", "x", '""', "\n\n"])), max_size=2
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Exports as a writer makes them, and those with a slip or two."""
    dialects: list[type[csv.Dialect]] = [csv.excel, csv.unix_dialect]
    stream = io.StringIO()
    end = draw(st.sampled_from(["\n", "\r\n"]))
    csv.writer(stream, draw(st.sampled_from(dialects)), lineterminator=end).writerows(draw(tables))
    text = stream.getvalue()
    for number, slip in draw(faults):
        place = number % (len(text) + 1)
        text = text[:place] + slip + text[place:]
    return HEADER + text[: draw(st.integers(0, len(text)))].encode() if draw(st.booleans()) else HEADER + text.encode()


@given(files(), st.integers(0, 2), st.lists(st.integers(0, 10_000), max_size=6))
@example(HEADER + b'a"b,c"d,e\n1,2,3\n', 0, [])
@example(HEADER + b'5" pipe,2,3\n1,2,3\n', 0, [])
@example(HEADER + b'"a"\r"b"\n,,\n', 0, [])
@example(HEADER + b"a,b\rc,d,e\n", 2, [])
@example(HEADER + b"a\rb,c,d\n", 2, [])
@example(HEADER + b"\ra,b,c\n", 0, [])
def test_it_agrees_with_strict_csv(data: bytes, allow_ragged: int, cuts: list[int]) -> None:
    assert ours(data, allow_ragged, cut_up(data, cuts)) == naive(data, allow_ragged)


# --- the real layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("source", ["homecare", "directory"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_both_layouts_are_accepted_and_counted(source: str, end: bytes, bom: bytes, size: int) -> None:
    data = bom + text_of(source, 60, 1).replace("\r\n", "\n").encode().replace(b"\n", end)
    content = judged(data, size=size)
    assert (content.rows, content.blank, content.ragged) == (60, 0, 0)
    assert len(content.columns) == (15 if source == "directory" else 18)


def test_the_made_up_exports_hold_what_makes_real_ones_hard() -> None:
    text = text_of("homecare", 60, 1)
    names = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
    assert {name[0] for name in names[1:]} == set("S '#(=\"")
    assert text.startswith("Name,Address 1,") and '"""Synthetic"" Care' in text
    assert text.count("\n") > 61  # line breaks inside quotes
    assert (len(SEARCH_COLUMNS), len(DIRECTORY_COLUMNS), len(PREAMBLE)) == (18, 15, 4)


@pytest.mark.parametrize(
    "header",
    [
        b"Name,CQC Provider ID (for office use only),CQC Location (for office use only",
        b'"Location Name","CQC PROVIDER  ID","CQC Location ID (for office use only)"',
    ],
)
def test_names_that_have_drifted_are_recognised(header: bytes) -> None:
    assert judged(header + b"\na,b,c\n").rows == 1


def test_the_header_may_stand_in_line_20_and_no_later() -> None:
    assert judged(b"x\n" * 19 + HEADER + b"a,b,c\n", size=3).rows == 1
    assert why(b"x\n" * 20 + HEADER + b"a,b,c\n", size=3) == "header"


def test_a_preamble_may_hold_a_stray_quotation_mark() -> None:
    assert judged(b'24" of text\n' + HEADER + b"a,b,c\n").rows == 1


# --- what is odd ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_without_any_identifier_is_no_record(size: int, end: str) -> None:
    lines = ["a,p1,", "a,,l2", ",,", "b, ,", '"b","",""', '"c","p3","l3"', ' ," ",""', "d,p4,l4"]
    content = judged(HEADER + end.join([*lines, ""]).encode(), size=size)
    assert (content.rows, content.nameless, content.ragged) == (4, 4, 0)


@pytest.mark.parametrize("size", [50, 100_000])
def test_rows_of_commas_are_no_records_whatever_their_number(size: int) -> None:
    content = judged(HEADER + b"a,p,l\n" + b",,\n" * 30 + b",,,,\n" * 20, size=size)
    assert (content.rows, content.nameless, content.ragged) == (1, 50, 0)
    assert why(HEADER + b",,\n" * 30) == "empty"


@pytest.mark.parametrize("size", [50, 100_000])
def test_the_header_in_the_middle_is_named_by_its_record(size: int) -> None:
    content = judged(HEADER + b"a,p,1\nb,p,2\n" + HEADER + b"c,p,3\n", size=size)
    assert (content.rows, content.headers, content.is_twice) == (3, (3,), False)


@pytest.mark.parametrize("between", [b"", HEADER])
@pytest.mark.parametrize("size", [50, 100_000])
def test_the_whole_content_twice_is_seen(between: bytes, size: int) -> None:
    records = b"".join(b"n%d,p,%d\n" % (number, number) for number in range(50))
    assert judged(HEADER + records + between + records, size=size).is_twice
    assert not judged(HEADER + records + between + records[: records.index(b"n49")], size=size).is_twice
    assert not judged(HEADER + records, size=size).is_twice


def test_another_of_cqcs_exports_is_refused() -> None:
    hsca = ["Location ID", "Location HSCA start date", "Care home?", "Location Name", "Provider ID"]
    header = ",".join([*hsca, *(f"Location detail {number}" for number in range(40))])
    assert why(f"{header}\n{',' * 44}\n".encode()) == "layout"


def test_both_layouts_are_known() -> None:
    assert {plain(name) for name in (*SEARCH_COLUMNS, *DIRECTORY_COLUMNS)} == COLUMNS


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<html>a,b\nc,d</html>", "html"),
        (b"\xef\xbb\xbf\n  <!DOCTYPE html>\n", "html"),
        (b'{"error": "a, b"}\n', "header"),
        (b"a,b,c\n1,2,3\n", "header"),
        (b"", "broken_off"),
        (b" \r\n ", "broken_off"),
        (HEADER, "empty"),
        (HEADER.rstrip(), "empty"),
        (HEADER + b"\n\n", "empty"),
        (HEADER + b"a,b,c,d\na,b,c\n", "ragged"),
        (HEADER + b"a,b\na,b,c\n", "ragged"),
        (HEADER + b'a,b,c\na,b,"c\n', "broken_off"),
        (HEADER + b"a,b,c\na,b", "broken_off"),
        (HEADER + b'a,"b"x,c\n', "quotes"),
        (HEADER + b'a,b,"' + b"c\n" * LONGEST_RECORD, "quotes"),
        (b"x" * 200_000, "header"),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 18])
def test_what_is_wrong_has_a_name(data: bytes, code: str, size: int) -> None:
    pieces_at_most = 5000  # nobody sends a large file in tiny pieces
    assert why(data, size=max(size, len(data) // pieces_at_most)) == code


def test_a_last_line_of_full_width_needs_no_end() -> None:
    assert judged(HEADER + b"a,b,c\nd,e,f").rows == 2


def test_some_ragged_records_can_be_allowed() -> None:
    data = HEADER + b"a\nb,c\nd,e,f\n"
    content = judged(data, allow_ragged=2)
    assert (content.rows, content.ragged) == (3, 2)
    assert why(data, allow_ragged=1) == "ragged"


def test_the_reason_names_the_record_and_shows_nothing_of_it() -> None:
    with pytest.raises(UnfitFile, match=r"^record 3 has 2 columns and the header 3$"):
        judged(HEADER + b"a,b,c\n\nsecret,words\n")


@pytest.mark.parametrize("name", [" " * 1_000_000, "x" + "\t" * 1_000_000 + "y", "(" * 1_000_000])
def test_an_odd_name_of_a_column_takes_no_longer_than_a_plain_one(name: str) -> None:
    assert plain(name) in ("", "x y")  # with a search that looks back this takes hours
