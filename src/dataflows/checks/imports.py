"""What the imports use: the bucket and the rights on it, the brokers, the mail server. Nothing is deleted or sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file, origin
from dataflows.errors import ExitCode, ServiceDown

if TYPE_CHECKING:
    from dataflows.flows.practice.patients.bucket import BucketClient
    from dataflows.remote.smtp import MailServer
    from dataflows.settings import Settings

_DAY = 86_400  # seconds


def check_bucket(settings: Settings) -> Iterator[Check]:
    """The bucket: can it be reached, may we list, get and delete, and does it keep what is deleted."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    yield Check("GCS_BUCKET", True, f"{settings.gcs_bucket}, from the {settings.origin('GCS_BUCKET')}")
    yield Check("credentials", True, _credentials(settings))
    with closing(_BucketCheck(settings)) as asked:
        yield attempt("connection", asked.connection)
        for right in ("list", "get", "delete"):
            yield attempt(right, partial(asked.right, right), "connection")
        yield attempt("what is deleted", asked.keeping, "connection")


class _BucketCheck:
    """The bucket, asked once each: a diagnosis says what is, and does not try again."""

    def __init__(self, settings: Settings) -> None:
        from dataflows.flows.practice.patients.bucket import BucketClient
        from dataflows.remote.retry import RetryPolicy

        once = RetryPolicy(attempts=1, deadline=settings.http_deadline_seconds, max_wait=0)
        self._bucket: BucketClient = BucketClient(settings, once)
        self._rights: set[str] = set()

    def connection(self) -> str:
        self._rights = self._bucket.rights()
        return f"{self._bucket.where} answers"

    def right(self, name: str) -> Check:
        right = f"storage.objects.{name}"
        if right in self._rights:
            return Check(name, True, f"{right} is granted")
        return Check(
            name, False, f"{right} is not granted", "give the account a role that has it", ExitCode.ACCESS_REFUSED
        )

    def keeping(self) -> Check:
        """Deleted is not gone where the bucket keeps versions, or deleted objects for some days."""
        found = self._bucket.keeping()
        if found.versioning is None:
            return Check(_DELETED, True, "the bucket's settings may not be read, so this is not known", _LOOK)
        kept = ["old versions (versioning is on)"] if found.versioning else []
        if found.soft_delete_seconds:
            kept.append(f"deleted objects for {found.soft_delete_seconds / _DAY:g} days (soft delete)")
        if kept:
            return Check(_DELETED, True, f"warning: the bucket keeps {' and '.join(kept)}", _LOOK)
        return Check(_DELETED, True, "is gone")

    def close(self) -> None:
        self._bucket.close()


_DELETED = "what is deleted"
_LOOK = "registrations contain personal data: switch versioning and soft delete off, or shorten what is kept"


def _credentials(settings: Settings) -> str:
    if settings.storage_emulator_host:
        return "none: STORAGE_EMULATOR_HOST names a stand-in"
    if settings.google_application_credentials:
        return f"the key file {settings.google_application_credentials}"
    return "Google's default credentials"


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
        f"topic {topic}", True, "warning: is not there", "create it, unless the brokers create topics automatically"
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
        return f"a message from {sender} to {settings.notify_email} would be accepted; none was sent"

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
