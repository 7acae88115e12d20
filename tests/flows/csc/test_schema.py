"""A new version of DfE's schema is a file: what is taken from it, what is refused, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.document import read_document
from dataflows.flows.csc.schema import ChildSchema, built_in, differences, load_schema
from tests.flows.csc.children import child, episode
from tests.flows.csc.schemas import DFE_FILE, SCHEMAS, dfe_document, grown_document, record, schema

Document = dict[str, Any]
GROWN = SCHEMAS["grown"]


def file(folder: Path, document: object) -> Path:
    """A document as a file."""
    path = folder / "openapi Übung.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_the_built_in_rules_are_those_of_dfe_own_document() -> None:
    theirs = load_schema(DFE_FILE)
    assert (theirs.version, theirs.source) == ("1.0.1", DFE_FILE)
    assert differences(built_in(), theirs) == differences(theirs, built_in()) == []
    assert load_schema(None) is built_in()


def test_a_grown_document_is_told_by_what_it_has_besides() -> None:
    assert differences(built_in(), GROWN) == [
        "social_care_episodes[].closure_note_code is new",
        "social_care_episodes[].family_meetings is new",
        "social_care_episodes[].family_meetings[] is new",
        "social_care_episodes[].family_meetings[].family_meeting_id is new",
        "social_care_episodes[].family_meetings[].held_on is new",
        "social_care_episodes[].family_meetings[].topics is new",
        "social_care_episodes[].family_meetings[].topics[] is new",
        "social_care_episodes[].family_meetings[].purge is new",
        "social_care_episodes[].court_order is new",
        "social_care_episodes[].court_order.order_code is new",
        "social_care_episodes[].court_order.granted_on is new",
        "social_care_episodes[].care_worker_details[].worker_id: pattern is ^[A-Za-z0-9._-]*$, was ^[A-Za-z0-9_-]*$",
    ]
    assert "social_care_episodes[].court_order is gone" in differences(GROWN, built_in())


def test_what_has_grown_is_taken() -> None:
    one = episode("e1", closure_note_code="7", family_meetings=[{"family_meeting_id": "f1", "topics": ["A"]}])
    one["care_worker_details"] = [{"worker_id": "w.1"}]
    payload = child(1, social_care_episodes=[one])

    assert GROWN.problems(payload) == []
    assert {problem.path for problem in built_in().problems(payload)} == {
        "social_care_episodes[0].care_worker_details[0].worker_id",
        "social_care_episodes[0].(unknown name)",
    }
    meetings = GROWN.kind.listed["social_care_episodes"].listed["family_meetings"]
    assert (meetings.id_field, meetings.plain_lists, meetings.purgeable) == ("family_meeting_id", ("topics",), True)


def test_the_names_in_an_answer_are_those_of_the_document() -> None:
    text = "[0].social_care_episodes[2].court_order.granted_on: Zq7; child_details.sex"
    assert GROWN.attribute_paths(text) == ["child_details.sex", "social_care_episodes[2].court_order.granted_on"]


@pytest.mark.parametrize(("value", "good"), [("A1", True), ("A" * 20, True), ("A" * 21, False), ("A-1", False)])
def test_an_identifier_alone_can_be_judged(value: str, good: bool) -> None:
    assert built_in().accepts("la_child_id", value) is good


@pytest.mark.parametrize("value", [None, 7, ["A1"], {}])
def test_what_is_no_text_is_no_identifier(value: object) -> None:
    assert not built_in().accepts("la_child_id", value)
    assert not built_in().accepts("another_id", "A1")


def looser(document: Document) -> None:
    record(document)["la_child_id"] |= {"pattern": "^[A-Za-z0-9_-]*$", "maxLength": 36}


def by_reference(document: Document) -> None:
    document["components"]["schemas"]["Details"] = record(document)["child_details"]
    record(document)["child_details"] = {"$ref": "#/components/schemas/Details"}


def as_3_1_does(document: Document) -> None:
    document["openapi"] = "3.1.0"
    record(document)["mis_child_id"] |= {"type": ["string", "null"], "examples": ["m"]}


def explained(document: Document) -> None:
    record(document)["child_details"] |= {"x-owner": "DfE", "nullable": True, "deprecated": False}


@pytest.mark.parametrize("change", [looser, by_reference, as_3_1_does, explained])
def test_what_documents_may_say(tmp_path: Path, change: Callable[[Document], None]) -> None:
    document = dfe_document()
    change(document)
    found = load_schema(file(tmp_path, document))
    assert found.problems(child(1)) == []
    assert [str(one) for one in found.problems({"la_child_id": "A1", "mis_child_id": None})] == [
        "mis_child_id must not be null"
    ]


def test_codes_and_bounds(tmp_path: Path) -> None:
    document = dfe_document()
    details = record(document)["child_details"]["properties"]
    details["sex"]["enum"] = ["F", "M"]
    details["surname"] |= {"minLength": 2, "pattern": r"^\D\w+$"}
    details["disabilities"]["minItems"] = 1
    details["height"] = {"type": "number", "minimum": 0.5, "maximum": 3}
    details["siblings"] = {"type": "integer", "minimum": 0, "maximum": 40}
    details["pairs"] = {
        "type": "array",
        "uniqueItems": True,
        "items": {"type": "object", "properties": {"a": {**details["sex"]}}},
    }
    found = load_schema(file(tmp_path, document))
    good = {"sex": "F", "surname": "Ab", "height": 1, "siblings": 0, "disabilities": ["A"], "pairs": [{"a": "F"}, {}]}
    assert found.problems({"la_child_id": "A1", "child_details": good}) == []
    bad = {"sex": "Z", "surname": "Zé", "height": 4, "siblings": -1, "disabilities": [], "pairs": [{}, {}]}
    assert [str(one) for one in found.problems({"la_child_id": "A1", "child_details": bad})] == [
        r"child_details.surname must match ^[^0-9][A-Za-z0-9_]+$",
        "child_details.sex is not one of the values that are allowed",
        "child_details.disabilities must have at least 1 item",
        "child_details.height must be at most 3",
        "child_details.siblings must be at least 0",
        "child_details.pairs must not contain an item twice",
    ]
    short = {"la_child_id": "A1", "child_details": {"surname": "Z", "height": "Z"}}
    assert [str(one) for one in found.problems(short)] == [
        "child_details.surname must have at least 2 characters",
        "child_details.height must be a number",
    ]


def without_purge(document: Document) -> None:
    del record(document)["purge"]


def without_id(document: Document) -> None:
    document["components"]["schemas"]["CSC"]["items"]["required"] = []


def without_version(document: Document) -> None:
    del document["info"]


def without_record(document: Document) -> None:
    document["components"]["schemas"] = {"Child": document["components"]["schemas"]["CSC"]}


def choice_of_shapes(document: Document) -> None:
    record(document)["child_details"] |= {"oneOf": [{"type": "object"}]}


def endless(document: Document) -> None:
    document["components"]["schemas"]["Again"] = {
        "type": "object",
        "properties": {"again": {"$ref": "#/components/schemas/Again"}},
    }
    record(document)["again"] = {"$ref": "#/components/schemas/Again"}


def circular(document: Document) -> None:
    document["components"]["schemas"]["Again"] = {"$ref": "#/components/schemas/Again"}
    record(document)["again"] = {"$ref": "#/components/schemas/Again"}


def elsewhere(document: Document) -> None:
    record(document)["again"] = {"$ref": "https://example.org/schema.json"}


def look_ahead(document: Document) -> None:
    record(document)["mis_child_id"]["pattern"] = "^(?!x).*$"


def odd_length(document: Document) -> None:
    record(document)["mis_child_id"]["maxLength"] = "36"


def no_type(document: Document) -> None:
    del record(document)["mis_child_id"]["type"]


def too_many(document: Document) -> None:
    record(document).update({f"code_{n}": {"type": "string"} for n in range(6000)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_purge, "does not describe a child with la_child_id and purge"),
        (without_id, "does not describe a child with la_child_id and purge"),
        (without_version, "does not give its version"),
        (without_record, "has no components.schemas.CSC.items"),
        (choice_of_shapes, "restricts child_details by oneOf, which is not supported"),
        (endless, "refers to itself"),
        (circular, "describes again by nothing that can be read"),
        (elsewhere, "describes again by nothing that can be read"),
        (look_ahead, r"a pattern that cannot be used: ^(?!x).*$"),
        (odd_length, "gives mis_child_id a maxLength that is not a number"),
        (no_type, "does not say of which type mis_child_id is"),
        (too_many, "is nested too deeply, or refers to itself"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: Callable[[Document], None], words: str) -> None:
    document = grown_document()
    change(document)
    with pytest.raises(SettingUnusable) as caught:
        load_schema(file(tmp_path, document))
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'"text"', b"{", b"\xff\xfe", b"[" * 2000, b'{"info": {"version": "1\\n2"}}']
)
def test_what_is_no_document(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "openapi.json"
    path.write_bytes(text)
    with pytest.raises(SettingUnusable, match="schema document"):
        read_document(path)


def test_a_file_that_is_not_there_and_one_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(SettingUnusable, match="cannot be read"):
        read_document(tmp_path / "none.json")
    with pytest.raises(SettingUnusable, match="cannot be read"):
        read_document(tmp_path)
    large = tmp_path / "large.json"
    with large.open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)
    with pytest.raises(SettingUnusable, match="larger than 4 MB"):
        read_document(large)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_bytes(b"\xef\xbb\xbf" + DFE_FILE.read_bytes())
    assert load_schema(path).version == "1.0.1"


def test_two_lists_of_which_only_one_can_be_told_apart() -> None:
    document = grown_document()
    meeting = record(document)["social_care_episodes"]["items"]["properties"]["family_meetings"]["items"]
    meeting["required"] = ["family_meeting_id", "held_on"]
    assert "family_meetings" in _episode(schema(document)).listed
    meeting["required"] = []
    assert "family_meetings" in _episode(schema(document)).plain_lists


def _episode(found: ChildSchema) -> Any:
    return found.kind.listed["social_care_episodes"]
