"""``hospitals-bulk`` against the sandbox's Directory, judged by what the Directory then holds."""

from __future__ import annotations

from tests.flows.hospitals.world import World


def test_every_row_is_created_once_and_active(world: World) -> None:
    rows = world.write(20)
    ran = world.send()
    assert (ran.code, ran["batch_activated"]) == (0, True), ran.err
    assert world.is_right(rows)
    assert [one["status"] for one in ran["hospitals"]] == ["created_and_activated"] * 20


def test_a_lost_answer_is_looked_up_and_not_repeated(world: World) -> None:
    rows = world.write(20)
    world.directory.faults_of("create").set(lost_next=1)
    assert world.send().code == 0
    assert world.is_right(rows)
    assert world.directory.calls["create"] == 20


def test_lost_answers_on_all_creates(world: World) -> None:
    rows = world.write(20)
    world.directory.faults_of("create").set(lost_next=20)
    ran = world.send()
    assert (ran.code, ran["status"]) == (13, "resumable")
    assert world.held(active=True).total() == 0
    assert world.resume(ran["run_id"][:8]).code == 0
    assert world.is_right(rows)


def test_the_same_rows_again_are_already_there(world: World) -> None:
    rows = world.write(20)
    first, second = world.send(), world.send()
    assert (second.code, second["counts"]["skipped"], second["batch_id"]) == (0, 20, first["batch_id"])
    assert world.is_right(rows)
    assert world.directory.calls["create"] == 20
