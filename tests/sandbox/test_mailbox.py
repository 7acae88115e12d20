"""The mailbox itself, by the standard library's client; tests/remote/test_mail.py sends by our own."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from dataflows.sandbox.mailbox import PASSWORD, USER, Mailbox
from dataflows.sandbox.server import Sandbox
from tests.sandbox.client import ask

TEXT = b"Subject: synthetic\r\nMIME-Version: 1.0\r\n\r\none\r\n.two\r\n"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


def send(port: int, text: bytes = TEXT, login: tuple[str, str] | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.org", timeout=5) as client:
        if login:
            client.login(*login)
        client.sendmail("a@example.org", ["b@example.org", "c@example.org"], text)


def test_what_is_sent_can_be_looked_at(box: Sandbox) -> None:
    send(int(box.settings()["SMTP_PORT"]))

    assert ask(box, "GET", "/_sandbox/mailbox/messages").json == [
        {
            "sender": "a@example.org",
            "recipients": ["b@example.org", "c@example.org"],
            "subject": "synthetic",
            "text": "one\r\n.two\r\n",
        }
    ]
    assert ask(box, "GET", "/_sandbox/mailbox/figures").json["status_250"] == 1


def test_reset_forgets_the_messages(box: Sandbox) -> None:
    box.mailbox.faults.set(error_share=1)
    box.reset()
    send(box.mailbox.port)
    box.reset()

    assert box.mailbox.messages == []


def test_it_comes_back_at_its_port_with_its_messages(mailbox: Mailbox) -> None:
    port = mailbox.port
    send(port)
    mailbox.stop()
    with pytest.raises(OSError):
        send(port)
    mailbox.start()
    send(port)

    assert (mailbox.port, len(mailbox.messages)) == (port, 2)


def test_a_client_that_holds_on_does_not_hold_it_up(mailbox: Mailbox) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.port, local_hostname="client.example.org", timeout=5) as client:
        client.ehlo()
        mailbox.stop()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()


@pytest.mark.parametrize(("fault", "taken"), [("drop_next", 0), ("lost_next", 1), ("late_next", 1), ("cut_next", 1)])
def test_the_connection_ends_before_or_after_the_message_is_taken(mailbox: Mailbox, fault: str, taken: int) -> None:
    mailbox.faults.set(**{fault: 1})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(mailbox.port)

    assert len(mailbox.messages) == taken
    [exchange] = mailbox.requests
    assert exchange.committed == bool(taken)


def test_a_login_is_wanted_and_checked(mailbox: Mailbox) -> None:
    mailbox.faults.set(require_login=True)
    with pytest.raises(smtplib.SMTPSenderRefused):
        send(mailbox.port)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        send(mailbox.port, login=(USER, "wrong"))
    send(mailbox.port, login=(USER, PASSWORD))

    assert len(mailbox.messages) == 1


def test_errors_come_by_share_and_the_same_for_the_same_seed() -> None:
    def refused(seed: int) -> list[int]:
        with Mailbox(seed=seed) as mailbox:
            mailbox.faults.set(error_share=0.5)
            return [number for number in range(6) if not took(mailbox.port)]

    first = refused(1)
    assert 0 < len(first) < 6
    assert refused(1) == first


def took(port: int) -> bool:
    try:
        send(port)
    except smtplib.SMTPDataError:
        return False
    return True
