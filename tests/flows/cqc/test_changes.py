"""What is new, gone and changed, against a comparison that a child would understand; and the union of sources."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.cqc.derived import ChangeCount, Table, compare, guarded, write_changes, write_merged
from dataflows.sandbox.cqc import CHANGED_EVERY, GONE_PER_EDITION, NEW_PER_EDITION, text_of

Rows = list[list[str]]
HEADER = ["Name", "CQC Location ID (for office use only)", "CQC Provider ID (for office use only)", "Region"]


def saved(path: Path, rows: Rows, header: list[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# --- changes --------------------------------------------------------------------------------------------------------


def naive(before: Rows, after: Rows) -> Counter[tuple[str, ...]]:
    """Put both into dictionaries and look."""

    def by_key(rows: Rows) -> dict[tuple[object, ...], list[str]]:
        seen: Counter[tuple[str, ...]] = Counter()
        found: dict[tuple[object, ...], list[str]] = {}
        for row in rows:
            if not row[1] and not row[2]:
                continue  # no record
            key = ("l", row[1]) if row[1] else ("p", row[2])
            found[(*key, seen[key])] = row
            seen[key] += 1
        return found

    old, new = by_key(before), by_key(after)
    lines = [("new", new[key][1], "", "") for key in new.keys() - old.keys()]
    lines += [("gone", old[key][1], "", "") for key in old.keys() - new.keys()]
    for key in old.keys() & new.keys():
        pairs = zip(HEADER, old[key], new[key], strict=True)
        lines += [("changed", new[key][1], a, b) for _, a, b in pairs if a != b]
    return Counter(lines)


cells = st.sampled_from(["", "a", "b", "é", "\udcff", "x\ny"])
ids = st.sampled_from(["", "1-1", "1-2", "1-3"])
rows = st.lists(st.tuples(cells, ids, ids, cells).map(list), max_size=7)


@given(rows, rows)
def test_it_finds_what_a_naive_comparison_finds(before: Rows, after: Rows) -> None:
    before = [row for row in before if any(row)]  # the verifier calls empty ones blank, csv writes them as such
    after = [row for row in after if any(row)]
    with tempfile.TemporaryDirectory() as place:
        totals = ChangeCount()
        tables = Table(saved(Path(place) / "before", before)), Table(saved(Path(place) / "after", after))
        found = list(compare(*tables, totals))
    assert Counter((c.change, c.location_id, c.before, c.after) for c in found) == naive(before, after)
    counts = Counter(change.change for change in found)
    assert (totals.new, totals.gone) == (counts["new"], counts["gone"])
    assert totals.changed <= counts["changed"] <= 4 * totals.changed


@pytest.mark.parametrize("source", ["homecare", "directory"])
def test_the_next_edition_of_an_export(tmp_path: Path, source: str) -> None:
    for edition in (1, 2):
        (tmp_path / f"{edition}.csv").write_bytes(text_of(source, 200, edition).encode())
    totals = write_changes(tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "changes.csv")
    assert (totals.new, totals.gone) == (NEW_PER_EDITION, GONE_PER_EDITION)
    assert totals.changed == 200 // CHANGED_EVERY
    [line, *_] = [line for line in read(tmp_path / "changes.csv") if line["change"] == "changed"]
    assert line == {
        "change": "changed",
        "location_id": "1-880000007",
        "provider_id": "1-990000002",
        "name": "Synthetic, Ltd Care 7",
        "column": "Phone number",
        "before": "01632 960044",
        "after": "01632 960081",
    }


def test_columns_are_compared_by_name_wherever_they_stand(tmp_path: Path) -> None:
    before = saved(tmp_path / "before", [["a", "1-1", "1-9", "North"]])
    drifted = ["Region", "Name", "CQC Location (for office use only", "CQC Provider ID", "Also known as"]
    after = saved(tmp_path / "after", [["South", "a", "1-1", "1-9", "x"]], drifted)
    totals = ChangeCount()
    [change] = compare(Table(before), Table(after), totals)
    assert (change.column, change.before, change.after) == ("Region", "North", "South")
    assert totals.columns == ("also known as",)


def test_a_preamble_and_ragged_records_are_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_text('24" of text\n' + ",".join(HEADER) + "\na,1-1\n\nb,1-2,1-9,c,d\n", encoding="utf-8")
    assert list(Table(path)) == [["a", "1-1", "", ""], ["b", "1-2", "1-9", "c"]]


# --- merged ---------------------------------------------------------------------------------------------------------


def test_a_location_stands_once_with_its_sources(tmp_path: Path) -> None:
    one = saved(tmp_path / "one", [["a", "1-1", "1-9", ""], ["b", "1-2", "1-9", "North"], ["p", "", "1-9", ""]])
    two = saved(tmp_path / "two", [["other", "1-1", "1-9", "South"], ["c", "1-3", "1-8", ""], ["p", "", "1-9", "x"]])
    assert write_merged([("one", one), ("two", two)], tmp_path / "merged") == 4
    found = [tuple(line.values()) for line in read(tmp_path / "merged")]
    assert found == [
        ("one|two", "a", "1-1", "1-9", "South"),
        ("one", "b", "1-2", "1-9", "North"),
        ("one|two", "p", "", "1-9", "x"),
        ("two", "c", "1-3", "1-8", ""),
    ]


def test_both_layouts_merge_into_one_row_per_location(tmp_path: Path) -> None:
    files = []
    for source in ("homecare", "carehomes", "directory"):
        (tmp_path / source).write_bytes(text_of(source, 100, 1).encode())
        files.append((source, tmp_path / source))
    write_merged(files, tmp_path / "merged")
    found = read(tmp_path / "merged")
    locations = Counter(line["CQC Location ID (for office use only)"] for line in found)
    assert locations.pop("") == 7  # providers' own records, each once
    assert set(locations.values()) == {1}
    wanted = {row[8] for source, path in files[:2] for row in Table(path) if row[8]}
    assert locations.keys() == wanted | {row[13] for row in Table(files[2][1])}
    assert "homecare|carehomes|directory" in {line["source"] for line in found}


# --- formulas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["=1+1", "+44 1632", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"])
def test_nothing_in_a_derived_file_begins_a_formula(cell: str, tmp_path: Path) -> None:
    assert guarded(cell) == f"'{cell}"
    before = saved(tmp_path / "before", [["a", "1-1", "1-9", cell]])
    after = saved(tmp_path / "after", [["a", "1-1", "1-9", f"{cell}!"], [cell, "1-2", "1-9", ""]])
    write_changes(before, after, tmp_path / "changes")
    write_merged([("s", after)], tmp_path / "merged")
    for name in ("changes", "merged"):
        for line in read(tmp_path / name):
            assert all(value == guarded(value) for value in line.values())


@pytest.mark.parametrize("cell", ["", " x", "'quoted", "#1", "(a)", "01632 960001", "https://www.example.org/a=b"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert guarded(cell) == cell
