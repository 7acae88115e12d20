"""The property everything rests on: what is sent, applied to what the receiver holds, gives the current payload."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc import delta
from dataflows.flows.csc.delta import ChildPlan, Sending, deletion, purge_and_whole, settled, whole
from dataflows.flows.csc.schema import CHILD, ChildSchema, ObjectKind, built_in
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.sandbox.model import merge, replace
from tests.flows.csc.payload_delta import changes_of_payloads, plain_plan
from tests.flows.csc.schemas import SCHEMAS
from tests.flows.csc.strategies import children, edited

Object = dict[str, Any]
MODELS = {"merge": merge, "replace": replace}
KEY = b"k" * 32
under_every_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))


def changes(baseline: Object, current: Object, kind: ObjectKind = CHILD, *, full: bool = False) -> ChildPlan:
    """The plan from what the journal keeps of ``baseline``: its skeleton, written and read."""
    kept = Skeleton.from_bytes(Skeleton.of(baseline, KEY, kind).to_bytes(), KEY, kind)
    assert kept is not None
    return delta.changes(kept, current, full=full)


def before_and_after(data: st.DataObject, schema: ChildSchema) -> tuple[Object, Object]:
    """A child, and what became of it after up to three edits."""
    flags = data.draw(st.booleans())  # real loaders write ``purge: false``
    before = data.draw(children(flags, schema.kind))
    after = before
    for _ in range(data.draw(st.integers(1, 3))):
        after = data.draw(edited(after, flags, schema.kind))
    return before, after


def plain(payload: Object | None, kind: ObjectKind = CHILD) -> Object | None:
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


def applied(model: str, held: Object | None, plan: ChildPlan, schema: ChildSchema) -> Object | None:
    """What the receiver holds after the requests of a plan."""
    for request in (plan.first, plan.body):
        if request is not None:
            assert schema.problems(request) == []
            held = MODELS[model](held, request, schema.kind)
    return held


@under_every_schema
@given(data=st.data(), full=st.booleans())
def test_under_merge_every_mode_leads_to_the_current_payload(
    schema: ChildSchema, data: st.DataObject, full: bool
) -> None:
    kind = schema.kind
    before, after = before_and_after(data, schema)
    found = applied("merge", merge(None, before, kind), changes(before, after, kind, full=full), schema)
    assert plain(found, kind) == plain(merge(None, after, kind), kind)


@given(data=st.data(), full=st.booleans())
def test_a_skeleton_tells_as_much_as_the_payload(data: st.DataObject, full: bool) -> None:
    before, after = before_and_after(data, built_in())
    expected, found = changes_of_payloads(before, after, full=full), changes(before, after, full=full)
    if full:
        expected, found = plain_plan(expected), plain_plan(found)
    assert found == expected


@under_every_schema
@given(data=st.data())
def test_full_mode_leads_there_under_replace_too(schema: ChildSchema, data: st.DataObject) -> None:
    kind = schema.kind
    before, after = before_and_after(data, schema)
    found = applied("replace", replace(None, before, kind), changes(before, after, kind, full=True), schema)
    assert plain(found, kind) == plain(replace(None, after, kind), kind)


@under_every_schema
@given(data=st.data(), model=st.sampled_from(sorted(MODELS)))
def test_a_purge_and_the_whole_child_lead_there_from_anywhere(
    schema: ChildSchema, data: st.DataObject, model: str
) -> None:
    kind = schema.kind
    before, after = before_and_after(data, schema)
    found = applied(model, MODELS[model](None, before, kind), purge_and_whole(after, kind), schema)
    assert plain(found, kind) == plain(MODELS[model](None, after, kind), kind)


@under_every_schema
@given(data=st.data())
def test_sending_twice_is_sending_once(schema: ChildSchema, data: st.DataObject) -> None:
    """A lost answer is repeated as it was, so every plan has to be idempotent."""
    kind = schema.kind
    before, after = before_and_after(data, schema)
    plan = changes(before, after, kind)
    once = applied("merge", merge(None, before, kind), plan, schema)
    assert plain(applied("merge", once, plan, schema), kind) == plain(once, kind)


@given(children(), st.sampled_from(sorted(MODELS)))
def test_deletion_and_return(child: Object, model: str) -> None:
    gone = MODELS[model](MODELS[model](None, child), deletion(child))
    assert gone is None
    assert plain(applied(model, gone, whole(child), built_in())) == plain(MODELS[model](None, child))


@under_every_schema
@given(data=st.data())
def test_nothing_changed_means_nothing_sent(schema: ChildSchema, data: st.DataObject) -> None:
    child = data.draw(children(kind=schema.kind))
    assert changes(child, dict(child), schema.kind) == ChildPlan(Sending.UNCHANGED)


@pytest.mark.parametrize("left", [{"order_code": "A"}, None], ids=["a field of it vanished", "it vanished"])
def test_an_object_without_purge_goes_with_the_object_around_it(left: Object | None) -> None:
    kind = SCHEMAS["grown"].kind
    episode = {"social_care_episode_id": "e1", "court_order": {"order_code": "A", "granted_on": "2024-01-01"}}
    before = {"la_child_id": "1", "social_care_episodes": [episode]}
    remains = {"social_care_episode_id": "e1", **({"court_order": left} if left else {})}
    after = {"la_child_id": "1", "social_care_episodes": [remains]}
    plan = changes(before, after, kind)
    assert plan.first == {
        "la_child_id": "1",
        "social_care_episodes": [{"social_care_episode_id": "e1", "purge": True}],
    }
    assert plan.body == after


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
