"""What an operator is told is so: of children that CSC_RESET=never keeps back, of renames, of what is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Answer
from tests.flows.csc.children import Child, child, episode
from tests.flows.csc.test_people import by_another_tool, later, lose_data_dir, named, sent, there
from tests.flows.csc.world import World

FORBIDDEN = "so something would have to be purged first, and CSC_RESET=never forbids it"


@pytest.fixture
def here(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    world = World(tmp_path, box, capsys)
    yield world
    world.engine.dispose()


def withheld(here: World, row_id: int) -> str:
    """Run a night in which one child is kept back; returns what its row says, which is what the operator reads."""
    arrived = len(here.requests())
    ran = here.submit(CSC_RESET="never")
    assert (ran.code, ran["withheld"], ran["invalid"], ran["failed"]) == (4 if ran["sent"] == 0 else 3, 1, 0, 1)
    assert len(here.requests()) - arrived == ran["batches"]
    said = str(here.row(row_id).api_response)
    assert said.startswith("Not sent: ") and said.removeprefix("Not sent: ") in ran.err
    return said.removeprefix("Not sent: ")


# --- CSC_RESET=never -------------------------------------------------------------------------------------------------


def test_a_field_that_vanished_is_called_that(here: World) -> None:
    (row_id,) = sent(here, named("K1"))
    here.restage(row_id, named("K1", social_care_episodes=[episode("e1", closure_date=None)]))
    assert withheld(here, row_id) == f"a field vanished, {FORBIDDEN}"
    assert here.submit(CSC_RESET="object").code == 0  # and the words in its row do no harm


def test_a_request_that_was_never_answered_is_called_that(here: World) -> None:
    (row_id,) = here.stage(named("K1"))
    here.box.receiver.faults.set(lost_next=9)
    assert here.submit().code == 13
    here.box.receiver.faults.clear()
    here.restage(row_id, later(named("K1")))
    words = f"an earlier request was never answered and the record changed since, {FORBIDDEN}"
    assert withheld(here, row_id) == words


def test_a_purge_that_was_begun_is_called_that(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request of a reset is refused, so the purge stands alone until CSC_RESET lets it be finished."""
    receiver = here.box.receiver
    (row_id,) = sent(here, named("K1"))
    reopened = named("K1", social_care_episodes=[episode("e1", closure_date=None)])
    here.restage(row_id, reopened)
    commit = receiver._committed

    def only_the_purge(la_code: str, records: list[Child]) -> Answer:
        receiver.faults.set(refuse_ids=["K1"])
        return commit(la_code, records)

    monkeypatch.setattr(receiver, "_committed", only_the_purge)
    assert here.submit()["refused"] == 1
    monkeypatch.undo()
    receiver.faults.clear()
    here.restage(row_id, later(reopened))
    words = f"a purge was begun, and what has to follow it was never acknowledged, {FORBIDDEN}"
    assert withheld(here, row_id) == words


def test_what_the_api_holds_is_not_known_is_only_said_where_it_is_so(here: World) -> None:
    """The acknowledgement is there, but neither a skeleton nor the payload that it was for."""
    (row_id,) = sent(here, named("K1"))
    lose_data_dir(here)
    here.restage(row_id, named("K9", "e9"))
    here.change(row_id, previous_json_payload=json.dumps(named("K1")))
    ran = here.submit("--takeover", CSC_RESET="never")
    said = str(here.row(row_id).api_response)
    assert (ran["withheld"], ran["invalid"]) == (1, 0)
    assert said.startswith("Not sent: the row named another child before and it is not known what the API holds")


# --- renames ---------------------------------------------------------------------------------------------------------


def test_renames_that_are_held_back_are_told_from_deletions(here: World) -> None:
    rows = sent(here, *(named(f"OLD{n}", f"e{n}") for n in range(15)))
    deleted = sent(here, *(named(f"K{n}", f"k{n}") for n in range(3)))
    for n, row_id in enumerate(rows):
        here.restage(row_id, named(f"NEW{n}", f"e{n}"))
    here.delete(*deleted)
    ran = here.submit()
    assert (ran.code, ran["held_back"], ran["sent"], ran["failed"]) == (3, 18, 15, 0)
    [said] = [line for line in ran.err.splitlines() if "children would be removed" in line]
    held = len(there(here))
    assert held == 33
    assert f"18 of {held} children would be removed (15 of them because they no longer have a row)" in said
    assert "they were left unchanged, everything else was sent" in said
    assert not [row for row in here.rows() if row.id in rows and row.submission_status != "sent"]
    ran = here.submit("--allow-mass-delete")
    assert (ran.code, ran["held_back"]) == (0, 0)
    assert there(here) == {f"NEW{n}" for n in range(15)}


def test_deletions_alone_are_not_called_renames(here: World) -> None:
    here.delete(*sent(here, *(named(f"K{n}", f"k{n}") for n in range(12))))
    ran = here.submit()
    assert ran["held_back"] == 12
    assert "12 of 12 children would be removed: they were left" in ran.err


@pytest.mark.parametrize("reset", ["object", "child", "never"])
def test_a_rename_to_an_id_that_was_never_sent_is_an_ordinary_new_child(here: World, reset: str) -> None:
    (row_id,) = sent(here, named("OLD1"))
    here.restage(row_id, named("NEW1"))
    ran = here.submit(CSC_RESET=reset)
    assert (ran.code, ran["full"], ran["untrusted"], ran["withheld"]) == (0, 1, 0, 0)
    assert "not trusted" not in ran.err and "not known" not in ran.err
    assert there(here) == {"NEW1"}


def test_a_rename_to_a_child_that_another_tool_sent_says_that_it_is_not_trusted(here: World) -> None:
    """Beside the last test: here something may remain of the child, and that is said."""
    by_another_tool(here, child(1))
    (row_id,) = here.stage(child(2))
    assert here.submit("--takeover").code == 0
    here.restage(here.rows()[0].id, later(child(1)))
    ran = here.submit()
    assert (ran.code, ran["untrusted"]) == (0, 1)
    assert "1 children were sent whole because it is uncertain what the API holds of them" in ran.err
    assert here.row(row_id).submission_status == "sent"
