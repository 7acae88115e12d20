"""The property everything rests on: what is sent, applied to what the receiver holds, gives the current payload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc import delta
from dataflows.flows.csc.delta import Plan, Sending, deletion, purge_and_whole, settled, whole
from dataflows.flows.csc.payload import CHILD, Kind, problems
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.sandbox.model import merge, replace
from tests.flows.csc.payload_delta import changes_of_payloads, plain_plan
from tests.flows.csc.strategies import children, edited

Object = dict[str, Any]
MODELS = {"merge": merge, "replace": replace}
KEY = b"k" * 32


def changes(baseline: Object, current: Object, *, full: bool = False) -> Plan:
    """The plan from what the journal keeps of ``baseline``: its skeleton, written and read."""
    kept = Skeleton.from_bytes(Skeleton.of(baseline, KEY).to_bytes(), KEY)
    assert kept is not None
    return delta.changes(kept, current, full=full)


@st.composite
def before_and_after(draw: st.DrawFn) -> tuple[Object, Object]:
    """A child, and what became of it after up to three edits."""
    flags = draw(st.booleans())  # real loaders write ``purge: false``
    before = draw(children(flags))
    after = before
    for _ in range(draw(st.integers(1, 3))):
        after = draw(edited(after, flags))
    return before, after


def plain(payload: Object | None, kind: Kind = CHILD) -> Object | None:
    """A payload without what says nothing: the order of items with ids, empty lists, ``purge: false``."""
    if payload is None:
        return None
    result: Object = {}
    for key, value in settled(payload, kind).items():
        if key in kind.single:
            result[key] = plain(value, kind.single[key])
        elif key in kind.listed:
            below = kind.listed[key]
            result[key] = sorted((plain(item, below) for item in value), key=lambda item: item[below.id_field])
        else:
            result[key] = value
    return {key: value for key, value in result.items() if value != []}


def applied(model: str, held: Object | None, plan: Plan) -> Object | None:
    """What the receiver holds after the requests of a plan."""
    for request in (plan.first, plan.body):
        if request is not None:
            assert problems(request) == []
            held = MODELS[model](held, request)
    return held


@given(before_and_after(), st.booleans())
def test_under_merge_every_mode_leads_to_the_current_payload(pair: tuple[Object, Object], full: bool) -> None:
    before, after = pair
    held = merge(None, before)
    assert plain(applied("merge", held, changes(before, after, full=full))) == plain(merge(None, after))


@given(before_and_after(), st.booleans())
def test_a_skeleton_tells_as_much_as_the_payload(pair: tuple[Object, Object], full: bool) -> None:
    before, after = pair
    expected, found = changes_of_payloads(before, after, full=full), changes(before, after, full=full)
    if full:
        expected, found = plain_plan(expected), plain_plan(found)
    assert found == expected


@given(before_and_after())
def test_full_mode_leads_there_under_replace_too(pair: tuple[Object, Object]) -> None:
    before, after = pair
    plan = changes(before, after, full=True)
    held = replace(None, before)
    assert plain(applied("replace", held, plan)) == plain(replace(None, after))


@given(before_and_after(), st.sampled_from(sorted(MODELS)))
def test_a_purge_and_the_whole_child_lead_there_from_anywhere(pair: tuple[Object, Object], model: str) -> None:
    before, after = pair
    held = MODELS[model](None, before)
    assert plain(applied(model, held, purge_and_whole(after))) == plain(MODELS[model](None, after))


@given(before_and_after())
def test_sending_twice_is_sending_once(pair: tuple[Object, Object]) -> None:
    """A lost answer is repeated as it was, so every plan has to be idempotent."""
    before, after = pair
    plan = changes(before, after)
    once = applied("merge", merge(None, before), plan)
    assert plain(applied("merge", once, plan)) == plain(once)


@given(children(), st.sampled_from(sorted(MODELS)))
def test_deletion_and_return(child: Object, model: str) -> None:
    gone = MODELS[model](MODELS[model](None, child), deletion(child))
    assert gone is None
    assert plain(applied(model, gone, whole(child))) == plain(MODELS[model](None, child))


@given(children())
def test_nothing_changed_means_nothing_sent(child: Object) -> None:
    assert changes(child, dict(child)) == Plan(Sending.UNCHANGED)


def test_the_order_of_items_with_ids_is_no_change() -> None:
    one, two = {"social_care_episode_id": "a"}, {"social_care_episode_id": "b"}
    child = {"la_child_id": "1", "social_care_episodes": [one, two]}
    assert changes(child, {**child, "social_care_episodes": [two, one]}).sending is Sending.UNCHANGED


EPISODE = {
    "social_care_episode_id": "e1",
    "referral_date": "2024-01-01",
    "care_worker_details": [{"worker_id": "w1"}, {"worker_id": "w1", "start_date": "2024-02-01"}],
    "child_protection_plans": [
        {"child_protection_plan_id": "p1", "start_date": "2024-01-01"},
        {"child_protection_plan_id": "p2", "start_date": "2024-01-02"},
    ],
}
CHILD_1 = {"la_child_id": "1", "mis_child_id": "m1", "social_care_episodes": [EPISODE]}


def with_episode(**changed: Any) -> Object:
    """The child with another episode; None takes a key away."""
    episode = {key: value for key, value in {**EPISODE, **changed}.items() if value is not None}
    return {**CHILD_1, "social_care_episodes": [episode]}


def own(episode: Object) -> Object:
    return {key: value for key, value in episode.items() if key != "child_protection_plans"}


@pytest.mark.parametrize(
    ("after", "episode"),
    [
        pytest.param(
            with_episode(closure_date="2024-05-05"),
            {**own(EPISODE), "closure_date": "2024-05-05"},
            id="a changed object goes with all its own fields and id-less lists, without its unchanged children",
        ),
        pytest.param(
            with_episode(child_protection_plans=[EPISODE["child_protection_plans"][1]]),
            {**own(EPISODE), "child_protection_plans": [{"child_protection_plan_id": "p1", "purge": True}]},
            id="a vanished item is purged by its id",
        ),
        pytest.param(
            with_episode(adoption={"placed_date": "2024-03-03"}),
            {**own(EPISODE), "adoption": {"placed_date": "2024-03-03"}},
            id="a new object goes whole",
        ),
        pytest.param(
            with_episode(care_worker_details=None),
            {**own(EPISODE), "care_worker_details": []},
            id="a vanished list without ids is emptied",
        ),
    ],
)
def test_deltas(after: Object, episode: Object) -> None:
    plan = changes(CHILD_1, after)
    assert plan.sending is Sending.DELTA
    assert plan.first is None
    assert plan.body == {"la_child_id": "1", "mis_child_id": "m1", "social_care_episodes": [episode]}


def test_a_vanished_single_object_is_purged() -> None:
    before = with_episode(adoption={"placed_date": "2024-03-03"})
    body = changes(before, CHILD_1).body
    assert body is not None
    assert body["social_care_episodes"] == [{**own(EPISODE), "adoption": {"purge": True}}]


def test_a_vanished_field_takes_two_requests_around_the_smallest_object() -> None:
    before = with_episode(closure_date="2024-05-05")
    plan = changes(before, CHILD_1)
    assert plan.sending is Sending.RESET
    ids = {"la_child_id": "1", "mis_child_id": "m1"}
    assert plan.first == {**ids, "social_care_episodes": [{"social_care_episode_id": "e1", "purge": True}]}
    assert plan.body == CHILD_1


def test_a_vanished_field_of_the_child_itself_purges_the_child() -> None:
    after = {key: value for key, value in CHILD_1.items() if key != "mis_child_id"}
    plan = changes(CHILD_1, after)
    assert (plan.first, plan.body) == ({"la_child_id": "1", "purge": True}, after)


def test_a_deletion_holds_nothing_null() -> None:
    assert deletion({"la_child_id": "1", "mis_child_id": None}) == {"la_child_id": "1", "purge": True}


def test_the_receiver_keeps_what_was_not_mentioned() -> None:
    """Guards the models themselves: a test against models that forget would prove nothing."""
    assert merge({"la_child_id": "1", "mis_child_id": "m"}, {"la_child_id": "1"}) == {
        "la_child_id": "1",
        "mis_child_id": "m",
    }
