"""One connection to the mail server: by the standard library, verified, and bounded in time as a whole."""

from __future__ import annotations

import ipaddress
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.remote.connections import LARGEST_HEAD, Incoming, RequestBounds, Stopped, TooLarge, send_all
from dataflows.remote.route import trusted

if TYPE_CHECKING:
    from dataflows.settings import Settings

SECONDS = 60.0
"""How long one connection may take, all its messages included."""

KEPT = "the message is kept for the next run"
"""What becomes of a run's message when the server does not take it now."""

_TLS_AT_ONCE = 465  # RFC 8314


class MessageRefused(DataflowsError):
    """The mail server does not take this message; it may take another."""

    code = "mail_refused"


class _BoundedSmtp(smtplib.SMTP):
    """One deadline for all that is read and written, and a size for each reply, however many lines it has."""

    def __init__(self, host: str, port: int, bounds: RequestBounds, **more: Any) -> None:
        self._bounds = bounds
        self._incoming: Incoming | None = None
        try:
            super().__init__(host, port, local_hostname="[127.0.0.1]", timeout=bounds.connect, **more)
        except BaseException:
            self.close()
            raise
        self.local_hostname = _literal(self.sock)

    def getreply(self) -> tuple[int, bytes]:
        """Read one reply."""
        if self.file is None and self.sock is not None:
            self._incoming = Incoming(self.sock, self._bounds)
            self.file = self._incoming.makefile()
        if self._incoming is not None:
            self._incoming.allow(LARGEST_HEAD)
        try:
            reply = super().getreply()
        except smtplib.SMTPServerDisconnected as error:
            if isinstance(error.__context__, TimeoutError):
                raise TimeoutError from None
            raise
        if self.sock is not None:
            self.sock.settimeout(self._bounds.wait_at_most(self._bounds.connect))  # a TLS handshake may come next
        return reply

    def send(self, s: Any) -> None:
        """Write a command or a message."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("please run connect() first")
        try:
            send_all(self.sock, s.encode(self.command_encoding) if isinstance(s, str) else s, self._bounds)
        except OSError:
            self.close()
            raise smtplib.SMTPServerDisconnected("the server went away") from None


class _BoundedSmtpTls(_BoundedSmtp, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


class MailServer:
    """A mail server that takes messages."""

    def __init__(self, smtp: _BoundedSmtp, where: str) -> None:
        self._smtp, self.where = smtp, where

    @property
    def encryption(self) -> str:
        """How the connection is encrypted, such as ``TLSv1.3``."""
        sock = self._smtp.sock
        return str(sock.version()) if isinstance(sock, ssl.SSLSocket) else "not encrypted"

    def would_take(self, sender: str, recipient: str) -> None:
        """Ask whether a message would be taken, and send none.

        Raises:
            SettingUnusable: the server does not want this sender or recipient.
            ServiceDown: it does not want them now, the connection broke, or time is up.
        """
        try:
            with _translated(self.where):
                self._smtp.ehlo_or_helo_if_needed()  # nothing was said yet without STARTTLS and login
                self._envelope(self._smtp.mail(sender)[0], "sender", "check MAIL_FROM or NOTIFY_EMAIL, and SMTP_USER")
                self._envelope(self._smtp.rcpt(recipient)[0], "recipient", "check NOTIFY_EMAIL")
                self._smtp.rset()
        except _Answered as answer:
            raise ServiceDown(f"{self.where} answered {answer.code}", reason="mail-server", hint=KEPT) from None

    def _envelope(self, code: int, whom: str, hint: str) -> None:
        if code // 100 == 4:
            raise ServiceDown(
                f"{self.where} does not accept the {whom} at the moment ({code})",
                reason="mail-address",
                hint="run again later",
            )
        if code // 100 != 2:
            raise SettingUnusable(f"{self.where} refuses the {whom} ({code})", reason="mail-address", hint=hint)

    def take(self, sender: str, recipient: str, data: bytes) -> None:
        """Hand over one message; when this returns, the server has said that it takes care of it.

        Raises:
            Refused: it does not want this message.
            ServiceDown: the connection broke, or time is up.
        """
        try:
            with _translated(self.where):
                self._smtp.sendmail(sender, [recipient], data)
        except _Answered as answer:
            raise MessageRefused(f"{self.where} refused the message ({answer.code})", reason="mail-refused") from None


@contextmanager
def connected(settings: Settings, stop: threading.Event | None) -> Iterator[MailServer]:
    """A connection to SMTP_HOST, encrypted and logged in as the settings say.

    Raises:
        ServiceDown: the server cannot be reached, does not answer in time, or does not want to talk now.
        AccessRefused: it does not accept the login.
        SettingUnusable: it offers no STARTTLS or no login, or the password would travel in the clear.
    """
    host, port = settings.smtp_host or "", settings.smtp_port
    where = f"the mail server {host}:{port}"
    bounds = RequestBounds(
        settings.http_connect_timeout_seconds,
        SECONDS,
        LARGEST_HEAD,
        settings.http_timeout_seconds,
        stop.is_set if stop else None,
        until=time.monotonic() + SECONDS,
        host=where,
    )
    smtp: _BoundedSmtp | None = None
    try:
        try:
            with _translated(where):
                smtp = _opened(settings, host, port, bounds)
                _log_in(smtp, settings, where)
        except _Answered as answer:
            raise ServiceDown(f"{where} answered {answer.code}", reason="mail-server", hint=KEPT) from None
        yield MailServer(smtp, where)
        with suppress(OSError, smtplib.SMTPException, ServiceDown):
            smtp.quit()
    finally:
        if smtp is not None:
            smtp.close()


def _opened(settings: Settings, host: str, port: int, bounds: RequestBounds) -> _BoundedSmtp:
    if port == _TLS_AT_ONCE:
        return _BoundedSmtpTls(host, port, bounds, context=trusted(settings.requests_ca_bundle))
    smtp = _BoundedSmtp(host, port, bounds)
    if settings.smtp_starttls:
        try:
            smtp.starttls(context=trusted(settings.requests_ca_bundle))
        except BaseException:
            smtp.close()
            raise
    return smtp


def _log_in(smtp: _BoundedSmtp, settings: Settings, where: str) -> None:
    if settings.smtp_user is None:
        return
    if not isinstance(smtp.sock, ssl.SSLSocket) and not _is_here(smtp.sock):
        raise SettingUnusable(
            f"{where} was not sent SMTP_PASSWORD, as the connection is not encrypted",
            reason="mail-login",
            hint="set SMTP_STARTTLS=true",
        )
    password = settings.smtp_password.reveal() if settings.smtp_password else ""
    try:
        smtp.login(settings.smtp_user, password)
    except smtplib.SMTPAuthenticationError:
        raise AccessRefused(
            f"{where} does not accept the login", reason="mail-login", hint="check SMTP_USER and SMTP_PASSWORD"
        ) from None


class _Answered(Exception):
    """The server said no, by this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """What the libraries raise, in our own words: a server's text may repeat anything."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise _Answered(next((code for code, _ in error.recipients.values()), 0)) from None
    except smtplib.SMTPNotSupportedError:
        raise SettingUnusable(
            f"{where} does not offer what the settings ask for",
            reason="mail-login",
            hint="check SMTP_STARTTLS, SMTP_PORT and SMTP_USER",
        ) from None
    except smtplib.SMTPServerDisconnected:
        raise ServiceDown(f"{where} closed the connection or fell silent", reason="mail-server", hint=KEPT) from None
    except smtplib.SMTPResponseException as error:
        raise _Answered(error.smtp_code) from None
    except TooLarge:
        raise ServiceDown(f"{where} sends an endless answer", reason="mail-server", hint=KEPT) from None
    except TimeoutError:
        raise ServiceDown(f"{where} did not answer in time", reason="mail-server", hint=KEPT) from None
    except Stopped:
        raise ServiceDown("the run is stopping", reason="mail-server", hint=KEPT) from None
    except ssl.SSLCertVerificationError as error:
        raise ServiceDown(
            f"the TLS certificate of {where} is not accepted: {error.verify_message or 'not for this host'}",
            reason="tls-certificate",
            hint="for a private authority let REQUESTS_CA_BUNDLE name its PEM file",
        ) from None
    except (OSError, smtplib.SMTPException, ValueError):
        raise ServiceDown(
            f"{where} cannot be reached or does not speak SMTP", reason="mail-server", hint=KEPT
        ) from None


def _literal(sock: socket.socket | None) -> str:
    """The name for EHLO (RFC 5321, 4.1.3): finding the machine's own full name can take seconds."""
    address = (
        ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]) if sock else ipaddress.ip_address("127.0.0.1")
    )
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _is_here(sock: socket.socket | None) -> bool:
    return sock is not None and ipaddress.ip_address(sock.getpeername()[0].partition("%")[0]).is_loopback
