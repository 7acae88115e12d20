"""A mail server on loopback that keeps what it takes, with faults."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final

from aiosmtpd.controller import BaseThreadedController
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dataflows.sandbox.faults import Fate, Faults, FaultVerdict
from dataflows.sandbox.service import Request, Route, Service
from dataflows.sandbox.wire import HOST

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable


_TAKEN = (Fate.ANSWERED, Fate.LOST, Fate.LATE, Fate.CUT, Fate.ENDLESS)


def server_of(mailbox: Mailbox, listening: socket.socket) -> _Server:
    """A server for this mailbox on a socket that listens already."""
    return _Server(mailbox, listening)


class _Server(BaseThreadedController):
    """One thread with an event loop; each connection asks the mailbox what it wants of its clients."""

    def __init__(self, mailbox: Mailbox, listening: socket.socket) -> None:
        super().__init__(_MessageHandler(mailbox), ready_timeout=30)
        self._mailbox, self._listening = mailbox, listening
        self.open: set[Any] = set()

    def end(self) -> None:
        """Cut every connection and stop; a client that holds on to its connection must not hold the server up."""
        self.loop.call_soon_threadsafe(lambda: [transport.abort() for transport in self.open])
        self.stop()

    def factory(self) -> SMTP:
        """The protocol of one connection."""
        mailbox = self._mailbox
        return _SmtpConnection(
            self.open,
            self.handler,
            hostname="sandbox.example.org",
            ident="dataflows-sandbox",
            loop=self.loop,
            enable_SMTPUTF8=True,
            tls_context=mailbox.tls,
            require_starttls=mailbox.faults.require_starttls,
            auth_require_tls=False,
            authenticator=self._authenticate,
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        good = isinstance(given, LoginPassword) and self._mailbox.accepts(
            given.login.decode("utf-8", "replace"), given.password.decode("utf-8", "replace")
        )
        return AuthResult(success=good, handled=False)

    def _create_server(self) -> Awaitable[Any]:
        return self.loop.create_server(self._factory_invoker, sock=self._listening)

    def _trigger_server(self) -> None:
        """The base class wants one connection to be made before it believes that the server works."""
        socket.create_connection(self._listening.getsockname(), timeout=5).close()


class _SmtpConnection(SMTP):
    """One connection."""

    event_handler: _MessageHandler

    def __init__(self, open_ones: set[Any], handler: _MessageHandler, **how: Any) -> None:
        super().__init__(handler, **how)
        self._open_ones = open_ones

    def connection_made(self, transport: Any) -> None:
        """Take a connection (or the same one anew after STARTTLS), or end it."""
        super().connection_made(transport)
        self._open_ones.add(transport)
        if self.event_handler.mailbox.faults.refuse:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget a connection."""
        self._open_ones.discard(self.transport)
        super().connection_lost(error)


class _MessageHandler:
    """Takes messages for the mailbox; aiosmtpd calls its methods by their names."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._refusal(server, "sender")
        if self.mailbox.faults.require_login and not session.authenticated:
            reply = "530 synthetic: log in first"
        if reply:
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._refusal(server, "recipient")
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail = Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.original_content or b"")
        return await self._refusal(server, "data", mail) or "250 OK"

    async def _refusal(self, server: SMTP, stage: str, mail: Mail | None = None) -> str:
        """What the fate of the message makes of it here: nothing, a refusal, or the end of the connection."""
        verdict = self.mailbox.at(stage)
        fate = verdict.fate
        await self._pause(server, verdict.wait)
        taken = mail is not None and fate in _TAKEN
        if mail and taken:
            self.mailbox.keep(mail)
        reply = reply_of(verdict) if fate is Fate.ERROR else "250 OK" if fate is Fate.ANSWERED else None
        if mail or reply != "250 OK":
            self.mailbox.note(stage, mail.data if mail else b"", fate, reply, taken=taken)
        if fate is Fate.SILENT:
            await self._pause(server, 3600)
        if fate is Fate.ENDLESS:
            await self._never_end(server)
        if reply is None and server.transport:
            server.transport.abort()  # type: ignore[attr-defined]
        return "" if reply == "250 OK" else reply or "421 gone"

    async def _never_end(self, server: SMTP) -> None:
        """A reply of more and more lines: this is how SMTP announces another one."""
        lines = "250-synthetic\r\n" * 1000
        while not self.mailbox.stopping.is_set() and server.transport and not server.transport.is_closing():
            await server.push(lines + "250-more")

    async def _pause(self, server: SMTP, seconds: float) -> None:
        if seconds > 0:
            await server.loop.run_in_executor(None, self.mailbox.stopping.wait, seconds)


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
        with self._history_lock:
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
        with self._history_lock:
            self._mails.clear()

    def start(self) -> Mailbox:
        """Listen (again at the same port after ``stop``).

        Raises:
            OSError: the port is taken.
        """

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
        with self._history_lock:
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
