"""The bucket, as the real google-cloud-storage finds it, and as it breaks."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions as google
from google.api_core.retry import Retry
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from dataflows.sandbox.bucket import BUCKET
from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.storage import crc32c, selected
from tests.sandbox.client import ask

NAME = "Müller-Lüdenscheidt_Anna Lena_2000-01-01_0b1ab67b.json"
AT_ONCE: Retry = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.01).with_timeout(5)


@pytest.fixture
def bucket(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Bucket]:
    """The sandbox's bucket through the real library."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", box.url)
    client = storage.Client(project="synthetic")
    yield client.bucket(BUCKET)
    client.close()


def asked(box: Sandbox) -> list[tuple[str, int | None]]:
    """What became of the requests, without those for the bucket's metadata that the library makes on its own."""
    return [(one.fate, one.status) for one in box.bucket.requests if not one.path.endswith(BUCKET)]


def names(bucket: storage.Bucket, **how: Any) -> list[str]:
    return [blob.name for blob in bucket.list_blobs(**how)]


def test_a_list_shows_what_an_import_needs_in_pages(box: Sandbox, bucket: storage.Bucket) -> None:
    moment = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
    generations = [box.bucket.put(f"b{n}.json", b"synthetic", updated=moment) for n in range(5)]
    box.bucket.faults.set(page_size=2)
    blobs = list(bucket.list_blobs(fields="items(name,generation,size,crc32c,updated),nextPageToken"))

    assert [blob.name for blob in blobs] == [f"b{n}.json" for n in range(5)]
    assert [blob.generation for blob in blobs] == generations
    assert {(blob.size, blob.crc32c, blob.updated, blob.md5_hash) for blob in blobs} == {
        (9, crc32c(b"synthetic"), moment, None)
    }
    assert len([one for one in box.bucket.requests if one.path.endswith("/o")]) == 3


def test_a_list_can_be_narrowed(box: Sandbox, bucket: storage.Bucket) -> None:
    for name in ("a", "b1", "b2", "c", "ä"):
        box.bucket.put(name, b"")

    assert names(bucket) == ["a", "b1", "b2", "c", "ä"]
    assert names(bucket, prefix="b") == ["b1", "b2"]
    assert names(bucket, start_offset="b2", end_offset="ä") == ["b2", "c"]
    assert names(bucket, max_results=1) == ["a"]


def test_an_empty_list_is_empty(bucket: storage.Bucket) -> None:
    assert names(bucket) == []


@pytest.mark.parametrize("name", [NAME, "with blank/and #?%25 sign.json", "Mu\u0308ller.json"])
def test_an_object_comes_back_under_the_name_it_went_in(box: Sandbox, bucket: storage.Bucket, name: str) -> None:
    generation = box.bucket.put(name, b"synthetic")
    blob = bucket.get_blob(name)

    assert (blob.name, blob.generation) == (name, generation)
    assert blob.download_as_bytes(if_generation_match=generation) == b"synthetic"
    assert bucket.blob(name).download_as_bytes() == b"synthetic"
    bucket.blob(name).delete(if_generation_match=generation)
    assert box.bucket.objects == {}


@pytest.mark.parametrize("size", [0, 11, 300_000])
def test_the_library_uploads_in_one_piece(box: Sandbox, bucket: storage.Bucket, size: int) -> None:
    data = (b"syn\r\nthetic--" * 30_000)[:size]
    bucket.blob(NAME).upload_from_string(data, content_type="application/json", checksum="crc32c")

    assert box.bucket.objects[NAME][1] == data
    assert bucket.get_blob(NAME).content_type == "application/json"


def test_a_simple_upload_is_taken_too(box: Sandbox) -> None:
    # the library never sends one, curl does
    reply = ask(box, "POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=a.json", b"synthetic")

    assert (reply.status, reply.json["name"]) == (200, "a.json")
    assert box.bucket.objects["a.json"][1] == b"synthetic"


def test_an_upload_with_a_wrong_checksum_is_refused(box: Sandbox, bucket: storage.Bucket) -> None:
    blob = bucket.blob(NAME)
    blob.crc32c = base64.b64encode(b"none").decode()
    with pytest.raises(google.BadRequest):
        blob.upload_from_string(b"synthetic", checksum=None)

    assert box.bucket.objects == {}


def test_an_upload_can_insist_on_a_new_name(box: Sandbox, bucket: storage.Bucket) -> None:
    bucket.blob(NAME).upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(google.PreconditionFailed):
        bucket.blob(NAME).upload_from_string(b"second", if_generation_match=0)

    assert box.bucket.objects[NAME][1] == b"first"


def test_generations_rise_and_never_come_again(box: Sandbox) -> None:
    first = box.bucket.put("a", b"")
    second = box.bucket.put("a", b"")
    box.reset()

    assert first < second < box.bucket.put("a", b"")


@pytest.mark.parametrize("what", ["download_as_bytes", "delete", "reload"])
def test_another_generation_is_refused(box: Sandbox, bucket: storage.Bucket, what: str) -> None:
    old = box.bucket.put(NAME, b"old")
    new = box.bucket.put(NAME, b"new")
    with pytest.raises(google.PreconditionFailed):
        getattr(bucket.blob(NAME), what)(if_generation_match=old)

    assert box.bucket.objects == {NAME: (new, b"new")}


@pytest.mark.parametrize("what", ["download_as_bytes", "delete", "reload"])
def test_what_is_not_there_is_not_found(box: Sandbox, bucket: storage.Bucket, what: str) -> None:
    with pytest.raises(google.NotFound):
        getattr(bucket.blob(NAME), what)(if_generation_match=1)
    with pytest.raises(google.NotFound):
        getattr(bucket.client.bucket("another").blob(NAME), what)()


def test_a_wrong_hash_is_noticed(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.put(NAME, b"synthetic")
    for fault in ("bad_hash_next", "damaged_next"):
        box.bucket.faults.set(**{fault: 1})
        with pytest.raises(DataCorruption):
            bucket.blob(NAME).download_as_bytes()

    assert bucket.blob(NAME).download_as_bytes() == b"synthetic"


def test_a_share_of_the_hashes_can_be_wrong(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(bad_hash_share=1)
    with pytest.raises(DataCorruption):
        bucket.blob(NAME).download_as_bytes()


def test_after_a_cut_body_the_library_asks_for_the_rest(box: Sandbox, bucket: storage.Bucket) -> None:
    generation = box.bucket.put(NAME, b"synthetic" * 10_000)
    box.bucket.faults.set(only="download", cut_next=1)
    blob = bucket.blob(NAME)

    assert blob.download_as_bytes(if_generation_match=generation, retry=AT_ONCE) == b"synthetic" * 10_000
    assert asked(box) == [("cut", 200), ("answered", 206)]


def test_a_cut_body_without_retry_is_an_error(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(only="download", cut_next=1)
    with pytest.raises(Exception, match=r"IncompleteRead|Connection broken"):
        bucket.blob(NAME).download_as_bytes(retry=None)


def test_a_delete_whose_answer_is_lost_was_done(box: Sandbox, bucket: storage.Bucket) -> None:
    generation = box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(only="delete", lost_next=1)
    assert names(bucket) == [NAME]
    with pytest.raises(google.NotFound):  # by the second attempt
        bucket.blob(NAME).delete(if_generation_match=generation, retry=AT_ONCE)

    assert box.bucket.objects == {}
    assert asked(box) == [("answered", 200), ("lost", None), ("answered", 404)]


def test_503_for_a_while_passes(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(error_next=3, retry_after="7")

    assert names(bucket, retry=AT_ONCE) == [NAME]
    with pytest.raises(google.ServiceUnavailable) as caught:
        box.bucket.faults.set(error_next=1)
        names(bucket, retry=None)
    assert caught.value.response.headers["Retry-After"] == "7"


def test_412_can_be_ordered(box: Sandbox, bucket: storage.Bucket) -> None:
    generation = box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(only="delete", error_status=412, error_next=1)
    with pytest.raises(google.PreconditionFailed):
        bucket.blob(NAME).delete(if_generation_match=generation)

    assert NAME in box.bucket.objects


def test_an_object_can_be_replaced_right_after_it_was_read(box: Sandbox, bucket: storage.Bucket) -> None:
    generation = box.bucket.put(NAME, b"old")
    box.bucket.then("download", lambda: box.bucket.put(NAME, b"new"))

    assert bucket.blob(NAME).download_as_bytes(if_generation_match=generation) == b"old"
    with pytest.raises(google.PreconditionFailed):
        bucket.blob(NAME).delete(if_generation_match=generation)
    assert box.bucket.objects[NAME][1] == b"new"


def test_actions_come_one_by_one_and_only_for_their_kind(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.then("list", lambda: box.bucket.put("1", b""))
    box.bucket.then("list", lambda: box.bucket.put("2", b""))
    bucket.exists()

    assert [names(bucket) for _ in range(3)] == [[], ["1"], ["1", "2"]]
    with pytest.raises(ValueError, match="a request is one of"):
        box.bucket.then("look", bucket.exists)


def test_a_missing_right_is_told_and_enforced(box: Sandbox, bucket: storage.Bucket) -> None:
    box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(deny="delete")
    rights = ["storage.objects.list", "storage.objects.get", "storage.objects.delete"]

    assert bucket.test_iam_permissions(rights) == rights[:2]
    assert bucket.blob(NAME).download_as_bytes() == b"synthetic"
    with pytest.raises(google.Forbidden):
        bucket.blob(NAME).delete()
    assert NAME in box.bucket.objects


@pytest.mark.parametrize(
    ("right", "request_of"),
    [
        ("list", names),
        ("get", lambda bucket: bucket.blob(NAME).download_as_bytes()),
        ("upload", lambda bucket: bucket.blob("new").upload_from_string(b"")),
        ("bucket", lambda bucket: bucket.reload()),
    ],
)
def test_every_right_can_be_missing(box: Sandbox, bucket: storage.Bucket, right: str, request_of: Any) -> None:
    box.bucket.put(NAME, b"synthetic")
    box.bucket.faults.set(deny=right)
    with pytest.raises(google.Forbidden):
        request_of(bucket)


def test_the_bucket_says_how_long_it_keeps_what_is_deleted(box: Sandbox, bucket: storage.Bucket) -> None:
    bucket.reload()
    assert (bucket.versioning_enabled, bucket.soft_delete_policy.retention_duration_seconds) == (False, 0)

    box.bucket.faults.set(versioning=True, soft_delete_seconds=604_800)
    bucket.reload()
    assert (bucket.versioning_enabled, bucket.soft_delete_policy.retention_duration_seconds) == (True, 604_800)


def test_what_is_stored_can_be_looked_at(box: Sandbox) -> None:
    generation = box.bucket.put(NAME, b"synthetic")

    [found] = ask(box, "GET", "/_sandbox/bucket/objects").json
    assert (found["name"], found["generation"], found["size"]) == (NAME, str(generation), "9")
    assert ask(box, "GET", "/_sandbox/bucket/figures").json["objects"] == 1


@pytest.mark.parametrize(
    ("fields", "rest"),
    [
        ("", {"items": [{"a": 1, "b": {"c": 2, "d": 3}}], "next": "x", "kind": "k"}),
        ("*", {"items": [{"a": 1, "b": {"c": 2, "d": 3}}], "next": "x", "kind": "k"}),
        ("next,items(a)", {"items": [{"a": 1}], "next": "x"}),
        ("items/b/c,kind", {"items": [{"b": {"c": 2}}], "kind": "k"}),
        ("items(a,b/d),absent", {"items": [{"a": 1, "b": {"d": 3}}]}),
        ("items(b(c,d)),next", {"items": [{"b": {"c": 2, "d": 3}}], "next": "x"}),
    ],
)
def test_an_answer_has_the_fields_that_were_asked_for(fields: str, rest: object) -> None:
    value = {"items": [{"a": 1, "b": {"c": 2, "d": 3}}], "next": "x", "kind": "k"}
    assert selected(value, fields) == rest
