"""The two readings of what a receiver does with what it is sent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc.schema import CHILD, ObjectKind
from dataflows.sandbox.model import MODELS, Stored, merge, normal, replace
from tests.flows.csc.strategies import children, edited

any_child = children(purge_flags=True)
two_children = any_child.flatmap(lambda child: st.tuples(st.just(child), edited(child, purge_flags=True)))

STORED = {
    "la_child_id": "SYN1",
    "mis_child_id": "syn-m",
    "child_details": {"sex": "F", "disabilities": ["HAND", "VIS"]},
    "health_and_wellbeing": {"sdq_assessments": [{"score": 3}, {"score": 4}]},
    "social_care_episodes": [
        {
            "social_care_episode_id": "e1",
            "closure_date": "2024-01-01",
            "adoption": {"matched_date": "2023-07-14"},
            "care_worker_details": [{"worker_id": "w1"}, {"worker_id": "w1"}],
            "child_in_need_plans": [
                {"child_in_need_plan_id": "p1", "start_date": "2024-01-01"},
                {"child_in_need_plan_id": "p2", "end_date": "2024-01-01"},
            ],
        },
        {"social_care_episode_id": "e2"},
    ],
}


def after(**sent: Any) -> Stored:
    """What is stored after these attributes were sent for the stored child."""
    result = merge(STORED, {"la_child_id": "SYN1", **sent})
    assert result is not None
    return result


def episode(**sent: Any) -> Stored:
    """The first episode after these attributes were sent for it."""
    found: Stored = after(social_care_episodes=[{"social_care_episode_id": "e1", **sent}])["social_care_episodes"][0]
    return found


def test_what_is_absent_stays() -> None:
    assert after() == STORED


def test_objects_merge_key_by_key() -> None:
    assert after(child_details={"surname": "Synthetic-B1"})["child_details"] == {
        "sex": "F",
        "disabilities": ["HAND", "VIS"],
        "surname": "Synthetic-B1",
    }


def test_a_list_without_ids_is_replaced() -> None:
    assert after(child_details={"disabilities": ["MOB"]})["child_details"]["disabilities"] == ["MOB"]
    assert after(health_and_wellbeing={"sdq_assessments": []})["health_and_wellbeing"] == {"sdq_assessments": []}
    assert episode(care_worker_details=[{"worker_id": "w2"}])["care_worker_details"] == [{"worker_id": "w2"}]


def test_a_list_with_ids_upserts() -> None:
    changed = {"child_in_need_plan_id": "p2", "start_date": "2024-01-01"}
    new = {"child_in_need_plan_id": "p0"}

    assert episode(child_in_need_plans=[changed, new])["child_in_need_plans"] == [
        {"child_in_need_plan_id": "p0"},
        {"child_in_need_plan_id": "p1", "start_date": "2024-01-01"},
        {"child_in_need_plan_id": "p2", "start_date": "2024-01-01", "end_date": "2024-01-01"},
    ]


def test_an_empty_list_with_ids_changes_nothing() -> None:
    assert after(social_care_episodes=[]) == STORED


def test_purging_an_item_removes_what_it_holds() -> None:
    assert after(social_care_episodes=[{"social_care_episode_id": "e1", "purge": True}])["social_care_episodes"] == [
        {"social_care_episode_id": "e2"}
    ]


def test_purging_the_last_item_removes_the_list() -> None:
    gone = [{"child_in_need_plan_id": one, "purge": True} for one in ("p1", "p2")]

    assert "child_in_need_plans" not in episode(child_in_need_plans=gone)


def test_purging_a_single_object_removes_it() -> None:
    assert "child_details" not in after(child_details={"purge": True})
    assert "adoption" not in episode(adoption={"purge": True})


def test_purging_the_child_removes_all() -> None:
    assert merge(STORED, {"la_child_id": "SYN1", "purge": True}) is None
    assert replace(STORED, {"la_child_id": "SYN1", "purge": True}) is None


def test_a_purge_that_says_false_is_none_and_is_not_stored() -> None:
    assert after(purge=False, child_details={"purge": False}) == STORED


def test_replace_clears_what_is_absent() -> None:
    whole = {"la_child_id": "SYN1", "social_care_episodes": [{"social_care_episode_id": "e1"}]}

    assert replace(STORED, whole) == whole


@pytest.mark.parametrize("model", MODELS.values())
def test_purges_of_unknown_things_are_harmless(model: Any) -> None:
    purges = {
        "la_child_id": "SYN1",
        "health_and_wellbeing": {"purge": True},
        "social_care_episodes": [{"social_care_episode_id": "e9", "purge": True}],
    }

    assert model(None, purges) == {"la_child_id": "SYN1"}
    assert model(None, {"la_child_id": "SYN1", "purge": True}) is None


@pytest.mark.parametrize("model", MODELS.values())
@given(pair=two_children)
def test_the_same_thing_twice_is_the_same_as_once(model: Any, pair: tuple[Stored, Stored]) -> None:
    before, sent = pair
    once = model(normal(before), sent)

    assert model(once, sent) == once


@given(pair=two_children)
def test_replacing_by_a_whole_child_leaves_that_child(pair: tuple[Stored, Stored]) -> None:
    before, whole = pair

    assert replace(normal(before), whole) == normal(whole)


@given(child=any_child)
def test_normal_form_is_reached_at_once(child: Stored) -> None:
    first = normal(child)
    assert first is not None

    assert normal(first) == first
    assert normal(shuffled(CHILD, child)) == first


@given(child=any_child)
def test_purging_everything_below_leaves_the_own_attributes(child: Stored) -> None:
    stored = normal(child)
    assert stored is not None
    own = {name: value for name, value in stored.items() if name not in CHILD.single and name not in CHILD.listed}
    gone = [
        {"social_care_episode_id": one["social_care_episode_id"], "purge": True}
        for one in child.get("social_care_episodes", [])
    ]
    sent = {**own, **{name: {"purge": True} for name in CHILD.single}, "social_care_episodes": gone}

    assert merge(stored, sent) == own


@pytest.mark.parametrize("model", MODELS.values())
@given(pair=two_children)
def test_neither_the_stored_nor_the_sent_child_is_touched(model: Any, pair: tuple[Stored, Stored]) -> None:
    stored, sent = normal(pair[0]), pair[1]
    kept = copy.deepcopy((stored, sent))

    model(stored, sent)

    assert (stored, sent) == kept


def shuffled(kind: ObjectKind, at: Stored) -> Stored:
    """The same object with every id list the other way round."""
    result = dict(at)
    for name, below in kind.single.items():
        if name in at:
            result[name] = shuffled(below, at[name])
    for name, below in kind.listed.items():
        if name in at:
            result[name] = [shuffled(below, item) for item in reversed(at[name])]
    return result
