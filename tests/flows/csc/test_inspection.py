"""``--show``: why is this child sent (again)? For eyes on a terminal only."""

from __future__ import annotations

import pytest

from dataflows.cli.output import Output
from tests.flows.csc.children import child, episode, plan
from tests.flows.csc.world import World


def test_it_is_refused_where_nobody_looks(world: World) -> None:
    (row_id,) = world.stage(child(1))
    ran = world.submit("--show", str(row_id))
    assert (ran.code, ran["error"]["code"]) == (2, "wrong_usage")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Output, "on_terminal", True)


def shown(world: World, row_id: int) -> str:
    world.capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.environment.items():
            patch.setenv(name, value)
        from dataflows.cli.main import main

        assert main(["csc-submit", "--show", str(row_id)]) == 0
    return world.capsys.readouterr().out


def test_it_prints_what_would_be_sent_beside_what_was_acknowledged(world: World, terminal: None) -> None:
    (row_id,) = world.stage(child(1))
    assert "would be sent: full, 1 request(s)" in shown(world, row_id)
    world.submit()
    assert "would not be sent: the receiver holds this payload already" in shown(world, row_id)
    world.restage(row_id, child(1, mis_child_id="m-9"))
    text = shown(world, row_id)
    assert "would be sent: delta" in text
    assert str(world.box.receiver.receipt("SYN1")) in text
    assert '"mis_child_id": "m-9"' in text
    assert '"mis_child_id": "m-1"' in text


def test_it_changes_nothing(world: World, terminal: None) -> None:
    (row_id,) = world.stage(child(1))
    before = world.rows()
    shown(world, row_id)
    assert world.rows() == before
    assert world.requests() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"row_state": "Deleted"}, "would be sent: delete"),
        ({"json_payload": "{}"}, "would not be sent: la_child_id is required"),
    ],
)
def test_it_tells_other_decisions_too(world: World, terminal: None, changes: dict[str, str], words: str) -> None:
    (row_id,) = world.stage(child(1))
    world.submit()
    world.change(row_id, **changes)
    assert words in shown(world, row_id)


def test_an_unknown_row_is_a_usage_error(world: World, terminal: None) -> None:
    assert world.call("csc-submit", "--show", "99").code == 2


def test_it_says_in_words_why(world: World, terminal: None) -> None:
    (row_id,) = world.stage(child(1))
    assert "the journal knows nothing of this child" in shown(world, row_id)
    world.submit()
    changed = [plan("p2"), plan("p3")]
    world.restage(row_id, child(1, child_details={"sex": "F"}, social_care_episodes=[episode("e1")]))
    assert "child_details: a field vanished" in shown(world, row_id)
    world.restage(row_id, child(1, social_care_episodes=[episode("e1", child_protection_plans=changed)]))
    text = shown(world, row_id)
    assert "social_care_episodes[e1].child_protection_plans[p3]: is new" in text
    assert "social_care_episodes[e1].child_protection_plans[p1]: vanished" in text
    assert "child_details" not in text.split("---")[0]
    world.change(row_id, api_response="2026-01-01_00:00:00.00_another-host.json")
    assert "another machine sent it" in shown(world, row_id)


def test_it_says_what_stands_against_a_removal(world: World, terminal: None) -> None:
    world.stage(child(1), submission_status="Sent")
    (deleted,) = world.stage(child(1), row_state="Deleted")
    assert "this row is deleted, and row" in shown(world, deleted)
