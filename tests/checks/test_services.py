"""The diagnostics of each service, against real servers: what is well, and every way in which it can be wrong."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Producer

from dataflows.checks import SERVICES, Check, check_all
from dataflows.errors import ExitCode
from dataflows.sandbox.mailbox import PASSWORD, USER, Mailbox
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Secret, Settings, load, table
from tests.kafka import running
from tests.remote.loopback import Answer, closed_port, reply, serving

CLOSED = f"http://127.0.0.1:{closed_port()}"
CANARY = "5ecret-0f-the-operator"


def checked(target: str, settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in SERVICES[target].check(settings)}


def outcome(check: Check) -> tuple[bool | None, ExitCode]:
    return check.passed, check.exit_code


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, http_timeout_seconds=2, http_connect_timeout_seconds=2)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=1, lean=True) as running_box:
        yield running_box


# --- hospitals -------------------------------------------------------------------------------------------------------


def test_a_directory_that_is_awake_passes(settings: Settings, box: Sandbox) -> None:
    address = box.settings()["EXTERNAL_API_BASE_URL"]
    found = checked("hospitals", replace(settings, external_api_base_url=address))
    assert {check.passed for check in found.values()} == {True}
    assert "without proxy, without TLS" in found["connection"].text
    assert found["batches"].text == "a batch that does not exist is answered as such"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(200, b"<html>"), ExitCode.SETTINGS),
        (reply(404), ExitCode.SETTINGS),
        (reply(403), ExitCode.ACCESS_REFUSED),
        (reply(503), ExitCode.SERVICE_DOWN),
    ],
)
def test_what_is_no_directory_fails(settings: Settings, answer: Answer, code: ExitCode) -> None:
    with serving(answer) as server:
        found = checked("hospitals", replace(settings, external_api_base_url=server.url))
    assert outcome(found["connection"]) == (False, code)
    assert found["connection"].hint
    assert found["batches"].passed is None


def test_a_directory_that_shows_what_nobody_made_fails(settings: Settings) -> None:
    def answer(connection: object, request: object) -> None:
        batch = getattr(request, "line").split()[1].rpartition("/")[2]  # noqa: B009
        record = '[{"id": 1, "name": "a", "address": "b", "phone": null, "active": false, "creation_batch_id": "%s"}]'
        reply(200, (record % batch).encode() if batch else b"{}")(connection, request)  # type: ignore[arg-type]

    with serving(answer) as server:
        found = checked("hospitals", replace(settings, external_api_base_url=server.url))
    assert outcome(found["batches"]) == (False, ExitCode.SERVICE_DOWN)


def test_a_directory_that_is_not_reached_fails(settings: Settings) -> None:
    found = checked("hospitals", replace(settings, external_api_base_url=CLOSED))
    assert outcome(found["connection"]) == (False, ExitCode.SERVICE_DOWN)


# --- cqc -------------------------------------------------------------------------------------------------------------


def test_each_export_is_looked_at_and_none_is_written(settings: Settings, box: Sandbox, tmp_path: Path) -> None:
    urls = {name.removeprefix("CQC_URL_").lower(): url for name, url in box.settings().items() if "CQC_URL_" in name}
    found = checked("cqc", replace(settings, cqc_urls=urls))
    assert {check.passed for check in found.values()} == {True}
    assert {"homecare", "carehomes", "directory"} <= found.keys()
    assert found["homecare"].text.startswith("from CQC_URL_HOMECARE, 127.0.0.1:")
    assert "the header of a CSV file came in" in found["homecare"].text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(200, b"<html><body>moved</body></html>"), ExitCode.SETTINGS),
        (reply(200, b"nothing that has a header\n"), ExitCode.SETTINGS),
        (reply(403), ExitCode.ACCESS_REFUSED),
        (reply(404), ExitCode.SETTINGS),
        (reply(503), ExitCode.SERVICE_DOWN),
    ],
)
def test_what_is_no_export_fails_and_the_others_are_still_looked_at(
    settings: Settings, box: Sandbox, answer: Answer, code: ExitCode
) -> None:
    right = box.settings()["CQC_URL_HOMECARE"]
    with serving(answer) as server:
        found = checked("cqc", replace(settings, cqc_urls={"homecare": server.url, "carehomes": right}))
    assert outcome(found["homecare"]) == (False, code)
    assert found["carehomes"].passed is True


# --- bucket ----------------------------------------------------------------------------------------------------------


def test_a_key_file_that_cannot_be_read_is_no_bucket_that_is_away(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "key.json"
    folder.mkdir()
    found = checked("bucket", replace(settings, google_application_credentials=folder))
    assert outcome(found["connection"]) == (False, ExitCode.SETTINGS)
    assert found["connection"].text.startswith("GOOGLE_APPLICATION_CREDENTIALS cannot be read")


# --- mail ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mailbox(authority: trustme.CA) -> Iterator[Mailbox]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with Mailbox(tls=context) as running_box:
        yield running_box


@pytest.fixture
def posting(settings: Settings, mailbox: Mailbox, authority: trustme.CA, tmp_path: Path) -> Settings:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return replace(
        settings,
        smtp_host="localhost", smtp_port=mailbox.port, requests_ca_bundle=bundle,
        mail_from="dataflows@example.org", notify_email="notify@example.org",
    )  # fmt: skip


def test_a_mail_server_that_takes_messages_passes_and_gets_none(posting: Settings, mailbox: Mailbox) -> None:
    found = checked("mail", replace(posting, smtp_user=USER, smtp_password=Secret(PASSWORD)))
    assert {check.passed for check in found.values()} == {True}
    assert "TLSv1.3, logged in as synthetic-user" in found["connection"].text
    assert found["sender and recipient"].text.endswith("would be accepted; none was sent")
    assert mailbox.messages == []


def test_a_plain_connection_is_told(posting: Settings) -> None:
    found = checked("mail", replace(posting, smtp_starttls=False))
    assert "not encrypted, without login" in found["connection"].text


def test_a_login_that_is_refused_fails(posting: Settings) -> None:
    found = checked("mail", replace(posting, smtp_user=USER, smtp_password=Secret("another")))
    assert outcome(found["connection"]) == (False, ExitCode.ACCESS_REFUSED)
    assert found["sender and recipient"].passed is None


@pytest.mark.parametrize(
    ("place", "status", "code", "hint"),
    [
        ("sender", 550, ExitCode.SETTINGS, "MAIL_FROM"),
        ("recipient", 553, ExitCode.SETTINGS, "NOTIFY_EMAIL"),
        ("recipient", 450, ExitCode.SERVICE_DOWN, "later"),
    ],
)
def test_an_envelope_that_is_refused_fails(
    posting: Settings, mailbox: Mailbox, place: str, status: int, code: ExitCode, hint: str
) -> None:
    mailbox.faults.set(error_next=1, error_at=place, error_status=status)
    envelope = checked("mail", posting)["sender and recipient"]
    assert outcome(envelope) == (False, code)
    assert hint in envelope.hint


def test_a_mail_server_that_is_not_reached_says_what_to_look_at(settings: Settings) -> None:
    found = checked("mail", replace(settings, smtp_host="127.0.0.1", smtp_port=closed_port()))
    assert outcome(found["connection"]) == (False, ExitCode.SERVICE_DOWN)
    assert found["connection"].hint == "check SMTP_HOST, SMTP_PORT, and the firewall"


def test_an_authority_that_is_not_known_keeps_its_hint(posting: Settings) -> None:
    found = checked("mail", replace(posting, requests_ca_bundle=None))
    assert outcome(found["connection"]) == (False, ExitCode.SERVICE_DOWN)
    assert "REQUESTS_CA_BUNDLE" in found["connection"].hint


@pytest.mark.parametrize("answers", [(b"550 no\r\n", b"550 no\r\n"), ()])
def test_a_mail_server_that_breaks_off_before_the_envelope_fails(
    settings: Settings, answers: tuple[bytes, ...]
) -> None:
    with talking(b"220 ready\r\n", *answers) as port:
        found = checked("mail", replace(settings, smtp_host="127.0.0.1", smtp_port=port, smtp_starttls=False))
    envelope = found["sender and recipient"]
    assert outcome(envelope) == (False, ExitCode.SERVICE_DOWN)
    assert envelope.hint == "check SMTP_HOST, SMTP_PORT, and the firewall"


@contextmanager
def talking(greeting: bytes, *answers: bytes) -> Iterator[int]:
    """A server that greets, gives one answer to each line, and hangs up. Yields its port."""

    def serve() -> None:
        with listener.accept()[0] as line, line.makefile("rb") as heard:
            line.sendall(greeting)
            for answer in answers:
                heard.readline()
                line.sendall(answer)
            heard.readline()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


# --- kafka -----------------------------------------------------------------------------------------------------------


def test_brokers_that_answer_pass_and_topics_that_are_not_there_are_a_warning(settings: Settings) -> None:
    with running() as brokers:
        publisher = Producer({"bootstrap.servers": brokers.servers})
        publisher.produce("patient-events", b"{}", b"key")  # which makes it
        assert publisher.flush(10) == 0
        found = checked("kafka", replace(settings, kafka_bootstrap_servers=brokers.servers))
    assert {check.passed for check in found.values()} == {True}
    assert found["connection"].text == "1 broker answered"
    assert found["topic patient-events"].text == "is there"
    assert found["topic therapist-events"].text == "warning: is not there"


def test_brokers_that_are_away_fail(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflows.remote.kafka.look.__defaults__", (0.2,))
    found = checked("kafka", replace(settings, kafka_bootstrap_servers=f"127.0.0.1:{closed_port()}"))
    assert outcome(found["connection"]) == (False, ExitCode.SERVICE_DOWN)
    assert found["topic patient-events"].passed is None


# --- health checks ---------------------------------------------------------------------------------------------------


def test_a_health_check_is_reached_and_told_nothing(settings: Settings) -> None:
    with serving(reply(405)) as server:
        urls = {"patient_import": Secret(f"{server.url}/ping/{CANARY}")}
        found = checked("healthchecks", replace(settings, healthcheck_urls=urls))
    assert {check.passed for check in found.values()} == {True}
    assert [request.line for request in server.requests] == ["HEAD / HTTP/1.1"]
    assert "nothing was reported to it" in found["HEALTHCHECK_URL_PATIENT_IMPORT"].text


def test_a_health_check_that_is_away_fails_without_naming_it(settings: Settings) -> None:
    found = checked("healthchecks", replace(settings, healthcheck_urls={"csc_submit": Secret(f"{CLOSED}/{CANARY}")}))
    assert outcome(found["HEALTHCHECK_URL_CSC_SUBMIT"]) == (False, ExitCode.SERVICE_DOWN)
    assert not any(part in repr(found) for part in (CANARY, CLOSED.rpartition(":")[2]))


# --- all of them -----------------------------------------------------------------------------------------------------


def test_what_is_not_configured_is_skipped(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for spec in table():  # those of this machine
        monkeypatch.delenv(spec.name, raising=False)
    for name, value in box.settings().items():
        monkeypatch.setenv(name, value)
    found = list(check_all(SERVICES, load(data_dir=tmp_path / "data")))
    names = [check.name.partition(":")[0] for check in found]
    assert sorted(set(names), key=names.index) == ["env file", *SERVICES]
    assert [check.name for check in found].count("env file") == 1
    assert {check.name for check in found if check.passed is None} == {"kafka", "healthchecks"}
    assert [check for check in found if check.passed is False] == []


@pytest.mark.parametrize("target", ["csc", "mail", "kafka", "healthchecks"])
def test_what_is_asked_for_and_not_configured_says_what_to_set(settings: Settings, target: str) -> None:
    failed = [check for check in checked(target, settings).values() if check.passed is False]
    assert {check.exit_code for check in failed} == {ExitCode.SETTINGS}
    assert all("not set" in check.text and check.hint for check in failed)


def test_where_nothing_is_configured_the_first_one_says_what_to_set(settings: Settings) -> None:
    found = list(check_all(SERVICES, settings))
    assert {check.name.partition(":")[0] for check in found if check.passed is False} == {"csc"}
    assert {check.name for check in found if check.name in SERVICES} == SERVICES.keys() - {"csc"}
