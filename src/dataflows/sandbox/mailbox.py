"""The stand-in for a mail server: takes what is sent by SMTP, keeps it in memory, and refuses it on request.

aiosmtpd speaks the protocol (see docs/decisions/mail.md); what can be wrong with a mail server is decided here.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final

from dataflows.sandbox.faults import Fate, Faults, FaultVerdict
from dataflows.sandbox.service import Request, Route, Service
from dataflows.sandbox.wire import HOST

if TYPE_CHECKING:
    import ssl

USER: Final = "synthetic-user"
PASSWORD: Final = "synthetic-mail-password"  # noqa: S105 - opens nothing but this sandbox
SENDER: Final = "dataflows@example.org"
RECIPIENT: Final = "notify@example.org"

_WORDS: Final = {403: "550 synthetic: not allowed", 429: "450 synthetic: too many messages"}


@dataclass
class MailboxFaults(Faults):
    """What the mail server is like, and its faults, which strike one message each.

    ``error_status`` is a reply of SMTP: 4xx is worth another try, 5xx is not. A message whose answer is lost, late or
    cut was taken.

    Attributes:
        error_at: where it is refused: its sender, its recipient, or the whole after its text.
        refuse: every connection ends at once.
        require_starttls: nothing is taken before STARTTLS (only where the mailbox has a certificate).
        require_login: nothing is taken before a login.
    """

    error_status: int = 451
    error_at: str = field(default="data", metadata={"choices": ("data", "sender", "recipient")})
    refuse: bool = False
    require_starttls: bool = False
    require_login: bool = False


@dataclass(frozen=True)
class Mail:
    """One message that was taken: its envelope, and its text as it came."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """The text, parsed."""
        return message_from_bytes(self.data, policy=policy.default)

    def described(self) -> dict[str, Any]:
        """The message as plain data, for ``/_sandbox/mailbox/messages``."""
        body = self.message.get_body(("plain",))
        return {
            "sender": self.sender,
            "recipients": list(self.recipients),
            "subject": self.message["Subject"],
            "text": body.get_content() if body else "",
        }


class Mailbox(Service):
    """A mail server of its own port. Without ``tls`` it does not offer STARTTLS.

    A context manager; ``start`` and ``stop`` keep port and messages.
    """

    name = "mailbox"
    faults: MailboxFaults

    def __init__(
        self,
        port: int = 0,
        *,
        seed: int = 0,
        lean: bool = False,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(MailboxFaults(seed=seed, clock=clock), lean=lean)
        self.port = port
        self.tls = tls
        self.stopping = threading.Event()
        self._mails: list[Mail] = []
        self._server: Any = None

    @property
    def messages(self) -> list[Mail]:
        """What was taken, oldest first."""
        with self._desk:
            return list(self._mails)

    def routes(self) -> Iterable[Route]:
        """None: it is no part of the web server."""
        return ()

    def views(self) -> Mapping[str, Callable[[], Any]]:
        """The messages too."""
        return {**super().views(), "messages": lambda: [one.described() for one in self.messages]}

    def reset(self) -> None:
        """Forget the messages too."""
        super().reset()
        with self._desk:
            self._mails.clear()

    def start(self) -> Mailbox:
        """Listen (again at the same port after ``stop``).

        Raises:
            OSError: the port is taken.
        """
        from dataflows.sandbox.smtp import server_of

        listening = socket.create_server((HOST, self.port))
        self.port = listening.getsockname()[1]
        self.stopping.clear()
        self._server = server_of(self, listening)
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop listening and end every connection; what was taken stays."""
        server, self._server = self._server, None
        if server is not None:
            self.stopping.set()
            server.end()

    def __enter__(self) -> Mailbox:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def accepts(self, user: str, password: str) -> bool:
        """Whether somebody may log in."""
        return (user, password) == (USER, PASSWORD)

    def at(self, stage: str) -> FaultVerdict:
        """The fate of a message at this stage of its delivery."""
        return self.faults.judge() if stage == self.faults.error_at else FaultVerdict(Fate.ANSWERED)

    def keep(self, mail: Mail) -> None:
        """Take a message."""
        with self._desk:
            self._mails.append(mail)

    def note(self, stage: str, data: bytes, fate: Fate, reply: str | None, *, taken: bool) -> None:
        """Remember what became of an attempt to send, for the views and figures."""
        request = Request(stage.upper(), "", "", {}, data)
        exchange = self.arrived(request)
        exchange.committed = taken
        self.leaves(request, exchange, fate.value, int(reply[:3]) if reply else None)


def reply_of(verdict: FaultVerdict) -> str:
    """What SMTP says for an error."""
    return _WORDS.get(verdict.status, f"{verdict.status} synthetic: not now")
