"""``test-endpoint --target bucket``, and the client where no pass leads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.patients.world import World, registration


@pytest.fixture
def world(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    world = World(tmp_path, box, capsys, f"sqlite:///{tmp_path / 'practice.db'}")
    yield world
    world.engine.dispose()


def checks(world: World, **environment: str) -> tuple[int, dict[str, tuple[bool | None, str]]]:
    ran = world.call("test-endpoint", "--target", "bucket", "--json", **environment)
    return ran.code, {item["name"]: (item["passed"], item["text"]) for item in ran["items"]}


def test_a_bucket_that_can_be_used(world: World) -> None:
    world.arrive(registration())
    code, found = checks(world)
    assert code == 0
    assert [name for name, (passed, _) in found.items() if passed is not True] == []
    assert len(world.bucket.objects) == 1


@pytest.mark.parametrize(("denied", "check"), [("list", "list"), ("get", "get"), ("delete", "delete")])
def test_a_right_that_is_missing_is_named(world: World, denied: str, check: str) -> None:
    world.bucket.faults.set(deny=denied)
    code, found = checks(world)
    assert code == 12
    assert [name for name, (passed, _) in found.items() if passed is False] == [check]
    assert f"storage.objects.{denied}" in found[check][1]


@pytest.mark.parametrize(
    ("name", "value", "word"), [("versioning", True, "versioning"), ("soft_delete_seconds", 604_800, "7 days")]
)
def test_a_bucket_that_keeps_what_is_deleted_is_a_warning(world: World, name: str, value: object, word: str) -> None:
    world.bucket.faults.set(**{name: value})
    code, found = checks(world)
    passed, text = found["what is deleted"]
    assert (code, passed) == (0, True)
    assert text.startswith("warning") and word in text


def test_a_bucket_that_does_not_say_what_it_keeps(world: World) -> None:
    world.bucket.faults.set(deny="bucket")
    code, found = checks(world)
    assert code == 0
    assert "may not be read" in found["what is deleted"][1]


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"GCS_BUCKET": "another-bucket"}, 10),
        ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}, 13),
        ({"STORAGE_EMULATOR_HOST": "", "GOOGLE_APPLICATION_CREDENTIALS": "/no/such/key.json"}, 10),
    ],
)
def test_what_keeps_it_from_being_used(world: World, environment: dict[str, str], code: int) -> None:
    assert checks(world, **environment)[0] == code


def test_a_list_of_many_pages(world: World) -> None:
    world.bucket.faults.set(page_size=2)
    for number in range(5):
        world.arrive(registration(after=number, token=f"{number:08}"))
    assert world.bring_in()["seen"] == 5
