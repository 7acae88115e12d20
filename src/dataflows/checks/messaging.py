"""``--target kafka`` and ``mail``: are broker and mail server reached, and do they let us in; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file, origin
from dataflows.errors import ServiceDown

if TYPE_CHECKING:
    from dataflows.remote.smtp import MailServer
    from dataflows.settings import Settings


def check_kafka(settings: Settings) -> Iterator[Check]:
    """The brokers: do they answer, and are the topics there."""
    attempt, there = Attempt(), set[str]()
    yield Check(ENV_FILE, True, env_file(settings))
    yield attempt("KAFKA_BOOTSTRAP_SERVERS", partial(origin, settings, "KAFKA_BOOTSTRAP_SERVERS"))
    yield attempt("connection", partial(_connection, settings, there), "KAFKA_BOOTSTRAP_SERVERS")
    for topic in ("patient-events", "therapist-events"):
        yield attempt(f"topic {topic}", partial(_topic, topic, there), "connection")


def _connection(settings: Settings, there: set[str]) -> str:
    from dataflows.remote.kafka import look

    brokers, topics = look(settings)
    there |= topics
    return f"{brokers} broker{'' if brokers == 1 else 's'} answered"


def _topic(topic: str, there: set[str]) -> Check:
    if topic in there:
        return Check(f"topic {topic}", True, "is there")
    return Check(
        f"topic {topic}", True, "warning: is not there", "make it, unless the brokers make topics by themselves"
    )


def check_mail(settings: Settings) -> Iterator[Check]:
    """The mail server of the imports: is it reached as the settings say, and does it take sender and recipient."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    yield attempt("SMTP_HOST", partial(origin, settings, "SMTP_HOST"))
    with closing(_MailCheck(settings)) as asked:
        yield attempt("connection", asked.connection, "SMTP_HOST")
        yield attempt("sender and recipient", asked.envelope, "connection")


class _MailCheck:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = ExitStack()
        self._server: MailServer | None = None

    def connection(self) -> str:
        from dataflows.remote.smtp import connected

        with _no_message_is_kept():
            self._server = self._open.enter_context(connected(self._settings, None))
        login = f"logged in as {self._settings.smtp_user}" if self._settings.smtp_user else "without login"
        return f"{self._server.where} answers, {self._server.encryption}, {login}"

    def envelope(self) -> str:
        settings = self._settings
        sender = settings.mail_from or settings.notify_email
        if self._server is not None:
            with _no_message_is_kept():
                self._server.would_take(sender, settings.notify_email)
        return f"a message from {sender} to {settings.notify_email} would be taken; none was sent"

    def close(self) -> None:
        self._open.close()


@contextmanager
def _no_message_is_kept() -> Iterator[None]:
    """A run keeps its message when the server is away, and its hint says so; here there is no message."""
    try:
        yield
    except ServiceDown as error:
        from dataflows.remote.smtp import KEPT

        if error.hint == KEPT:
            error.hint = "check SMTP_HOST, SMTP_PORT, and the firewall"
        raise
