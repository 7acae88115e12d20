"""Messages to the operator: sent by SMTP, or written as .eml where no mail server is set. See docs/decisions/mail.md.

Nothing in here raises because of a mail: an import that worked must not fail because nobody could be told.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from dataflows.errors import DataflowsError
from dataflows.hints import pasteable
from dataflows.store.files import private_folder, private_lock, write_whole

if TYPE_CHECKING:
    from dataflows.settings import Settings

KEPT_FOR = timedelta(days=30)
"""How long an unsent message is tried again."""

_SOMEBODY_ELSE = 10.0  # seconds to wait for another command that sends mail
_KIND = "X-Dataflows-Kind"
_FORMAT = policy.SMTP.clone(cte_type="7bit")  # any server takes it


@dataclass(frozen=True)
class Message:
    """What is to be said: a subject of one line and a plain text. Neither may hold personal data.

    ``is_report``: it goes to REPORT_EMAIL, others to NOTIFY_EMAIL.
    """

    subject: str
    text: str
    is_report: bool = False


@dataclass(frozen=True)
class MailResult:
    """What became of the messages: how many were sent, how many are kept for the next run, and why (our own words).

    ``file`` is where the new message was written, when there is no mail server.
    """

    sent: int = 0
    kept: int = 0
    why: str = ""
    file: Path | None = None

    @property
    def is_safe(self) -> bool:
        """Whether the new message was sent, is kept for the next run, or was written."""
        return bool(self.sent or self.kept or self.file)


def post(settings: Settings, message: Message, data_dir: Path, *, stop: threading.Event | None = None) -> MailResult:
    """Send a message, and those that earlier runs could not send; without SMTP_HOST write it to ``outbox`` as .eml.

    What cannot be sent is kept and tried again by the next call of this or of ``deliver``. Never raises for a mail
    that cannot be sent or written; ``stop`` ends the attempt at once.
    """
    try:
        outbox = private_folder(data_dir / "outbox")
        folder = private_folder(outbox / "unsent") if settings.smtp_host else outbox
        file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.eml"
        write_whole(file, _written(settings, message))
    except OSError as error:
        return MailResult(why=f"the message could not be written into {data_dir / 'outbox'} ({type(error).__name__})")
    return deliver(settings, data_dir, stop=stop) if settings.smtp_host else MailResult(file=file)


def deliver(settings: Settings, data_dir: Path, *, stop: threading.Event | None = None) -> MailResult:
    """Send what earlier runs could not send. Never raises; does nothing without SMTP_HOST."""
    unsent = data_dir / "outbox" / "unsent"
    if not settings.smtp_host or not _waiting(unsent):
        return MailResult()
    try:
        locks = private_folder(data_dir / "locks")
        with private_lock(locks / "mail.lock", timeout=_SOMEBODY_ELSE):
            return _sent(settings, unsent, stop)
    except Timeout:
        return MailResult(kept=len(_waiting(unsent)), why="another command is sending mail")
    except OSError as error:
        return MailResult(kept=len(_waiting(unsent)), why=f"{unsent} cannot be worked in ({type(error).__name__})")


def _written(settings: Settings, message: Message) -> bytes:
    """The message as it travels. Line ends and control characters cannot make headers of their own."""
    mail = EmailMessage(policy=_FORMAT)
    mail["Subject"] = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", _sound(message.subject)).split())
    if message.is_report:
        mail[_KIND] = "report"
    _address(mail, settings)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = make_msgid(domain=_sender(settings).rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers this
    mail.set_content(_sound(pasteable(message.text)))
    return mail.as_bytes()


def _sound(text: str) -> str:
    """The text without halves of characters, which no encoding takes (they come from undecodable file names)."""
    return text.encode("utf-8", "replace").decode()


def _address(mail: EmailMessage, settings: Settings) -> None:
    """Sender and recipient as the settings are now: they may have been wrong when the message was written."""
    del mail["From"], mail["To"]
    mail["From"], mail["To"] = _sender(settings), _recipient(mail, settings)


def _recipient(mail: EmailMessage, settings: Settings) -> str:
    return (settings.report_email if _KIND in mail else None) or settings.notify_email


def _sender(settings: Settings) -> str:
    return settings.mail_from or settings.notify_email


def _waiting(unsent: Path) -> list[Path]:
    """The messages that wait, oldest first."""
    return sorted(unsent.glob("*.eml"))


def _sent(settings: Settings, unsent: Path, stop: threading.Event | None) -> MailResult:
    """Send all that waits; a message that is refused does not hold up the others, a server that is gone does."""
    from dataflows.remote.smtp import MessageRefused, connected

    sent, why = 0, ""
    try:
        with connected(settings, stop) as server:
            for file in _waiting(unsent):
                try:
                    server.take(_sender(settings), *_readdressed(file, settings))
                except MessageRefused as refusal:
                    why = refusal.message
                    _give_up_on_the_old(file)
                else:
                    file.unlink()
                    sent += 1
    except DataflowsError as error:
        why = error.message
    return MailResult(sent, len(_waiting(unsent)), why)


def _readdressed(file: Path, settings: Settings) -> tuple[str, bytes]:
    """Return the recipient and the message."""
    data = file.read_bytes()
    try:
        mail = message_from_bytes(data, EmailMessage, policy=_FORMAT)
        _address(mail, settings)
        return _recipient(mail, settings), mail.as_bytes()
    except (ValueError, LookupError, TypeError, AttributeError):  # somebody edited it: then it goes as it is
        return settings.notify_email, data


def _give_up_on_the_old(file: Path) -> None:
    if time.time() - file.stat().st_mtime > KEPT_FOR.total_seconds():
        file.replace(file.parent.parent / file.name)
