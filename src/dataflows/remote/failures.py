"""What went wrong on the wire, in our own words: where it happened, whether the request left, what to do about it.

The libraries' texts are not passed on: they may quote an answer, a query string or a login.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl

from urllib3 import exceptions

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.remote.connections import NotConnected

_LATER = "try again later"


class Blocked(ServiceDown):
    """The way to the service is closed by something that waiting does not mend, so the request is not repeated."""


def not_connected(error: NotConnected, host: str, proxy: str | None, seconds: float) -> ServiceDown:
    """The error for a connection that did not come about within ``seconds``; nothing was sent."""
    cause = error.__cause__
    if isinstance(cause, (ssl.SSLError, exceptions.SSLError)):
        return _tls(cause, host)
    if tunnel := re.search(r"Tunnel connection failed: (\d{3})", str(cause)):
        return _tunnel(int(tunnel.group(1)), host, proxy)
    through = f"the proxy {proxy}" if proxy else host
    if isinstance(cause, (exceptions.NameResolutionError, socket.gaierror)):
        text, hint = f"the host name of {through} cannot be resolved", "check the address in the settings, and DNS"
    elif isinstance(cause, (exceptions.ConnectTimeoutError, TimeoutError)) and not _refused(cause):
        text, hint = f"{through} did not accept a connection within {seconds:g} s", "check the network and the firewall"
    else:
        text, hint = f"{through} cannot be reached", "check that the service runs, the address, and the firewall"
    return ServiceDown(text, reason="host-unreachable", hint=hint, sent=False)


def no_answer(error: Exception, host: str, seconds: float) -> ServiceDown:
    """The error for a request that left, wholly or in part, and got no answer: what became of it is unknown."""
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return ServiceDown(f"{host} did not answer within {seconds:g} s", reason="no-answer", hint=_LATER)
    if isinstance(_innermost(error), http.client.HTTPException) and not _hung_up(error):
        return ServiceDown(
            f"{host} did not answer in HTTP", reason="answer-unusable", hint="check the address in the settings"
        )
    return ServiceDown(f"{host} closed the connection without an answer", reason="no-answer", hint=_LATER)


def broken_answer(error: Exception, host: str, seconds: float) -> ServiceDown:
    """The error for an answer that began and did not come to its end."""
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return ServiceDown(f"the answer from {host} did not end within {seconds:g} s", reason="no-answer", hint=_LATER)
    return ServiceDown(f"the answer from {host} broke off", reason="no-answer", hint=_LATER)


def monstrous(host: str) -> ServiceDown:
    """The error for JSON that is not parsed, lest the parser dies of it."""
    return ServiceDown(
        f"the answer from {host} is nested too deeply or too large to be read",
        reason="answer-unusable",
        hint="check the address in the settings",
    )


def unsendable(host: str) -> SettingUnusable:
    """The error for a header or address that HTTP cannot carry. The value stays unsaid: it may be a secret."""
    return SettingUnusable(
        f"a request to {host} has a character that HTTP does not allow in its address or headers",
        reason="header-character",
        hint="check the addresses, keys and secrets in the settings for line breaks, blanks and non-ASCII letters",
    )


def proxy_wants_login(proxy: str | None) -> Blocked:
    """The error for 407: the proxy turned the request away before it reached the service."""
    return Blocked(
        f"the proxy {proxy} requires a login" if proxy else "a proxy in between requires a login (407)",
        reason="proxy-refused",
        hint="add it to the address: HTTPS_PROXY=http://user:password@host:port, or exempt the service with NO_PROXY",
        sent=False,
    )


def _tunnel(status: int, host: str, proxy: str | None) -> ServiceDown:
    if status == 407:
        return proxy_wants_login(proxy)
    text = f"the proxy {proxy} answered {status} when asked for {host}"
    if status >= 500:
        return ServiceDown(text, reason="proxy-refused", hint=_LATER, sent=False)
    return Blocked(
        text, reason="proxy-refused", hint="have the host allowed there, or exempt it with NO_PROXY", sent=False
    )


def _tls(error: Exception, host: str) -> ServiceDown:
    inner = _innermost(error)
    if isinstance(inner, ssl.SSLCertVerificationError) or isinstance(error, ssl.CertificateError):
        why = getattr(inner, "verify_message", "") or "not for this host"
        return Blocked(
            f"the TLS certificate of {host} is not accepted: {why}",
            reason="tls-certificate",
            hint="for a private authority (or a proxy that opens TLS) let REQUESTS_CA_BUNDLE name its PEM file",
            sent=False,
        )
    if isinstance(inner, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ServiceDown(f"{host} hung up during the TLS handshake", reason="tls-handshake", hint=_LATER, sent=False)
    hint = "check whether it should be https or http, and the port; a proxy in between may also answer without TLS"
    return Blocked(f"no TLS connection to {host} could be negotiated", reason="tls-handshake", hint=hint, sent=False)


def _innermost(error: BaseException) -> BaseException:
    """urllib3 hands causes on as arguments or as ``__cause__``."""
    for inner in (*error.args, error.__cause__):
        if isinstance(inner, BaseException) and inner is not error:
            return _innermost(inner)
    return error


def _refused(error: Exception) -> bool:
    return isinstance(error, exceptions.NewConnectionError)  # which urllib3 counts among its timeouts


def _hung_up(error: Exception) -> bool:
    return isinstance(_innermost(error), (http.client.RemoteDisconnected, http.client.IncompleteRead))
