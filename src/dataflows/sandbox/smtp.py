"""The protocol of the sandbox's mailbox, by aiosmtpd. Its import is not light: only ``Mailbox.start`` brings it in."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import BaseThreadedController
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from dataflows.sandbox.faults import Fate
from dataflows.sandbox.mailbox import Mail, Mailbox, reply_of

if TYPE_CHECKING:
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
