"""``test-endpoint --target bucket``, and the client where no pass leads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.flows.practice.patients import bucket
from dataflows.sandbox.server import Sandbox
from tests.flows.patients.world import World, registration
from tests.remote.loopback import reply, serving


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


# --- answers that are none --------------------------------------------------------------------------------------------

PAGES = [
    "{}",
    "[]",
    "[[1]]",
    "null",
    '{"kind": "storage#buckets"}',
    '{"kind": "storage#objects", "items": 7}',
    '{"kind": "storage#objects", "items": [7]}',
    '{"kind": "storage#objects", "items": [], "nextPageToken": [[1]]}',
    '{"kind": "storage#objects", "nextPageToken": "the same"}',
    "<html>please sign in</html>",
    "[" * 100_000,
    "",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page[:70])
def test_a_list_that_is_none_is_no_empty_bucket(world: World, page: str) -> None:
    with serving(reply(200, page.encode(), Content_Type="application/json")) as server:
        ran = world.bring_in(STORAGE_EMULATOR_HOST=server.url, HTTP_ATTEMPTS="1")
    assert ran.code == 13, ran.err


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 429, 500])
@pytest.mark.parametrize("body", ["[[1]]", '{"error": [[1]]}', '{"error": {"message": [[1]], "errors": 7}}', "["])
def test_errors_of_any_shape_are_errors(world: World, status: int, body: str) -> None:
    with serving(reply(status, body.encode(), Content_Type="application/json")) as server:
        ran = world.bring_in(STORAGE_EMULATOR_HOST=server.url, HTTP_ATTEMPTS="1")
    assert ran.code in (10, 12, 13), ran.err


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(world: World, status: int) -> None:
    with serving(reply(200, b'{"kind": "storage#objects"}')) as elsewhere:
        with serving(reply(status, Location=elsewhere.url)) as server:
            ran = world.bring_in(STORAGE_EMULATOR_HOST=server.url, HTTP_ATTEMPTS="1")
        assert elsewhere.requests == []
    assert ran.code in (10, 13), ran.err


def test_an_empty_bucket_is_one(world: World) -> None:
    assert world.bring_in().code == 0


def test_a_list_without_an_end_is_given_up(world: World) -> None:
    world.bucket.faults.set(endless_list=True, page_size=10)
    ran = world.bring_in(HTTP_DEADLINE_SECONDS="0.5", HTTP_ATTEMPTS="1")
    assert ran.code == 13
    assert "never ends" in ran["error"]["message"]


def test_more_objects_than_a_pass_takes_are_for_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "MOST", 3)
    world.bucket.faults.set(page_size=2)
    for number in range(5):
        world.arrive(registration(after=number, token=f"{number:08}"))
    assert [world.bring_in()["seen"], len(world.bucket.objects)] == [3, 2]
    assert [world.bring_in()["seen"], len(world.bucket.objects)] == [2, 0]


@pytest.mark.parametrize("how", ["interim", "trailers", "drip", "flood", "bomb", "deep", "wrong", "redirects"])
def test_a_download_that_never_ends_waits_for_the_next_pass(world: World, how: str) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="download", endless_share=1.0, endless_by=how)
    ran = world.bring_in(HTTP_ATTEMPTS="1", HTTP_TIMEOUT_SECONDS="0.5")
    assert ran.code in (3, 10, 13), ran.err
    assert len(world.bucket.objects) == 1
    world.bucket.faults.clear()
    assert world.bring_in()["imported"] == 1
