"""What a run that broke off leaves behind, and what the next one makes of it: the hard cases, one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.csc.claims import ClaimedTable
from dataflows.flows.csc.staging import StagingTable
from dataflows.runs import keys
from dataflows.runs.keys import IdentifierCipher
from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import Child, child, episode, plan
from tests.flows.csc.trap import Trap, kill
from tests.flows.csc.truth import same
from tests.flows.csc.world import World
from tests.processes import Program, gated

REOPENED = child(1, social_care_episodes=[episode("e1", closure_date=None)])


class Killed(BaseException):
    """Stands for a kill, where a test is about one exact moment."""


def sent_once(world: World, *payloads: Child, **columns: Any) -> list[int]:
    ids = world.stage(*payloads, **columns)
    assert world.submit().code == 0
    return ids


def killed_at(world: World, method: str, *, before: bool = True) -> None:
    """Run the program, and kill it before (or after) it updates the table so."""
    with pytest.MonkeyPatch.context() as patch:
        original = getattr(StagingTable, method)

        def gone(*arguments: Any) -> Any:
            if not before:
                original(*arguments)
            raise Killed

        patch.setattr(StagingTable, method, gone)
        with pytest.raises(Killed):
            world.submit()


@contextmanager
def when_committed(world: World, what: Callable[[], None]) -> Iterator[None]:
    """Do something once, between the receiver's commit and its answer."""
    commit, pending = world.box.receiver._committed, [what]

    def committed(la_code: str, records: Any) -> Any:
        answer = commit(la_code, records)
        while pending:
            pending.pop()()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.box.receiver, "_committed", committed)
        yield


def lose_the_journal(world: World) -> None:
    for file in (world.folder / "data").glob("journal.db*"):
        file.unlink()


def holds(world: World, payload: Child) -> bool:
    return same(world.box.receiver.child(payload["la_child_id"]), payload)


# --- the database is gone between the answer and the write-back ----------------------------------------------------


@pytest.fixture
def fragile(postgres_url: str) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A PostgreSQL database of its own, and how to make it go and come back."""
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    url = sa.make_url(postgres_url).set(database="fragile")

    def do(*statements: str) -> None:
        with admin.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def go() -> None:
        do(
            "ALTER DATABASE fragile WITH ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fragile'",
        )

    do("CREATE DATABASE fragile")
    try:
        yield (
            url.render_as_string(hide_password=False),
            go,
            lambda: do("ALTER DATABASE fragile WITH ALLOW_CONNECTIONS true"),
        )
    finally:
        go()
        do("DROP DATABASE fragile")
        admin.dispose()


def test_a_database_that_goes_after_the_answer_is_written_back_before_anything_is_sent(
    tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], fragile: Any
) -> None:
    url, go, come_back = fragile
    world = World(tmp_path, box, capsys, url)
    world.stage(*(child(n) for n in range(40)))
    program = Program(tmp_path / "elsewhere", world.environment)
    with when_committed(world, go):
        ended = program.run("csc-submit", "--json", "--workers", "1", BATCH_SIZE="20")
    assert (ended.code, ended["error"]["code"], ended["status"]) == (13, "service_down", "resumable")
    come_back()
    assert set(world.statuses()) == {"Pending"}
    arrived = len(world.requests())
    box.receiver.faults.set(drop_share=1.0)  # so that only the write-back can succeed
    assert program.run("csc-submit", "--json", HTTP_ATTEMPTS="1")["replayed"] == 20
    assert sorted(world.statuses()) == ["Pending"] * 20 + ["sent"] * 20
    box.receiver.faults.clear()
    ended = program.run("csc-submit", "--json")
    assert (ended.code, ended["sent"], ended["in_doubt"]) == (0, 20, 0)
    for row in world.rows():
        assert row.api_response == box.receiver.receipt(json.loads(row.json_payload)["la_child_id"])
        assert row.previous_json_payload == row.json_payload
    names = [one["la_child_id"] for body in world.requests()[:arrived] for one in json.loads(body)]
    assert len(names) == 20, "what was acknowledged is not sent again"
    world.engine.dispose()


def test_a_receipt_that_was_not_written_is_written_by_the_next_run(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, child(1, mis_child_id="m-2"))
    killed_at(here, "record")
    arrived = len(here.requests())
    ran = here.submit()
    assert (ran.code, ran["replayed"], ran["rows"], len(here.requests())) == (0, 1, 0, arrived)
    row = here.row(row_id)
    assert (row.submission_status, row.api_response) == ("sent", here.box.receiver.receipt("SYN1"))
    assert json.loads(row.partial_json_payload) == json.loads(here.requests()[-1])[0]


def test_a_receipt_that_was_written_but_not_noted_changes_nothing(here: World) -> None:
    (row_id,) = here.stage(child(1))
    killed_at(here, "record", before=False)
    before = here.row(row_id)
    assert here.submit().code == 0
    assert here.row(row_id) == before


def test_a_row_reloaded_before_the_replay_and_again_in_flight_keeps_its_trusted_baseline(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both notes of one run are about the same child; the later one counts."""
    (row_id,) = here.stage(child(1))
    killed_at(here, "record")
    rows = StagingTable.rows

    def reloaded_after_the_replay(staging: StagingTable, *arguments: Any) -> Any:
        monkeypatch.undo()
        found = rows(staging, *arguments)
        staging.record = _then(staging.record, lambda: here.restage(row_id, child(1, mis_child_id="m-2")))  # type: ignore[method-assign]
        return found

    monkeypatch.setattr(StagingTable, "rows", reloaded_after_the_replay)
    with when_committed(here, lambda: here.restage(row_id, REOPENED)):
        ran = here.submit()
    assert (ran["replayed"], ran["sent"], ran["reloaded"]) == (1, 1, 1)
    assert here.submit().code == 0
    assert holds(here, REOPENED)


def _then(method: Callable[..., Any], what: Callable[[], None]) -> Callable[..., Any]:
    pending = [what]

    def then(*arguments: Any) -> Any:
        result = method(*arguments)
        while pending:
            pending.pop()()
        return result

    return then


# --- a crash between the two requests of a reset -------------------------------------------------------------------


@pytest.mark.parametrize("then", ["nothing", "the former payload returns", "deletion"])
def test_a_reset_that_was_killed_between_its_requests_is_finished(here: World, then: str) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, REOPENED)
    program = Program(here.folder / "elsewhere", here.environment)
    with program.start("csc-submit") as process, when_committed(here, lambda: kill(process)):
        process.ended()
    assert not holds(here, child(1)) and not holds(here, REOPENED)
    if then == "deletion":
        here.delete(row_id)
    elif then == "the former payload returns":
        here.restage(row_id, child(1))
    assert program.run("csc-submit").code == 0
    if then == "deletion":
        assert here.box.receiver.child("SYN1") is None
    else:
        assert holds(here, REOPENED if then == "nothing" else child(1))


# --- the journal is lost -------------------------------------------------------------------------------------------


def test_without_a_journal_payloads_are_whole_and_the_operator_is_told(here: World) -> None:
    kept, gone, changed = sent_once(here, child(1), child(2), child(3))
    here.delete(gone)
    assert here.submit().code == 0
    lose_the_journal(here)
    here.restage(changed, child(3, social_care_episodes=[episode("e3", child_protection_plans=[plan("p9")])]))
    here.restage(kept, child(1))
    ran = here.submit("--takeover")
    assert (ran.code, ran["full"], ran["delta"], ran["delete"], ran["untrusted"]) == (0, 2, 0, 0, 2)
    assert "everything pending is sent whole" in ran.err
    assert holds(here, child(1))
    assert here.box.receiver.child("SYN2") is None
    assert here.submit()["rows"] == 1  # the deleted row, for which nothing is sent any more
    assert here.submit()["sent"] == 0


def test_csc_reset_child_clears_what_a_lost_journal_would_leave(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    lose_the_journal(here)
    here.restage(row_id, REOPENED)
    assert here.submit("--takeover", CSC_RESET="child")["reset"] == 1
    assert holds(here, REOPENED)


def _killed(*_: object, **__: object) -> None:
    raise Killed


def test_a_key_whose_making_was_killed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(keys, "write_whole", _killed)
        IdentifierCipher.of(tmp_path)
    sealed = IdentifierCipher.of(tmp_path).encrypt("SYN1")
    assert IdentifierCipher.of(tmp_path).decrypt(sealed) == "SYN1"


def test_the_very_first_run_can_be_killed_at_any_moment(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (row_id,) = here.stage(child(1))
    program, trap = Program(here.folder / "elsewhere", here.environment), Trap(here.box, monkeypatch)
    for tenth in range(5, 11):
        here.restage(row_id, child(1, mis_child_id=f"m-{tenth}"))
        data_dir = str(here.folder / f"data-{tenth}")
        trap.arm("time", 1, trap.prelude * tenth / 10)
        with program.start("csc-submit", "--takeover", DATA_DIR=data_dir) as process:
            trap.watch(process)
            process.ended()
            trap.disarm()
        assert program.run("csc-submit", "--takeover", DATA_DIR=data_dir).code == 0  # the same command again
        assert here.box.receiver.child("SYN1") == child(1, mis_child_id=f"m-{tenth}")


# --- what we write ourselves is no reason for mistrust -------------------------------------------------------------


def test_an_error_that_is_corrected_does_not_cost_the_baseline(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, child(1, child_details={"sex": "neither"}))
    assert here.submit().code == 4
    here.restage(row_id, REOPENED)
    ran = here.submit()
    assert (ran.code, ran["reset"], ran["untrusted"]) == (0, 1, 0)
    assert holds(here, REOPENED)


def test_a_refusal_that_is_corrected_does_not_cost_the_baseline(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, child(1, social_care_episodes=[episode("e1", child_protection_plans=[plan("0x1")])]))
    assert here.submit().code == 4
    here.restage(row_id, REOPENED)
    ran = here.submit()
    assert (ran.code, ran["reset"], ran["untrusted"]) == (0, 1, 0)
    assert holds(here, REOPENED)


def test_a_row_that_shows_the_same_error_as_another_is_not_taken_for_it(here: World) -> None:
    """SYN1 is held by row 1; row 2 takes over its name while both show the same words."""
    one, two = sent_once(here, child(1), child(2))
    nonsense = {"child_details": {"sex": "neither"}}
    here.restage(one, {"la_child_id": "SYN3", **nonsense})
    here.restage(two, {"la_child_id": "SYN1", **nonsense})
    ran = here.submit()
    assert (ran.code, ran["invalid"], ran["delete"]) == (3, 2, 1)
    assert {name for _, name in here.box.receiver.children} == {"SYN1"}, "the former name of row 2 is purged"
    here.restage(two, child(1))
    assert here.submit().code == 3
    assert holds(here, child(1))


def test_a_baseline_that_the_loader_overwrote_is_mended_when_its_payload_returns(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, child(1, mis_child_id="m-2"), overwrite_previous=True)
    here.restage(row_id, child(1), overwrite_previous=True)
    assert here.submit()["unchanged"] == 1
    assert here.row(row_id).previous_json_payload == here.row(row_id).json_payload
    here.restage(row_id, REOPENED)
    assert here.submit()["untrusted"] == 0
    assert holds(here, REOPENED)


# --- identifiers that change -----------------------------------------------------------------------------------------


def test_a_first_answer_that_was_lost_does_not_hide_a_child_that_is_renamed(here: World) -> None:
    (row_id,) = here.stage(child(1))
    here.box.receiver.faults.set(lost_next=99)
    assert here.submit().code == 13
    here.box.receiver.faults.clear()
    here.restage(row_id, {**child(1), "la_child_id": "SYN9"})
    assert here.submit().code == 0
    assert {name for _, name in here.box.receiver.children} == {"SYN9"}


def test_a_row_that_is_renamed_and_deleted_at_once_leaves_nothing(here: World) -> None:
    (row_id,) = sent_once(here, child(1))
    here.restage(row_id, {**child(1), "la_child_id": "SYN9"})
    here.delete(row_id)
    assert here.submit().code == 0
    assert here.box.receiver.children == {}
    assert here.submit()["sent"] == 0


def test_people_without_a_person_id_are_not_taken_for_each_other(here: World) -> None:
    """The loader emptied and refilled the table: the ids start again, and no row says whose it is."""
    sent_once(here, child(1), person_id=None)
    with here.engine.begin() as connection:
        connection.execute(here.table.delete())
    here.stage(child(7), id=1, person_id=None)
    assert here.submit()["orphaned"] == 1
    assert {name for _, name in here.box.receiver.children} == {"SYN1", "SYN7"}


def test_a_refilled_table_is_not_taken_for_renamed_children_after_a_kill(here: World) -> None:
    """Nothing of the killed run is in the table, so the new rows look as those did: without any response."""
    here.stage(child(1))
    killed_at(here, "record")
    with here.engine.begin() as connection:
        connection.execute(here.table.delete())
    here.stage(child(7), id=1)
    assert here.submit()["orphaned"] == 1
    assert {name for _, name in here.box.receiver.children} == {"SYN1", "SYN7"}


# --- other hosts and other receivers -------------------------------------------------------------------------------


def test_a_child_that_another_host_brought_back_is_purged_again(here: World) -> None:
    row_id, _ = sent_once(here, child(1), child(2))  # by the second one the table is known again
    here.delete(row_id)
    assert here.submit().code == 0
    here.restage(row_id, child(1))
    assert here.submit("--takeover", DATA_DIR=str(here.folder / "other host")).code == 0
    here.delete(row_id)
    assert here.submit()["delete"] == 1
    assert {name for _, name in here.box.receiver.children} == {child(2)["la_child_id"]}


def test_a_requeue_that_was_killed_half_way_is_asked_for_again(here: World) -> None:
    sent_once(here, child(1), child(2))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ClaimedTable, "start_anew", _killed)
        here.submit("--requeue", LA_CODE="998")
    assert here.submit(LA_CODE="998").code == 10
    assert here.submit("--requeue", LA_CODE="998")["sent"] == 2


def test_a_killed_run_is_enough_to_notice_that_the_receiver_changed(here: World) -> None:
    here.stage(child(1), child(2))
    killed_at(here, "record", before=False)
    here.stage(child(3))
    assert here.submit(LA_CODE="998").code == 10


# --- several reasons to stop at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_stop_that_was_asked_for_outranks_a_receiver_that_says_nothing(here: World, workers: str) -> None:
    here.stage(*(child(n) for n in range(30)))
    program = Program(here.folder / "elsewhere", here.environment)
    patience = {"HTTP_TIMEOUT_SECONDS": "1", "HTTP_ATTEMPTS": "1", "BATCH_SIZE": "5"}
    with gated(here.box.receiver) as gate, program.start("csc-submit", "--json", "--workers", workers, **patience) as p:
        gate.wait()
        p.interrupt()
        ended = p.ended().keeps_the_contract()
    assert (ended.code, ended["status"]) == (130, "resumable")
    assert set(here.statuses()) == {"Pending"}
