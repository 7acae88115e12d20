"""What is known of children at a receiver: acknowledgements, claims, the key, and what a run remembers for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.claims import ClaimedKey
from dataflows.flows.csc.records import PURGED, UNKNOWN, Doubt, Place, Receipt
from dataflows.flows.csc.scratch import Deferred, NameTable
from dataflows.runs.journal import Item, Journal
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from tests.journals import Journals

CIPHER = IdentifierCipher(bytes(range(32)))
PLACE = Place("https://council.example/api", "301", "db#children")


def acks_of(journal: Journal, place: Place = PLACE) -> Acknowledgements:
    return Acknowledgements(journal, CIPHER, place)


@pytest.fixture
def acks(journal: Journal) -> Acknowledgements:
    return acks_of(journal)


def send(journal: Journal, acks: Acknowledgements, name: str, row: int, *, held: bytes = b"hash", **more: Any) -> bytes:
    """One child from the doubt before its request to the acknowledgement."""
    child = acks.key(name)
    acks.mark([Doubt(child, held, None, row)])
    run = Run(journal.start("csc-submit", "t", options={}), journal, Path(), lambda _: None)
    receipt = Receipt(child, held, f"receipt {name}", row, fingerprint=b"f", **more)
    acks.settle([receipt], [], run, [Item(str(row), "done")])
    return child


def names(acks: Acknowledgements, pages: Iterator[list[bytes]]) -> list[str | None]:
    return [acks.child(child) for page in pages for child in page]


def test_a_doubt_stands_until_the_answer_is_settled(journal: Journal, acks: Acknowledgements) -> None:
    child = acks.key("SYN1")
    acks.mark([Doubt(child, b"hash", None, 7)])
    assert (acks.in_doubt(), acks.holds(), acks.of([child])[child].in_doubt) == (1, 1, b"hash")
    send(journal, acks, "SYN1", 7)
    ack = acks.of([child])[child]
    assert (ack.held, ack.receipt, ack.in_doubt, ack.row_id) == (b"hash", "receipt SYN1", None, 7)
    assert (acks.in_doubt(), acks.holds()) == (0, 1)


def test_a_child_stands_once_however_often_it_is_sent(journal: Journal, acks: Acknowledgements) -> None:
    for held in (b"one", b"two"):
        child = send(journal, acks, "SYN1", 7, held=held)
    acks.owe([child])
    assert acks.holds() == 1
    assert [ack.held for ack in acks.of_rows([7])] == [b"two"]


def test_answers_and_items_are_settled_together_or_not_at_all(
    journal: Journal, acks: Acknowledgements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "record", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send(journal, acks, "SYN1", 7)
    ack = acks.of_rows([7])[0]
    assert (ack.held, ack.in_doubt) == (None, b"hash"), "the answer is as if it had never come"
    assert not acks.table.claimed()


def test_what_is_restored_is_as_before(journal: Journal, acks: Acknowledgements) -> None:
    child = send(journal, acks, "SYN1", 7)
    acks.mark([Doubt(child, b"new", "child", 8)])
    assert acks.of([child])[child].row_id == 7, "the row that was acknowledged"
    run = Run(journal.start("csc-submit", "t", options={}), journal, Path(), lambda _: None)
    acks.settle([], [Doubt(child, None, None)], run, [])
    ack = acks.of([child])[child]
    assert (ack.held, ack.in_doubt, ack.reset) == (b"hash", None, None)


def test_children_come_in_pages_in_the_order_they_were_first_sent(journal: Journal, acks: Acknowledgements) -> None:
    sent = [f"SYN{number}" for number in range(30)]
    acks.mark([Doubt(acks.key(name), b"hash", None, row) for row, name in enumerate(sent)])
    run = Run(journal.start("csc-submit", "t", options={}), journal, Path(), lambda _: None)
    acks.settle([Receipt(acks.key(name), b"hash", "r", row) for row, name in enumerate(sent)], [], run, [])
    assert names(acks, acks.of_table()) == sent
    acks.owe([acks.key("SYN9"), acks.key("SYN3")])
    assert names(acks, acks.owed_purges()) == ["SYN3", "SYN9"]
    assert names(acks, acks.of_table()) == [name for name in sent if name not in ("SYN3", "SYN9")]
    acks.owe_no_more([acks.key("SYN9")])
    assert names(acks, acks.owed_purges()) == ["SYN3"]


def test_write_backs_are_owed_until_they_are_noted(journal: Journal, acks: Acknowledgements) -> None:
    first, second = (send(journal, acks, name, row, write_back="full") for name, row in (("SYN1", 7), ("SYN2", 8)))
    assert [one.row_id for page in acks.owed() for one in page] == [7, 8]
    acks.written([first])
    acks.flush()
    assert [one.child for page in acks.owed() for one in page] == [second]


def test_many_children_come_in_pages_and_none_is_left_out(journal: Journal, acks: Acknowledgements) -> None:
    children = [acks.key(f"SYN{number}") for number in range(1001)]
    acks.mark([Doubt(child, b"hash", None, row) for row, child in enumerate(children)])
    run = Run(journal.start("csc-submit", "t", options={}), journal, Path(), lambda _: None)
    acks.settle([Receipt(child, b"h", "r", row, write_back="full") for row, child in enumerate(children)], [], run, [])
    assert list(acks.of_table()) == [children[:1000], children[1000:]]
    assert [[one.child for one in page] for page in acks.owed()] == [
        children[start : start + 200] for start in range(0, 1001, 200)
    ]
    acks.written(children)
    assert list(acks.owed()) == [], "so many are noted at once"
    acks.owe(children)
    assert list(acks.owed_purges()) == [children[:1000], children[1000:]]


def test_a_row_that_was_reloaded_is_owed_no_update_and_stands_unwritten(
    journal: Journal, acks: Acknowledgements
) -> None:
    more: dict[str, Any] = {"write_back": "full", "unwritten": b"before"}
    written, stale = (send(journal, acks, name, row, **more) for name, row in (("SYN1", 7), ("SYN2", 8)))
    acks.written([], stale=[stale])
    acks.flush()
    assert [one.child for page in acks.owed() for one in page] == [written]
    acks.written([written])
    acks.flush()
    assert list(acks.owed()) == []
    assert [acks.of([child])[child].unwritten for child in (written, stale)] == [None, b"before"]


def test_people_have_names_and_nobody_has_none(acks: Acknowledgements) -> None:
    assert (acks.person("p1"), acks.person(None), acks.person("")) == (acks.key("p1"), b"", b"")


def test_a_skeleton_is_opened_by_its_own_child_and_schema(journal: Journal, acks: Acknowledgements) -> None:
    skeleton = acks.skeleton({"la_child_id": "SYN1", "mis_child_id": "m"})
    sealed = acks.close_skeleton(acks.key("SYN1"), skeleton)
    one, other = (send(journal, acks, name, 7, skeleton=sealed) for name in ("SYN1", "SYN2"))
    known = acks.of([one, other])
    assert acks.open_skeleton(known[one]) == skeleton
    grown = replace(acks.schema)
    assert Acknowledgements(journal, CIPHER, PLACE, grown).schema is grown
    assert acks.open_skeleton(known[other]) is None
    assert acks.open_skeleton(known[one]._replace(skeleton=None)) is None


def test_receipts_tell_whose_they_are(journal: Journal, acks: Acknowledgements) -> None:
    send(journal, acks, "SYN1", 7)
    elsewhere = acks_of(journal, Place("https://other.example/api", "302", PLACE.table))
    assert acks.written_by_us(["receipt SYN1", "x"]) == {"receipt SYN1"}
    assert elsewhere.written_by_us(["receipt SYN1"]) == set()
    assert acks.table.receivers_of(["receipt SYN1"]) == {None}
    assert elsewhere.table.receivers_of(["receipt SYN1"]) == {"https://council.example/api (LA 301)"}
    assert elsewhere.table.former_receiver() == "https://council.example/api (LA 301)"
    assert acks.table.former_receiver() is None


def test_a_receipt_of_two_children_is_ours_and_tells_of_neither(journal: Journal, acks: Acknowledgements) -> None:
    both = [acks.key(name) for name in ("SYN1", "SYN2")]
    alone = send(journal, acks, "SYN3", 9)
    acks.mark([Doubt(child, b"hash", None, row) for row, child in enumerate(both)])
    run = Run(journal.start("csc-submit", "t", options={}), journal, Path(), lambda _: None)
    acks.settle([Receipt(child, b"hash", "one", row) for row, child in enumerate(both)], [], run, [])
    assert acks.written_by_us(["one"]) == {"one"}
    assert [(said, ack.child) for said, ack in acks.of_receipts(["one", "receipt SYN3"]).items()] == [
        ("receipt SYN3", alone)
    ]


@pytest.mark.parametrize(("way", "held"), [("start_anew", None), ("take_over", UNKNOWN)])
def test_who_starts_anew_or_takes_over_trusts_no_baseline(
    journal: Journal, acks: Acknowledgements, way: str, held: bytes | None
) -> None:
    child, gone = send(journal, acks, "SYN1", 7), send(journal, acks, "SYN2", 8, held=PURGED)
    acks.owe([child])
    acks.mark([Doubt(child, b"new", None)])
    getattr(acks.table, way)()
    known = acks.of([child, gone])
    assert (known[child].held, known[child].in_doubt, known[child].receipt) == (held, b"new", None)
    assert (known[gone].held, acks.owes(), acks.table.took_over()) == (PURGED, True, way == "take_over")


def test_children_that_the_table_shows_are_counted_once(journal: Journal, acks: Acknowledgements) -> None:
    send(journal, acks, "SYN1", 7)
    send(journal, acks, "SYN2", 8, held=PURGED)
    shown = [[acks.key(name) for name in page] for page in (("SYN1", "SYN2", "SYN3"), ("SYN3", "SYN4"))]
    assert acks.holds_with(shown) == 3
    assert acks.holds_with([[acks.key("SYN3")]]) == 2, "what was shown before counts no more"


def test_a_table_and_its_receiver_are_known_again(journals: Journals) -> None:
    first = journals.open()
    before = acks_of(first)
    send(first, before, "SYN1", 7)
    first.close()
    renamed = Place("https://COUNCIL.example/api", PLACE.la_code, "new#children", PLACE.table)
    again = acks_of(journals.open(), renamed)
    assert (again.table.receiver, again.table.id) == (before.table.receiver, before.table.id)
    assert [again.child(ack.child) for ack in again.of_rows([7])] == ["SYN1"]
    assert again.table.claimed()


def test_two_sessions_mean_the_same_table(journals: Journals) -> None:
    one, other = (acks_of(journals.open()) for _ in range(2))
    assert (one.table.receiver, one.table.id) == (other.table.receiver, other.table.id)
    assert other.table.is_new()
    one.mark([Doubt(one.key("SYN1"), b"hash", None, 7)])
    assert not other.table.is_new()
    assert other.in_doubt() == 1


def test_the_usual_length_follows_a_table_that_shrinks_slowly(acks: Acknowledgements) -> None:
    assert [acks.table.note_walk(rows) for rows in (100, 50, 40, 89, 41)] == [True, True, False, True, False]
    assert acks.table.orphans() == (0, "")
    acks.table.note_orphans(3)
    assert acks.table.orphans()[0] == 3


def test_a_key_is_known_by_its_fingerprint_and_children_of_a_former_one_are_put_away(journal: Journal) -> None:
    key = ClaimedKey(journal)
    assert key.known() == (None, None)
    acks = acks_of(journal)
    child = send(journal, acks, "SYN1", 7)
    assert key.known() == (None, child), "as earlier versions left it"
    key.remember(b"first", archive=False)
    assert (key.known(), acks.holds()) == ((b"first", None), 1)
    key.remember(b"second", archive=True)
    assert (key.known(), acks.holds(), acks.table.claimed()) == ((b"second", None), 0, False)


def test_what_a_run_remembers_is_its_own_and_comes_in_its_order(journal: Journal, journals: Journals) -> None:
    deferred, named = Deferred(journal), NameTable(journal)
    deferred.keep_rows([5, -3, 9, 5])
    deferred.keep_purges([b"b", b"a", b"b"])
    named.enter([("SYN1", 7), ("syn1", 8), ("SYN1", 7), ("SYN2", 9)])
    assert list(deferred.rows(2)) == [[-3, 5], [9]]
    assert (list(deferred.purges(9)), list(deferred.former(9)), deferred.counts()) == ([[b"b", b"a"]], [], (3, 2))
    assert sorted(named.of(["syn1", "syn3"])) == [("syn1", 7), ("syn1", 8)]
    assert Deferred(journal).counts() == (0, 0), "the next run begins with nothing"
    other = journals.open()
    assert NameTable(other).of(["syn1"]) == []
