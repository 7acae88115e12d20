"""A new version of DfE's schema, through the real program: what it allows is sent, what it brings is purged again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import child, episode
from tests.flows.csc.schemas import DFE_FILE, SCHEMAS, grown_document
from tests.flows.csc.world import World


@pytest.fixture
def grown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    """An authority whose receiver and program work under the grown schema."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(grown_document()), encoding="utf-8")
    with Sandbox(seed=1, schema=SCHEMAS["grown"]) as box:
        world = World(tmp_path, box, capsys)
        world.environment["CSC_SCHEMA"] = str(path)
        yield world


def with_meetings(*names: str, **changes: Any) -> dict[str, Any]:
    """A child with family meetings, which only the grown schema knows, and a dot in a worker's id."""
    meetings = [{"family_meeting_id": name, "topics": ["A"]} for name in names]
    worker = [{"worker_id": "w.1"}]
    return child(
        1, social_care_episodes=[episode("e1", family_meetings=meetings, care_worker_details=worker, **changes)]
    )


def test_what_is_new_is_sent_changed_purged_and_reset(grown: World) -> None:
    first = with_meetings("f1", "f2", closure_note_code="7")
    (row_id,) = grown.stage(first)
    assert grown.submit()["sent"] == 1
    assert grown.box.receiver.child("SYN1")

    grown.restage(row_id, without_one := with_meetings("f2", closure_note_code="7"))
    assert (ran := grown.submit()).code == 0
    assert ran["delta"] == 1
    [sent] = json.loads(grown.requests()[-1])
    assert sent["social_care_episodes"][0]["family_meetings"] == [{"family_meeting_id": "f1", "purge": True}]
    held = grown.box.receiver.child("SYN1") or {}
    assert (
        held["social_care_episodes"][0]["family_meetings"] == without_one["social_care_episodes"][0]["family_meetings"]
    )

    grown.restage(row_id, with_meetings("f2"))  # closure_note_code vanished
    assert grown.submit()["reset"] == 1
    assert "closure_note_code" not in (grown.box.receiver.child("SYN1") or {})["social_care_episodes"][0]


def test_without_the_document_the_new_is_an_error(world: World) -> None:
    world.stage(with_meetings("f1"))
    assert world.submit()["invalid"] == 1
    assert world.requests() == []


def test_another_shape_leaves_baselines_that_the_table_proves(grown: World) -> None:
    """Skeletons of the built-in shape cannot be read under the new one: the previous payload stands in for them."""
    path = grown.environment.pop("CSC_SCHEMA")
    (row_id,) = grown.stage(child(1))
    assert grown.submit()["sent"] == 1
    grown.environment["CSC_SCHEMA"] = path
    grown.restage(row_id, with_meetings("f1"))
    ran = grown.submit()
    assert (ran.code, ran["delta"], ran["untrusted"]) == (0, 1, 0)


def test_dfe_own_document_changes_nothing(world: World) -> None:
    (row_id,) = world.stage(child(1))
    assert world.submit()["sent"] == 1
    world.restage(row_id, child(1, mis_child_id="m-2"), overwrite_previous=True)
    world.change(row_id, previous_json_payload=json.dumps(child(1, mis_child_id="m-9")))
    ran = world.submit(CSC_SCHEMA=str(DFE_FILE))
    assert (ran.code, ran["delta"], ran["untrusted"]) == (0, 1, 0)
    assert world.held(child(1, mis_child_id="m-2"))


def test_a_document_that_cannot_be_used_stops_the_run(world: World, tmp_path: Path) -> None:
    world.stage(child(1))
    ran = world.submit(CSC_SCHEMA=str(tmp_path / "none.json"))
    assert ran.code == 10
    assert "CSC_SCHEMA cannot be read" in ran["error"]["message"]
    assert world.statuses() == ["Pending"]


def test_the_sandbox_command_takes_a_document_too(tmp_path: Path, world: World) -> None:
    ran = world.call("sandbox", "--schema", str(tmp_path / "none.json"))
    assert ran.code == 10
