"""Records and rows as multisets of exact text, and the ids of batches."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.hospitals.batch_rows import match, unexplained
from dataflows.flows.hospitals.records import DirectoryRecord
from dataflows.flows.hospitals.rows import Hospital, HospitalRow, directory_address, portions, rows_key, upload_key

texts = st.builds(Hospital, st.sampled_from(["Clinic A", "clinic A", "Clinic A "]), st.just("1 Road"), st.none())
files = st.lists(texts, max_size=6)
ids = st.lists(st.integers(1, 50), unique=True, max_size=8)


@st.composite
def held(draw: st.DrawFn) -> list[DirectoryRecord]:
    return [DirectoryRecord(number, draw(texts), draw(st.booleans())) for number in draw(ids)]


@given(hospitals=files, records=held())
def test_every_record_is_kept_surplus_or_foreign(hospitals: list[Hospital], records: list[DirectoryRecord]) -> None:
    found = match(hospitals, records, {})
    assert sorted([*found.kept.values(), *found.surplus, *found.foreign]) == sorted(records)
    assert sorted([*found.kept, *found.absent]) == list(range(len(hospitals)))


@given(hospitals=files, records=held())
def test_a_row_keeps_only_exactly_its_own_text(hospitals: list[Hospital], records: list[DirectoryRecord]) -> None:
    found = match(hospitals, records, {})
    assert all(record.hospital == hospitals[place] for place, record in found.kept.items())
    assert all(record.hospital in hospitals for record in found.surplus)
    assert all(record.hospital not in hospitals for record in found.foreign)


@given(hospitals=files, records=held())
def test_as_many_are_kept_as_both_sides_have(hospitals: list[Hospital], records: list[DirectoryRecord]) -> None:
    found = match(hospitals, records, {})
    common = Counter(hospitals) & Counter(record.hospital for record in records)
    assert Counter(record.hospital for record in found.kept.values()) == common


@given(hospitals=files, records=held())
def test_of_equal_copies_active_ones_stay_and_then_the_lowest_ids(
    hospitals: list[Hospital], records: list[DirectoryRecord]
) -> None:
    found = match(hospitals, records, {})
    for gone in found.surplus:
        twins = [one for one in found.kept.values() if one.hospital == gone.hospital]
        assert all((not twin.active, twin.id) < (not gone.active, gone.id) for twin in twins)


def test_a_row_keeps_the_record_that_it_was_told_of() -> None:
    twins = [Hospital("Clinic A", "1 Road", None)] * 3
    records = [DirectoryRecord(number, twins[0], False) for number in (4, 5, 6)]
    found = match(twins, records, {0: 6, 2: 4})
    assert {place: record.id for place, record in found.kept.items()} == {0: 6, 1: 5, 2: 4}


@given(records=held(), known_ids=st.sets(st.integers(1, 50)), unanswered=st.dictionaries(texts, st.integers(0, 3)))
def test_what_is_unexplained_is_neither_familiar_nor_owed(
    records: list[DirectoryRecord], known_ids: set[int], unanswered: dict[Hospital, int]
) -> None:
    found = unexplained(records, known_ids, unanswered)
    new = Counter(record.hospital for record in records if record.id not in known_ids)
    assert Counter(record.hospital for record in found) == new - Counter(unanswered)


HERE = "https://directory.example.org"
ROWS = [HospitalRow(number, Hospital(f"Clinic {number % 2}", "1 Road", None)) for number in range(1, 9)]


@given(size=st.integers(1, 9), occurrence=st.integers(0, 2))
def test_all_batches_of_a_file_have_different_ids(size: int, occurrence: int) -> None:
    found = [one.batch_id for one in portions(HERE, ROWS, size, occurrence)]
    assert len(set(found)) == len(found)


def test_an_id_depends_on_rows_order_occurrence_and_directory() -> None:
    first = portions(HERE, ROWS, 20)[0].batch_id
    others = [
        portions(HERE, ROWS[:-1], 20)[0].batch_id,
        portions(HERE, ROWS[::-1], 20)[0].batch_id,
        portions(HERE, ROWS, 20, 1)[0].batch_id,
        portions(f"{HERE}/test", ROWS, 20)[0].batch_id,
    ]
    assert len({first, *others}) == 5
    assert portions(HERE, [HospitalRow(row.number + 1, row.hospital) for row in ROWS], 20)[0].batch_id == first


def test_ids_stay_what_they_are_from_version_to_version() -> None:
    row = HospitalRow(1, Hospital("Klinik Süd", "1 Road, Exampleton", "01632 960001"))
    assert portions(HERE, [row], 20)[0].batch_id == "3cbcbea5-4593-5eea-bd07-6dec52c9dc81"


def test_the_name_of_an_upload_knows_the_batches_and_that_of_the_rows_does_not() -> None:
    assert upload_key(HERE, ROWS, 3) != upload_key(HERE, ROWS, 4)
    assert rows_key(HERE, ROWS) == rows_key(HERE, list(ROWS))


def test_one_directory_has_one_address() -> None:
    written = ["https://Directory.example.org/", "https://directory.example.org:443", "https://directory.example.org"]
    assert {directory_address(one) for one in written} == {HERE}
