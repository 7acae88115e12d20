"""What the Hospital Directory may answer, without a wire: nothing is concluded from what cannot be read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from dataflows.errors import DataflowsError, ServiceDown
from dataflows.flows.hospitals.directory import DirectoryApi
from dataflows.flows.hospitals.records import Created, DirectoryRecord, HospitalRefused, NotSent, Unknown
from dataflows.flows.hospitals.rows import Hospital
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from tests.remote.loopback import settings
from tests.remote.mocked import answering

URL = "https://directory.example.org"
BATCH = "00000000-0000-4000-8000-000000000001"
CLINIC = Hospital("Synthetic Clinic", "1 Example Road", None)
WHOLE = {
    "id": 7, "name": "Synthetic Clinic", "address": "1 Example Road", "phone": None,
    "creation_batch_id": BATCH, "active": False,
}  # fmt: skip
ODD: list[object] = [
    7, None, "text", [[1]], {}, {**WHOLE, "name": [[1]]}, {**WHOLE, "phone": {}}, {**WHOLE, "id": True},
    {**WHOLE, "id": "7"}, {**WHOLE, "active": 1}, {**WHOLE, "creation_batch_id": [BATCH]},
]  # fmt: skip


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with answering() as mock:
        yield mock


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DirectoryApi]:
    session = make_session(settings(tmp_path))
    yield DirectoryApi(URL, session, RetryPolicy(1, 10, 0))
    session.close()


def test_a_create_tells_its_id(wire: responses.RequestsMock, directory: DirectoryApi) -> None:
    wire.post(f"{URL}/hospitals/", json=WHOLE)
    created = directory.create(BATCH, CLINIC)
    assert isinstance(created, Created) and created.id == 7
    sent = json.loads(wire.calls[0].request.body or b"")  # type: ignore[arg-type]
    assert sent == {"name": "Synthetic Clinic", "address": "1 Example Road", "creation_batch_id": BATCH}


@pytest.mark.parametrize("answer", ODD, ids=repr)
def test_a_create_that_is_answered_oddly_may_have_been_done(
    wire: responses.RequestsMock, directory: DirectoryApi, answer: object
) -> None:
    wire.post(f"{URL}/hospitals/", json=answer)
    assert directory.create(BATCH, CLINIC) == Unknown("unreadable_answer")


@pytest.mark.parametrize("detail", [[{"loc": ["body", "phone"]}], [[1]], 7, {"a": [[1]]}, [{"loc": 7}, {"loc": [[1]]}]])
def test_a_refusal_names_our_fields_and_nothing_else(
    wire: responses.RequestsMock, directory: DirectoryApi, detail: object
) -> None:
    wire.post(f"{URL}/hospitals/", json={"detail": detail}, status=422)
    refused = directory.create(BATCH, CLINIC)
    assert isinstance(refused, HospitalRefused)
    assert refused.message.startswith("the Hospital Directory refuses ")


def test_the_rate_limit_and_a_closed_door_are_told_apart(wire: responses.RequestsMock, directory: DirectoryApi) -> None:
    wire.post(f"{URL}/hospitals/", status=429)
    assert directory.create(BATCH, CLINIC) == NotSent("rate_limit", limited=True)
    wire.replace(responses.POST, f"{URL}/hospitals/", status=403)
    with pytest.raises(DataflowsError) as raised:
        directory.create(BATCH, CLINIC)
    assert raised.value.exit_code == 12


def test_a_look_shows_the_records(wire: responses.RequestsMock, directory: DirectoryApi) -> None:
    wire.get(f"{URL}/hospitals/batch/{BATCH}", json=[WHOLE])
    assert directory.look(BATCH) == [DirectoryRecord(7, CLINIC, False)]


@pytest.mark.parametrize("answer", [7, {}, [7], *([one] for one in ODD)], ids=repr)
def test_a_look_that_cannot_be_read_concludes_nothing(
    wire: responses.RequestsMock, directory: DirectoryApi, answer: object
) -> None:
    wire.get(f"{URL}/hospitals/batch/{BATCH}", json=answer)
    with pytest.raises(ServiceDown, match="unreadable answer"):
        directory.look(BATCH)


@pytest.mark.parametrize(("status", "body"), [(200, "[[1]]"), (200, ""), (404, "{}"), (302, "")])
def test_what_is_no_directory_is_a_setting_to_correct(
    wire: responses.RequestsMock, directory: DirectoryApi, status: int, body: str
) -> None:
    wire.get(f"{URL}/", body, status=status, headers={"Location": "http://elsewhere.example.org/"})
    with pytest.raises(DataflowsError) as raised:
        directory.wake(1, threading.Event())
    assert raised.value.exit_code == 10
