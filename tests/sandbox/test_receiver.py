"""The stand-in for DfE's receiver."""

from __future__ import annotations

import re
from random import Random

import pytest

from dataflows.sandbox.model import normal
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.synthetic import synthetic_child
from tests.sandbox.client import Reply, ask, child, post, token_of

RECEIPT = (
    r"\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d\.\d\d_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json"
)


def errors(reply: Reply) -> list[str]:
    """What a refusal says."""
    found: list[str] = reply.json["errors"]
    return found


def test_one_receipt_per_record_in_order(box: Sandbox) -> None:
    reply = post(box, [child(1), child(2), child(3)])

    assert reply.status == 200
    assert all(re.fullmatch(RECEIPT, one) for one in reply.json)
    assert reply.json == [box.receiver.receipt(f"SYN{n}") for n in (1, 2, 3)]


def test_children_are_stored_in_normal_form(box: Sandbox) -> None:
    whole = [synthetic_child(Random(1), n) for n in range(3)]
    post(box, whole)

    assert box.receiver.children == {("999", one["la_child_id"]): normal(one) for one in whole}


def test_they_merge_unless_told_to_replace(box: Sandbox) -> None:
    for sent in (child(child_details={"sex": "F"}), child(mis_child_id="syn-m")):
        post(box, [sent])

    assert box.receiver.child("SYN1") == child(child_details={"sex": "F"}, mis_child_id="syn-m")
    box.receiver.model = "replace"
    post(box, [child(mis_child_id="syn-n")])
    assert box.receiver.child("SYN1") == child(mis_child_id="syn-n")


def test_a_purged_child_is_gone(box: Sandbox) -> None:
    post(box, [child(1), child(2)])

    assert post(box, [child(1, purge=True)]).status == 200
    assert box.receiver.child("SYN1") is None
    assert box.receiver.child("SYN2") == child(2)


def test_no_records_is_no_content(box: Sandbox) -> None:
    reply = post(box, [])

    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"SupplierKey": "wrong"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_the_headers_are_checked(box: Sandbox, changes: dict[str, str], status: int) -> None:
    assert post(box, [child()], headers=changes).status == status


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b'{"la_child_id": "SYN1"}', b'"SYN1"', b"null"])
def test_only_an_array_is_taken(box: Sandbox, body: bytes) -> None:
    assert post(box, body).status == 400


def test_another_method_or_path_is_refused(box: Sandbox) -> None:
    assert ask(box, "GET", "/children_social_care_data/999/children").status == 405
    assert ask(box, "POST", "/children_social_care_data/99/children").status == 404


def test_too_many_records(box: Sandbox) -> None:
    assert post(box, [child(n) for n in range(101)]).status == 413
    box.receiver.faults.set(max_batch=1)
    assert post(box, [child(1), child(2)]).status == 413
    box.receiver.faults.set(max_bytes=10)
    assert post(box, [child(1)]).status == 413
    assert box.receiver.children == {}


def test_one_bad_record_refuses_the_batch_and_is_named(box: Sandbox) -> None:
    reply = post(box, [child(1), child(2, child_details={"sex": "Female"}), child(3)])

    assert reply.status == 400
    assert errors(reply) == ["[1].child_details.sex must have at most 1 character"]
    assert box.receiver.children == {}


@pytest.mark.parametrize(
    ("names", "indexes"), [("all", ["[1]", "[2]"]), ("first", ["[1]"]), ("none", []), ("wrong", ["[2]"])]
)
def test_how_bad_records_are_named(box: Sandbox, names: str, indexes: list[str]) -> None:
    box.receiver.faults.set(names=names, refuse_ids=["SYN2", "SYN3"])
    reply = post(box, [child(1), child(2), child(3), child(4)])

    assert reply.status == 400
    assert re.findall(r"\[\d+\]", str(errors(reply))) == indexes


def test_a_batch_without_the_unwanted_is_taken(box: Sandbox) -> None:
    box.receiver.faults.set(refuse_ids=["SYN2"])

    assert post(box, [child(1), child(3)]).status == 200


def test_the_firewall_dislikes_0x_in_an_id(box: Sandbox) -> None:
    reply = post(box, [child(1), child(2, social_care_episodes=[{"social_care_episode_id": "e0x1"}])])

    assert reply.status == 403
    assert reply.headers["Content-Type"] == "text/html"
    assert post(box, [child(1, child_details={"surname": "Synthetic-0x"})]).status == 200


@pytest.mark.parametrize(
    ("kind", "status", "shape"),
    [
        ("short", 200, r'\["[^"]+"\]'),
        ("long", 200, r'\["[^"]+","[^"]+","[^"]+"\]'),
        ("single", 200, r'"[^"]+"'),
        ("empty", 204, ""),
        ("text", 200, "<html>.*</html>"),
        ("nulls", 200, r"\[null,null\]"),
        ("object", 200, r'\{"receipts":\["[^"]+","[^"]+"\]\}'),
    ],
)
def test_bad_receipts_are_committed_all_the_same(box: Sandbox, kind: str, status: int, shape: str) -> None:
    box.receiver.faults.set(receipts=kind, receipts_next=1)
    reply = post(box, [child(1), child(2)])

    assert reply.status == status
    assert re.fullmatch(shape, reply.body.decode())
    assert len(box.receiver.children) == 2
    assert len(post(box, [child(1), child(2)]).json) == 2


def test_what_arrived_can_be_looked_at(box: Sandbox) -> None:
    post(box, [child(1)])
    post(box, [child(2, zq=1)])

    assert [(one.number, one.records, one.status) for one in box.receiver.requests] == [
        (1, [child(1)], 200),
        (2, [child(2, zq=1)], 400),
    ]
    assert box.receiver.figures() == {
        "requests": 2,
        "most_in_flight": 1,
        "answered": 2,
        "status_200": 1,
        "status_400": 1,
        "children": 1,
        "overlaps": 0,
    }


def test_lean_takes_anything_that_has_an_id() -> None:
    with Sandbox(lean=True) as box:
        token = token_of(box)

        assert post(box, [child(1, zq=1)], token).status == 200
        assert post(box, [{"zq": 1}], token).status == 400
        assert box.receiver.requests == []
        assert box.receiver.figures()["requests"] == 2
