"""What a file has to hold. Messages name field and rule, never a value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.practice.patients.fields import NotARegistration
from dataflows.flows.practice.patients.registration import Registration, read
from tests.flows.patients.world import TOKEN, registration, written

MAX = 5 * 1024 * 1024


def taken(body: Any, token: str | None = TOKEN) -> Registration:
    return read(written(body), max_bytes=MAX, token=token)


def refused(data: bytes | Any) -> tuple[str, str]:
    with pytest.raises(NotARegistration) as found:
        read(data if isinstance(data, bytes) else written(data), max_bytes=MAX)
    assert found.value.__context__ is None  # what led to it would quote the file
    return found.value.code, found.value.message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_json"), (b"{", "not_json"), (b"[]", "not_json"), (b'"x"', "not_json"), (b"\xff\xfe{", "not_json"),
        (b'{"a": NaN}', "not_json"), (b'{"a": 1, "a": 2}', "repeated_field"),
        (b'{"patient_data": {"email": "", "email": ""}}', "repeated_field"),
        (b"[" * 100_000, "unstorable"), (b'{"a":' * 65 + b"1" + b"}" * 65, "unstorable"),
        (b"[" + b"{}," * 1_600_000 + b"{}]", "unstorable"), (b'{"a": 1' + b"0" * 5_000 + b"}", "unstorable"),
        (b'{"a":' * 64 + b"1" + b"}" * 64, "invalid"), ("{\"a\": \"\u00fc\"}".encode("utf-16"), "not_json"),
        (b'{"a": "\\u0000"}', "unstorable"), (b'{"a": "\\ud800"}', "unstorable"), (b'{"a\\u0000": 1}', "unstorable"),
        (b'{"a": 1e999}', "unstorable"), (b'{"a": ' + b"9" * 400 + b"}", "unstorable"),
        (b'{"a": 9223372036854775808}', "unstorable"),
        (b"{}", "invalid"), (b'{"patient_data": []}', "invalid"), (b'{"patient_data": null}', "invalid"),
    ],
)  # fmt: skip
def test_what_is_no_registration(data: bytes, code: str) -> None:
    assert refused(data)[0] == code


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-16", "UTF-16"), ("cp1252", "Windows-1252"), ("latin-1", "ISO-8859-1")]
)
def test_another_encoding_is_named(encoding: str, name: str) -> None:
    text = json.dumps(registration("J\u00f6rg"), ensure_ascii=False) + (" \u2013" if encoding == "cp1252" else "")
    assert refused(text.encode(encoding)) == ("not_json", f"is encoded as {name} instead of UTF-8")


@pytest.mark.parametrize("name", ["anrede", "geschlecht", "vorname", "nachname"])
def test_what_is_required(name: str) -> None:
    body = registration()
    del body["patient_data"][name]
    assert refused(body) == ("invalid", f"patient_data.{name}: is missing")
    for nothing in ("", "  ", None, 7):
        body["patient_data"][name] = nothing
        assert refused(body)[0] == "invalid"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("anrede", "Dr.", "has to be one of Herr or Frau"),
        ("geschlecht", "m", "has to be one of männlich, weiblich, divers or keine_Angabe"),
        ("vorname", "x" * 201, "is longer than 200 characters"),
        ("vorname", " ", "is empty"),
        ("plz", 52074, "has to be text"),
        ("email", "nobody", "has to be an e-mail address"),
        ("geburtsdatum", "1.1.2000", "has to be a date, YYYY-MM-DD"),
        ("geburtsdatum", "2000-02-30", "has to be a date, YYYY-MM-DD"),
        ("geburtsdatum", 20000101, "has to be a date, YYYY-MM-DD"),
        ("offen_fuer_diga", "ja", "has to be true or false"),
        ("offen_fuer_diga", 1, "has to be true or false"),
        ("verkehrsmittel", "Rad", "has to be one of Auto or ÖPNV"),
        ("raeumliche_verfuegbarkeit", "30 km", "has to be an object"),
        ("ausgeschlossene_therapeuten", "x", "has to be a list"),
    ],
)
def test_the_rule_that_a_field_breaks(field: str, value: Any, rule: str) -> None:
    body = registration()
    body["patient_data"][field] = value
    assert refused(body) == ("invalid", f"patient_data.{field}: {rule}")


def test_all_fields_that_are_wrong_are_named() -> None:
    _, message = refused(registration(anrede="x", plz=1, symptome={"a": 1}))
    assert [part.partition(":")[0] for part in message.split("; ")] == [
        "patient_data.anrede", "patient_data.plz", "patient_data.symptome",
    ]  # fmt: skip


def test_what_is_empty_counts_as_absent() -> None:
    found = taken(registration(telefon="", ort="  ", symptome=[], zeitliche_verfuegbarkeit={}, offen_fuer_diga=""))
    assert not {"telefon", "ort", "symptome", "zeitliche_verfuegbarkeit", "offen_fuer_diga"} & found.fields.keys()


def test_false_is_not_empty() -> None:
    assert taken(registration(offen_fuer_diga=False)).fields["offen_fuer_diga"] is False


def test_texts_are_trimmed_and_composed() -> None:
    found = taken(registration(" Jo\u0308rg ", email=None, verkehrsmittel="O\u0308PNV", geschlecht="ma\u0308nnlich"))
    assert (found.fields["vorname"], found.fields["verkehrsmittel"]) == ("J\u00f6rg", "\u00d6PNV")
    assert found.document["patient_data"]["vorname"] == " Jo\u0308rg "


def test_the_key_of_the_form_stands_for_the_field() -> None:
    assert taken(registration(hat_ptv11=True)).fields["psychotherapeutische_sprechstunde"] is True
    both = taken(registration(hat_ptv11=True, psychotherapeutische_sprechstunde=True))
    assert (both.extra, both.warnings) == ({}, ())
    differing = taken(registration(hat_ptv11=True, psychotherapeutische_sprechstunde=False))
    assert differing.fields["psychotherapeutische_sprechstunde"] is False
    assert (differing.extra, differing.warnings[0]) == ({"hat_ptv11": True}, "form_key_differs")


@pytest.mark.parametrize("token", ["0B1AB67B", None])
def test_tokens_that_agree(token: str | None) -> None:
    assert taken(registration(), token).warnings == ()


@pytest.mark.parametrize("sent", ["ffffffff", None, ""])
def test_tokens_that_differ(sent: str | None) -> None:
    assert "token_differs" in taken({**registration(), "registration_token": sent}).warnings


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-07-05T14:33:55Z", datetime(2025, 7, 5, 14, 33, 55, tzinfo=UTC)),
        ("2025-07-05 14:33:55", datetime(2025, 7, 5, 14, 33, 55, tzinfo=UTC)),
        ("2025-07-05T16:33:55+02:00", datetime(2025, 7, 5, 14, 33, 55, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_utc(text: str, moment: datetime) -> None:
    assert taken({**registration(), "consent_metadata": {"timestamp_utc": text}}).registered_at == moment


@pytest.mark.parametrize("text", ["", "yesterday", 17, None, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_times_that_nobody_can_read(text: object) -> None:
    body = {**registration(), "consent_metadata": {"timestamp_utc": text}}
    assert taken(body).registered_by == "body"
    assert taken({**body, "registration_timestamp": None}).registered_by == "object"


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read(b"\xef\xbb\xbf" + written(registration()), max_bytes=MAX).fields["nachname"] == "Mustermann"


def test_too_large() -> None:
    with pytest.raises(NotARegistration, match="PATIENT_MAX_BYTES"):
        read(b"{}", max_bytes=1)


def test_names_of_unknown_fields_are_shown_where_they_tell_nothing() -> None:
    extra = {"neue_frage": 1, "Neue Frage": 2, "mustermann_hat": 3, "x" * 41: 4, "frage_2": "blau", "blau_gelb": 5}
    body = registration()
    body["patient_data"] |= extra
    found = taken(body)
    assert found.extra == extra
    assert found.unknown == ("frage_2", "neue_frage")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["plz", "email", "symptome", "geburtsdatum", "anrede", "x", "hat_ptv11"]), JUNK))
def test_whatever_comes_is_taken_or_refused_without_a_value(data: dict[str, Any]) -> None:
    body = registration()
    body["patient_data"] |= data
    try:
        found = read(json.dumps(body).encode(), max_bytes=MAX)
    except NotARegistration as error:
        texts = [value for value in data.values() if isinstance(value, str) and len(value) > 4]
        assert not any(text in error.message for text in texts if text not in "patient_data.geburtsdatum")
    else:
        assert found.fields.keys() | found.extra.keys() <= {*body["patient_data"], "psychotherapeutische_sprechstunde"}
