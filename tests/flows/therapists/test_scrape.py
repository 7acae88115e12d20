"""A file and its entries, without any database: both layouts, what is broken, and the canonical form."""

from __future__ import annotations

import io
import json
import tracemalloc
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.practice.therapists.files import Scrape, ScrapeFile, Unreadable, entries, scrape_of
from dataflows.flows.practice.therapists.record import Broken, TherapistEntry, item_of
from dataflows.store.json_bounds import BoundedText, _Depths, _outside_strings
from tests.flows.therapists.world import moment, older_scrape, scrape, therapist


def source(content: Any) -> ScrapeFile:
    """A file with this content."""
    return ScrapeFile(io.BytesIO(content if isinstance(content, bytes) else json.dumps(content).encode()))


def entry(**fields: Any) -> TherapistEntry:
    """The record of a therapist with these fields."""
    made = item_of(0, therapist(**fields))
    assert isinstance(made, TherapistEntry)
    return made


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "broken_off"),
        (b'{"therapists": [{"id": 1}', "broken_off"),
        (b'{"therapists": []} and more', "not_json"),
        (b"\0\0\0\0", "not_json"),
        (b'{"therapists": [{"id": "\xff"}]}', "iso_8859_1"),
        ('{"therapists": [{"id": "M\u00fcller \u2013"}]}'.encode("cp1252"), "windows_1252"),
        ('{"therapists": [{"id": "M\u00fcller"}]}'.encode("utf-16"), "utf_16"),
        ('{"therapists": [{"id": "M\u00fcller"}]}'.encode("utf-16-be"), "utf_16"),
        (b'{"metadata": {}}', "no_therapists"),
        (b"[]", "no_therapists"),
        (b'{"therapists": {"id": 1}}', "no_therapists"),
        (b"[" * 200_000, "broken_off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_none_says_why(content: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as error:
        list(entries(source(content)))
    assert error.value.code == code
    assert error.value.__suppress_context__ or error.value.__context__ is None  # the parser's words quote the file


def test_what_a_file_says_of_itself() -> None:
    said = scrape_of(source(scrape(total_therapists=3, deleted_therapists=1)))
    assert said == Scrape(moment("2025-07-02T03:13:24.425211"), "52XXX", {"total": 3, "deleted": 1})


def test_what_a_file_of_the_older_layout_says_of_itself() -> None:
    assert scrape_of(source(older_scrape())) == Scrape(moment("2025-07-02T03:13:24"), None, {"total": 0})


def test_a_date_in_another_form_is_said() -> None:
    assert scrape_of(source({"metadata": {"scrape_date": "02.07.2025 03:13"}})) == Scrape(None, None, {}, odd_date=True)


@pytest.mark.parametrize("content", [{"therapists": []}, {"metadata": None}, {"metadata": {"scrape_date": ""}}])
def test_a_file_may_say_nothing_of_itself(content: dict[str, Any]) -> None:
    assert scrape_of(source(content)) == Scrape(None, None, {})


@pytest.mark.parametrize("area", [" ", "52\0XXX", "5" * 51, ["52XXX"]])
def test_an_area_that_cannot_be_one_is_not_believed(area: Any) -> None:
    assert scrape_of(source({"metadata": {"postcode_area": area}})).area is None


def test_the_hash_is_there_also_of_a_file_that_cannot_be_parsed() -> None:
    assert len(source(b"9" * 5000).sha256()) == 64


def test_a_time_with_a_zone_is_that_moment() -> None:
    said = scrape_of(source({"metadata": {"scrape_date": "2025-07-02T05:00:00+02:00"}}))
    assert said.date == moment("2025-07-02T03:00")


def test_the_hash_is_that_of_the_bytes() -> None:
    one, other = source(b"\xef\xbb\xbf{}"), source(b"{}")
    assert one.sha256() != other.sha256()
    assert other.read() == b""
    assert other.rewind().read() == b"{}"


@pytest.mark.parametrize(
    ("raw", "broken"),
    [
        ("text", Broken(7, "no_object")),
        (therapist(first=""), Broken(7, "no_name", "basic_info.first_name")),
        (therapist(last=" "), Broken(7, "no_name", "basic_info.last_name")),
        (therapist(city=["Aachen"]), Broken(7, "wrong_type", "location.city")),
        (therapist(title=True), Broken(7, "wrong_type", "basic_info.title")),
        (therapist() | {"contact": "none"}, Broken(7, "wrong_type", "contact")),
        (therapist(languages={"de": 1}), Broken(7, "wrong_type", "languages")),
        (therapist(source_id=None, postal_code=None), Broken(7, "no_identity", "location.postal_code")),
        (therapist(rank="a\ud800b"), Broken(7, "unstorable")),
        (therapist(text="a\0b"), Broken(7, "nul_character")),
        (therapist(deep=json.loads("[" * 300 + "1" + "]" * 300)), Broken(7, "too_deep", "extra")),
        (therapist(languages=json.loads("[" * 900 + "]" * 900)), Broken(7, "too_deep", "languages")),
        (therapist(rank=10**5000), Broken(7, "number_too_large", "extra")),
        (therapist(city="x" * 10_001), Broken(7, "too_long", "location.city")),
        (therapist(city=10**5000), Broken(7, "number_too_large", "location.city")),
        (therapist("x" * 201), Broken(7, "too_long", "basic_info.first_name")),
        (therapist(source_id="p" * 201), Broken(7, "too_long", "id")),
        (therapist(source_id="praxis\0"), Broken(7, "nul_character", "id")),
    ],
    ids=lambda value: value.code if isinstance(value, Broken) else "",
)
def test_an_entry_that_cannot_be_taken_says_where(raw: Any, broken: Broken) -> None:
    assert item_of(7, raw) == broken


def between(value: bytes) -> list[Any]:
    """What becomes of three entries, when the second one has this for its field ``rank``."""
    middle = json.dumps(therapist("Eva", rank="@")).encode().replace(b'"@"', value)
    around = json.dumps(scrape(therapist(), "@", therapist("Anna"))).encode()
    return list(entries(source(around.replace(b'"@"', middle))))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
        (b"[" * 62 + b"]" * 62, "too_deep"),
        (b'"' + b"x" * 3_000_000 + b'"', "too_long"),
        (b'"' + b'\\"\\u00e9' * 300_000 + b'"', "too_long"),
        (b"9" * 3_000_000, "too_long"),
        (b'"a\\ud800b"', "unstorable"),
        (b'"\\ud83d\\ud83d\\ude00"', "unstorable"),
        (b'{"\\udc00": 1}', "unstorable"),
        (b'"\xed\xb0\x80"', "unstorable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_entry_beyond_all_bounds_is_refused_and_the_others_go_on(value: bytes, code: str) -> None:
    first, broken, last = between(value)
    assert broken == Broken(1, code)
    assert (first.values["first_name"], last.values["first_name"]) == ("Thomas", "Anna")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"1180591620717411303424", "1180591620717411303424"),
        (b"9" * 5000, "9" * 5000),
        (b" " * 70_000 + b"-" + b"9" * 5000, "-" + "9" * 5000),
        (b"1e999", "1E+999"),
        (b"1e99999999999999999999", "1e99999999999999999999"),
        (b'"\\ud83d\\ude00 \\\\ud800"', "\N{GRINNING FACE} \\ud800"),
        (b"18446744073709551615", 2**64 - 1),
        (b"1.5", 1.5),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_oversized_number_of_an_unknown_field_is_kept_as_it_was_sent(value: bytes, kept: Any) -> None:
    assert between(value)[1].values["extra"] == {"rank": kept}


def test_brackets_take_no_memory() -> None:
    deep = source(json.dumps(scrape("@")).encode().replace(b'"@"', b'{"a":' * 200_000 + b"1" + b"}" * 200_000))
    tracemalloc.start()
    try:
        assert list(entries(deep)) == [Broken(0, "too_deep")]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


PIECES = st.lists(
    st.sampled_from(
        [b'"', b"\\", b'\\"', b"[", b"]", b"{", b"}", b"12", b"e", b"\\ud800", b"\\ude00", b"x", b" ", b","]
    ),
    max_size=40,
).map(b"".join)


@given(PIECES, st.integers(1, 7))
def test_what_is_within_bounds_passes_as_it_is_however_it_is_cut(data: bytes, size: int) -> None:
    stream = io.BytesIO(data)
    text = BoundedText(lambda _: stream.read(size))
    passed = b"".join(iter(lambda: text.read(size), b""))
    if not text.has_marks:
        assert passed == data


@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(),
        lambda of: st.lists(of) | st.dictionaries(st.text(max_size=3), of),
    )
)
def test_the_depth_is_that_of_the_value(value: Any) -> None:
    def levels(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(levels, inner), default=0)

    data = json.dumps(value).encode()
    assert _Depths().take(_outside_strings(data)[1]) == levels(value)


def test_a_postcode_that_is_a_number_keeps_its_zero() -> None:
    assert entry(postal_code=1067, house_number=7).values["postal_code"] == "01067"


def test_what_looks_like_an_escaped_nul_is_none() -> None:
    assert entry(text="\\u0000").values["extra"] == {"text": "\\u0000"}


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
JSONS = st.recursive(st.none() | st.booleans() | st.integers(-1000, 1000) | TEXTS, st.lists, max_leaves=5)


@given(st.lists(TEXTS, max_size=4), st.dictionaries(TEXTS, JSONS, max_size=3), st.randoms(use_true_random=False))
def test_order_blanks_normal_forms_and_status_never_change_the_hash(languages: Any, hours: Any, rng: Any) -> None:
    shuffled = [f" {unicodedata.normalize('NFD', one)} " for one in languages]
    rng.shuffle(shuffled)
    turned = dict(reversed(hours.items()))
    one = entry(languages=languages, telephone_hours=hours)
    other = entry(languages=shuffled, telephone_hours=turned, status="modified", last_modified="2025", source_id="x")
    assert one.content_hash == other.content_hash


@given(st.sampled_from(["phone", "city", "title", "first", "street"]), TEXTS.filter(str.strip))
def test_another_value_changes_the_hash(field: str, value: str) -> None:
    changed: dict[str, Any] = {field: value + "x"}
    assert entry(**changed).content_hash != entry().content_hash


@given(TEXTS.filter(str.strip), TEXTS.filter(str.strip))
def test_the_natural_key_ignores_case_blanks_and_normal_forms(first: str, last: str) -> None:
    same = entry(first=f" {unicodedata.normalize('NFD', first)}", last=unicodedata.normalize("NFD", last) + " ")
    assert same.natural_key == entry(first=first, last=last).natural_key
