"""Every rule of the attribute table, broken one at a time."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc.attributes import RuleViolation
from dataflows.flows.csc.schema import (
    ChildSchema,
    ObjectKind,
    attribute_paths,
    canonical,
    parse,
    payload_hash,
)
from tests.flows.csc.schemas import SCHEMAS
from tests.flows.csc.strategies import children

LETTERS = "must be one or more of A-Z a-z 0-9"
DASHES = "must match A-Z a-z 0-9 _ -"
TEXT = "must be text"
FLAG = "must be true or false"
WHOLE = "must be a whole number"
DAY = "is not a real date YYYY-MM-DD"
OBJECT = "must be an object"
LIST = "must be a list"
THIRTEEN = "must have exactly 13 characters"
TWICE = "must not contain an item twice"
ID_TWICE = "appears twice in its list"
UNKNOWN = "is not a known attribute"
NULL = "must not be null"
REQUIRED = "is required"


def at_most(number: int, what: str = "characters") -> str:
    return f"must have at most {number} {what}".replace(" 1 characters", " 1 character")


def full_child() -> dict[str, Any]:
    """One child that uses every attribute once (synthetic)."""
    day = "2024-02-29"
    spell = {"start_date": day, "end_date": day, "purge": False}
    return {
        "la_child_id": "SYN1",
        "mis_child_id": "syn_mis-1",
        "purge": False,
        "child_details": {
            "unique_pupil_number": "SYNTHETIC0001",
            "former_unique_pupil_number": "SYNTHETIC0002",
            "unique_pupil_number_unknown_reason": "UN1",
            "first_name": "Synthetic-A1",
            "surname": "Synthetic-B1",
            "date_of_birth": day,
            "expected_date_of_birth": day,
            "sex": "F",
            "ethnicity": "WBRI",
            "disabilities": ["HAND", "VIS"],
            "postcode": "ZZ99 3CZ",
            "uasc_flag": True,
            "uasc_end_date": day,
            "purge": False,
        },
        "health_and_wellbeing": {"sdq_assessments": [{"date": day, "score": 12}], "purge": False},
        "social_care_episodes": [
            {
                "social_care_episode_id": "syn-ep-1",
                "referral_date": day,
                "referral_source": "1C",
                "closure_date": day,
                "closure_reason": "RC1",
                "referral_no_further_action_flag": False,
                "purge": False,
                "care_worker_details": [{"worker_id": "syn-w-1", "start_date": day, "end_date": day}],
                "child_and_family_assessments": [
                    {
                        "child_and_family_assessment_id": "syn-cf-1",
                        "start_date": day,
                        "authorisation_date": day,
                        "factors": ["1A", "2B"],
                        "purge": False,
                    }
                ],
                "child_in_need_plans": [{"child_in_need_plan_id": "syn-cin-1", **spell}],
                "section_47_assessments": [
                    {
                        "section_47_assessment_id": "syn-s47-1",
                        "icpc_required_flag": True,
                        "icpc_date": day,
                        **spell,
                    }
                ],
                "child_protection_plans": [{"child_protection_plan_id": "syn-cp-1", **spell}],
                "child_looked_after_placements": [
                    {
                        "child_looked_after_placement_id": "syn-cla-1",
                        "start_reason": "S",
                        "placement_type": "U1",
                        "postcode": "ZZ99 3CZ",
                        "end_reason": "X1",
                        "change_reason": "CHILD",
                        **spell,
                    }
                ],
                "adoption": {"initial_decision_date": day, "matched_date": day, "placed_date": day, "purge": False},
                "care_leavers": {"contact_date": day, "activity": "F2", "accommodation": "D", "purge": False},
            }
        ],
    }


DETAILS = "child_details"
HEALTH = "health_and_wellbeing"
SCORE = "health_and_wellbeing.sdq_assessments[0]"
EPISODE = "social_care_episodes[0]"
WORKER = f"{EPISODE}.care_worker_details[0]"
ASSESSMENT = f"{EPISODE}.child_and_family_assessments[0]"
NEED = f"{EPISODE}.child_in_need_plans[0]"
S47 = f"{EPISODE}.section_47_assessments[0]"
PROTECTION = f"{EPISODE}.child_protection_plans[0]"
PLACEMENT = f"{EPISODE}.child_looked_after_placements[0]"
ADOPTION = f"{EPISODE}.adoption"
LEAVERS = f"{EPISODE}.care_leavers"

IDS = [
    ("mis_child_id", 36),
    (f"{EPISODE}.social_care_episode_id", 36),
    (f"{WORKER}.worker_id", 12),
    (f"{ASSESSMENT}.child_and_family_assessment_id", 36),
    (f"{NEED}.child_in_need_plan_id", 36),
    (f"{S47}.section_47_assessment_id", 36),
    (f"{PROTECTION}.child_protection_plan_id", 36),
    (f"{PLACEMENT}.child_looked_after_placement_id", 36),
]
TEXTS = [
    (f"{DETAILS}.unique_pupil_number_unknown_reason", 4),
    (f"{DETAILS}.sex", 1),
    (f"{DETAILS}.ethnicity", 4),
    (f"{DETAILS}.postcode", 8),
    (f"{EPISODE}.referral_source", 2),
    (f"{EPISODE}.closure_reason", 3),
    (f"{PLACEMENT}.start_reason", 1),
    (f"{PLACEMENT}.placement_type", 3),
    (f"{PLACEMENT}.postcode", 8),
    (f"{PLACEMENT}.end_reason", 3),
    (f"{PLACEMENT}.change_reason", 6),
    (f"{LEAVERS}.activity", 2),
    (f"{LEAVERS}.accommodation", 1),
]
NAMES = [f"{DETAILS}.first_name", f"{DETAILS}.surname"]
PUPIL_NUMBERS = [f"{DETAILS}.unique_pupil_number", f"{DETAILS}.former_unique_pupil_number"]
DATES = [
    *(f"{DETAILS}.{name}" for name in ("date_of_birth", "expected_date_of_birth", "uasc_end_date")),
    f"{SCORE}.date",
    *(f"{EPISODE}.{name}" for name in ("referral_date", "closure_date")),
    *(f"{at}.{name}" for at in (WORKER, NEED, S47, PROTECTION, PLACEMENT) for name in ("start_date", "end_date")),
    *(f"{ASSESSMENT}.{name}" for name in ("start_date", "authorisation_date")),
    f"{S47}.icpc_date",
    *(f"{ADOPTION}.{name}" for name in ("initial_decision_date", "matched_date", "placed_date")),
    f"{LEAVERS}.contact_date",
]
OBJECTS = [DETAILS, HEALTH, SCORE, EPISODE, WORKER, ASSESSMENT, NEED, S47, PROTECTION, PLACEMENT, ADOPTION, LEAVERS]
PURGEABLE = ["", *(at for at in OBJECTS if at not in (SCORE, WORKER))]
FLAGS = [
    f"{DETAILS}.uasc_flag",
    f"{EPISODE}.referral_no_further_action_flag",
    f"{S47}.icpc_required_flag",
    *(f"{at}.purge".lstrip(".") for at in PURGEABLE),
]
CODES = [(f"{DETAILS}.disabilities", 12, 4), (f"{ASSESSMENT}.factors", 41, 3)]
LISTS = [at.removesuffix("[0]") for at in OBJECTS if at.endswith("[0]")]
SECRET = "Zq7"  # stands in every broken text value below: no problem may repeat it

Case = tuple[str, object, str]
Judge = Callable[[object], list[RuleViolation]]
BROKEN: list[Case] = [
    *((at, 7, TEXT) for at in NAMES),
    *((at, value, THIRTEEN) for at in PUPIL_NUMBERS for value in ("Zq7Zq7Zq7Zq7", "Zq7Zq7Zq7Zq7Zq")),
    *((at, "Zq7" + "x" * (size - 2), at_most(size)) for at, size in [*IDS, ("la_child_id", 20)]),
    *((at, value, DASHES) for at, _ in IDS for value in ("Zq7 x", "Zq7/x", "Zq7é", "Zq7\n")),
    *(("la_child_id", value, LETTERS) for value in ("Zq7 x", "Zq7-x", "Zq7_x", "Zq7é", "Zq7\n", "")),
    *((at, "Zq7Zq7Zq7"[: size + 1], at_most(size)) for at, size in TEXTS),
    *((at, value, DAY) for at in DATES for value in ("2023-02-29", "20240229", "2024-W09-4", "2024-02-29T00:00:00")),
    *((DATES[0], value, DAY) for value in ("0000-01-01", "2024-13-01", "2024-1-01", "٢٠٢٤-٠١-٠١", "2024-02-01\n", "")),
    *((at, value, FLAG) for at in FLAGS for value in ("true", 1, 0)),
    *((f"{SCORE}.score", value, WHOLE) for value in (True, 12.0, "12")),
    *((at, ["Zq7", "Zq7"], TWICE) for at, _, _ in CODES),
    *((at, [str(n) for n in range(most + 1)], at_most(most, "items")) for at, most, _ in CODES),
    *((f"{at}[0]", "Zq7Zq7"[: size + 1], at_most(size)) for at, _, size in CODES),
    *((f"{at}[1]", None, NULL) for at, _, _ in CODES),
    *((at, "Zq7", LIST) for at in [*LISTS, *(at for at, _, _ in CODES)]),
    *((at, ["Zq7"], OBJECT) for at in OBJECTS),
    *((f"{at}.zq_new".lstrip("."), "Zq7", UNKNOWN) for at in ["", *OBJECTS]),
    *((f"{at}.zq_new".lstrip("."), None, UNKNOWN) for at in ["", *OBJECTS]),
    *((f"{at}.purge", True, UNKNOWN) for at in (SCORE, WORKER)),
    *((f"{DETAILS}.adoption", {}, UNKNOWN), ("care_leavers", {}, UNKNOWN)),
]


def leaves() -> list[str]:
    """The path of every attribute and item in the full child."""

    def below(value: object, at: str) -> list[str]:
        if isinstance(value, dict):
            return [p for k, v in value.items() for p in (f"{at}.{k}".lstrip("."), *below(v, f"{at}.{k}"))]
        if isinstance(value, list):
            return [p for n, v in enumerate(value) for p in (f"{at}[{n}]".lstrip("."), *below(v, f"{at}[{n}]"))]
        return []

    return list(dict.fromkeys(below(full_child(), "")))


def steps(path: str) -> list[str | int]:
    """``a[0].b`` as ``["a", 0, "b"]``."""
    parts = path.replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdigit() else part for part in parts]


def broken_at(path: str, value: object) -> dict[str, Any]:
    """The full child with one value changed."""
    child = full_child()
    *way, last = steps(path)
    at: Any = child
    for step in way:
        at = at[step]
    at[last] = value
    return child


@pytest.fixture(params=SCHEMAS, name="schema")
def schema_(request: pytest.FixtureRequest) -> ChildSchema:
    """The rules, from the built-in document, from DfE's own and from one that has grown."""
    return SCHEMAS[request.param]


@pytest.fixture(name="problems")
def problems_(schema: ChildSchema) -> Judge:
    return schema.problems


@pytest.mark.parametrize(("path", "value", "rule"), BROKEN)
def test_one_broken_rule_is_one_problem_at_its_path(schema: ChildSchema, path: str, value: object, rule: str) -> None:
    if path == f"{WORKER}.worker_id" and schema is SCHEMAS["grown"]:
        rule = rule.replace("0-9 _ -", "0-9 . _ -")

    found = schema.problems(broken_at(path, value))

    assert found == [RuleViolation(path.replace("zq_new", "(unknown name)"), rule)]
    assert SECRET not in str(found)


@pytest.mark.parametrize("path", leaves())
def test_nothing_may_be_null(problems: Judge, path: str) -> None:
    assert problems(broken_at(path, None)) == [RuleViolation(path, NULL)]


@pytest.mark.parametrize(
    "path", ["la_child_id", *(at for at, _ in IDS if at not in ("mis_child_id", f"{WORKER}.worker_id"))]
)
def test_ids_are_required(problems: Judge, path: str) -> None:
    child = full_child()
    *way, last = steps(path)
    at: Any = child
    for step in way:
        at = at[step]
    del at[last]

    assert problems(child) == [RuleViolation(path, REQUIRED)]


@pytest.mark.parametrize(
    "path", [at for at in LISTS if at not in (SCORE.removesuffix("[0]"), WORKER.removesuffix("[0]"))]
)
def test_an_id_stands_once_in_its_list(problems: Judge, path: str) -> None:
    child = full_child()
    at: Any = child
    for step in steps(path):
        at = at[step]
    at.append(copy.deepcopy(at[0]))
    id_field = next(name for name in at[0] if name.endswith("_id"))

    assert problems(child) == [RuleViolation(f"{path}[1].{id_field}", ID_TWICE)]


def test_a_worker_may_come_back(problems: Judge) -> None:
    child = full_child()
    workers = child["social_care_episodes"][0]["care_worker_details"]
    workers.append(dict(workers[0]))

    assert problems(child) == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in leaves()
        if not path.endswith(("]", "la_child_id", *(at for at, _ in IDS[1:] if "worker" not in at)))
    ],
)
def test_all_else_may_be_absent(problems: Judge, path: str) -> None:
    child = full_child()
    *way, last = steps(path)
    at: Any = child
    for step in way:
        at = at[step]
    del at[last]

    assert problems(child) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("la_child_id", "Z" * 20),
        ("mis_child_id", ""),
        ("mis_child_id", "_" * 36),
        (f"{WORKER}.worker_id", "-" * 12),
        (f"{DETAILS}.postcode", "é" * 8),
        (f"{DETAILS}.unique_pupil_number", "🙂" * 13),
        (f"{DETAILS}.disabilities", [str(n) for n in range(12)]),
        (f"{DETAILS}.disabilities", []),
        (f"{ASSESSMENT}.factors", [str(n) for n in range(41)]),
        (f"{SCORE}.score", -1),
        ("purge", True),
        ("social_care_episodes", []),
    ],
)
def test_the_edge_of_a_rule_is_allowed(problems: Judge, path: str, value: object) -> None:
    assert problems(broken_at(path, value)) == []


@pytest.mark.parametrize("name", ["Zq7 x", "zq-x", "", "zq\n", "z" * 62, "é", "anna"])
def test_a_strange_name_is_not_repeated(problems: Judge, name: str) -> None:
    child = full_child()
    child["child_details"][name] = "x"

    assert problems(child) == [RuleViolation("child_details.(unknown name)", UNKNOWN)]


def test_a_slip_of_the_pen_is_told_by_the_name_that_was_meant(problems: Judge) -> None:
    child = full_child()
    child["child_details"]["ethnicty"] = "x"

    assert problems(child) == [RuleViolation("child_details.(unknown name, like ethnicity)", UNKNOWN)]


@pytest.mark.parametrize("payload", [[], "Zq7", 7, [full_child()]])
def test_a_record_is_an_object(problems: Judge, payload: object) -> None:
    assert problems(payload) == [RuleViolation("", OBJECT)]


def test_every_problem_is_told_at_once(problems: Judge) -> None:
    found = problems({"mis_child_id": "Zq7 x", "child_details": {"sex": "Zq7", "zq": 1}})

    assert {str(problem) for problem in found} == {
        f"la_child_id {REQUIRED}",
        f"mis_child_id {DASHES}",
        f"child_details.sex {at_most(1)}",
        f"child_details.(unknown name) {UNKNOWN}",
    }


def test_the_full_child_is_valid_and_untouched(problems: Judge) -> None:
    child = full_child()

    assert problems(child) == []
    assert child == full_child()


@pytest.mark.parametrize("name", SCHEMAS)
@given(data=st.data())
def test_generated_children_are_valid(name: str, data: st.DataObject) -> None:
    assert SCHEMAS[name].problems(data.draw(children(purge_flags=True, kind=SCHEMAS[name].kind))) == []


@pytest.mark.parametrize(
    "text", ['{"first_name": "Zq7"', '["Zq7"]', '"Zq7"', "Zq7", "", "NaN", b"\xff", '{"a": "\\ud800"}']
)
def test_unreadable_text_is_refused_without_repeating_it(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^(is not valid JSON|must be a JSON object)$") as caught:
        parse(text)

    assert caught.value.__context__ is None


def test_the_canonical_text_is_the_same_for_equal_payloads() -> None:
    one = parse('{"la_child_id": "SYN1", "child_details": {"surname": "Synthetic-\\u00e9", "sex": "F"}}')
    two = parse('{"child_details":{"sex":"F","surname":"Synthetic-é"},"la_child_id":"SYN1"}')

    text = '{"child_details":{"sex":"F","surname":"Synthetic-é"},"la_child_id":"SYN1"}'.encode()
    assert canonical(one) == canonical(two) == text
    assert payload_hash(one) == hashlib.sha256(text).digest()


def shape(kind: ObjectKind) -> dict[str, Any]:
    """A kind as plain data: purgeable?, single objects, id lists."""
    single = {name: shape(below) for name, below in kind.single.items()}
    listed = {name: (below.id_field, shape(below)) for name, below in kind.listed.items()}
    return {"purge": kind.purgeable, **single, **listed}


@pytest.mark.parametrize("name", ["built-in", "DfE's own"])
def test_the_shape_is_the_one_of_the_rules(name: str) -> None:
    leaf = {"purge": True}
    assert shape(SCHEMAS[name].kind) == {
        "purge": True,
        "child_details": leaf,
        "health_and_wellbeing": leaf,
        "social_care_episodes": (
            "social_care_episode_id",
            {
                "purge": True,
                "child_and_family_assessments": ("child_and_family_assessment_id", leaf),
                "child_in_need_plans": ("child_in_need_plan_id", leaf),
                "section_47_assessments": ("section_47_assessment_id", leaf),
                "child_protection_plans": ("child_protection_plan_id", leaf),
                "child_looked_after_placements": ("child_looked_after_placement_id", leaf),
                "adoption": leaf,
                "care_leavers": leaf,
            },
        ),
    }


def test_only_attribute_paths_are_taken_from_a_foreign_text() -> None:
    text = '["[3].social_care_episodes[0].closure_date: Zq7 is late", "child_details.sex", "datex", "first_name=Zq7"]'

    assert attribute_paths(text) == ["child_details.sex", "first_name", "social_care_episodes[0].closure_date"]
