"""What the journal keeps of a child: enough for the delta, nothing of the child's data, and little of it."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.csc.delta import Sending, changes
from dataflows.flows.csc.schema import CHILD, ObjectKind, canonical
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.runs.keys import IdentifierCipher
from dataflows.sandbox.synthetic import synthetic_child
from tests.flows.csc.children import child, episode
from tests.flows.csc.strategies import children

Object = dict[str, Any]
KEY = b"k" * 32


def of(payload: Object) -> Skeleton:
    return Skeleton.of(payload, KEY)


def with_field(kind: ObjectKind, name: str, at: str) -> ObjectKind:
    """The same shape, with one more field in the object ``at``."""
    if kind.name == at:
        return replace(kind, fields=(*kind.fields, name))
    single = {key: with_field(below, name, at) for key, below in kind.single.items()}
    listed = {key: with_field(below, name, at) for key, below in kind.listed.items()}
    return replace(kind, single=single, listed=listed)


@given(children(purge_flags=True))
def test_what_is_written_is_read(payload: Object) -> None:
    skeleton = of(payload)
    kept = Skeleton.from_bytes(skeleton.to_bytes(), KEY)
    assert kept == skeleton
    assert kept is not None
    assert kept.to_bytes() == skeleton.to_bytes()


@given(children(), st.binary(max_size=12), st.integers(0, 400))
def test_damaged_bytes_are_no_skeleton(payload: Object, junk: bytes, at: int) -> None:
    whole = of(payload).to_bytes()
    assert Skeleton.from_bytes(whole[: at % len(whole)], KEY) is None
    damaged = whole[: at % len(whole)] + junk + whole[at % len(whole) :]
    found = Skeleton.from_bytes(damaged, KEY)  # whatever it is made of: no exception, and at once
    assert found is None or found.to_bytes() == damaged or damaged != whole


def values(payload: Any, ids: bool = False) -> set[bytes]:
    """Every text and number in a payload; with ``ids`` those that tell items apart, else the others."""
    if isinstance(payload, dict):
        return {
            value
            for name, below in payload.items()
            for value in values(below, ids)
            if not isinstance(below, str) or (ids is (name.endswith("_id") and name != "worker_id"))
        }
    if isinstance(payload, list):
        return {value for item in payload for value in values(item, ids)}
    return {payload.encode()} if isinstance(payload, str) and len(payload) > 3 else set()


def test_no_value_of_a_field_is_in_it_but_the_ids_of_items() -> None:
    payload = synthetic_child(random.Random(3), 7)
    blob = of(payload).to_bytes()
    ids = values(payload["social_care_episodes"], ids=True)
    others = values(payload) - ids
    assert ids and all(one in blob for one in ids)
    assert others and not [one for one in others if one in blob]
    assert payload["la_child_id"].encode() not in blob


def test_the_hash_of_the_content_cannot_be_guessed_without_the_key() -> None:
    payload = child(1)
    assert of(payload).to_bytes() != Skeleton.of(payload, b"another key" * 3).to_bytes()


def test_it_is_small() -> None:
    rng = random.Random(1)
    sizes = sorted(len(of(synthetic_child(rng, n)).to_bytes()) for n in range(200))
    assert sizes[100] < 1000  # of 3 KB; sealed, 16 bytes more
    assert sizes[-1] < 1500


KEPT = {
    "la_child_id": "A1",
    "child_details": {"sex": "F", "disabilities": [], "purge": False},
    "social_care_episodes": [
        {"social_care_episode_id": "e1", "referral_date": "2025-01-31", "child_protection_plans": []},
        {"social_care_episode_id": "e2", "adoption": {"matched_date": "2025-02-01"}, "a new field": 1},
    ],
}


def test_the_bytes_are_those_that_journals_hold_already() -> None:
    """Another form would make every baseline unreadable: whoever changes it needs a new number in front."""
    assert of(KEPT).to_bytes().hex() == (
        "01d170a154a19bc6ee2a2d6ad357724bfe6a80000e763a71cc836e43020265314800f46ea119a7ca5bad0265324101b1"
        "85613211f8789a04179210208b542dc1"
    )


def test_a_schema_of_another_shape_is_noticed() -> None:
    blob = of(child(1)).to_bytes()
    assert Skeleton.from_bytes(blob, KEY, with_field(CHILD, "new_field", "child_protection_plans")) is None
    assert Skeleton.from_bytes(blob, KEY, replace(CHILD, purgeable=False)) is None


def test_what_the_schema_does_not_know_is_a_vanished_field() -> None:
    """A payload that an earlier schema let pass: merge keeps the field, so its object has to go and come back."""
    before, after = child(1), child(1)
    before["child_details"]["withdrawn_code"] = "7"
    plan = changes(of(before), after)
    assert plan.sending is Sending.RESET
    assert plan.first == {"la_child_id": "SYN1", "mis_child_id": "m-1", "child_details": {"purge": True}}


@pytest.mark.parametrize("value", ["text", 7, None, ["text"], [{}], [{"social_care_episode_id": 7}]])
def test_a_payload_of_another_shape_is_no_bug(value: object) -> None:
    before = {**child(1), "social_care_episodes": value}
    assert changes(of(before), child(1)).sending is Sending.RESET


def test_two_items_with_one_id_are_something_unknown() -> None:
    before = child(1, social_care_episodes=[episode("e1"), episode("e1")])
    assert changes(of(before), child(1)).sending is Sending.RESET


def test_many_items_and_long_ids() -> None:
    items = [episode(f"{n:0300}") for n in range(300)]
    skeleton = of(child(1, social_care_episodes=items))
    assert Skeleton.from_bytes(skeleton.to_bytes(), KEY) == skeleton


def test_the_payload_is_left_as_it_is() -> None:
    payload = child(1, purge=False)
    before = copy.deepcopy(payload)
    of(payload)
    assert canonical(payload) == canonical(before)


def test_it_is_sealed_for_one_child() -> None:
    cipher, other = IdentifierCipher.forgotten(), IdentifierCipher.forgotten()
    blob = of(child(1)).to_bytes()
    about = cipher.encrypt("SYN1")
    sealed = cipher.encrypt_bytes(blob, about)
    assert cipher.decrypt_bytes(sealed, about) == blob
    assert b"e1" in blob and b"e1" not in sealed
    assert cipher.decrypt_bytes(sealed, cipher.encrypt("SYN2")) is None
    assert cipher.decrypt_bytes(sealed[:-1], about) is None
    assert cipher.decrypt_bytes(b"", about) is None
    assert other.decrypt_bytes(sealed, about) is None
    assert cipher.hash_key("csc skeleton") != other.hash_key("csc skeleton") != cipher.hash_key("another purpose")
