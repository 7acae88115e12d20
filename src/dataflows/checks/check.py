"""One check, one attempt at several, and the session that checks of plain HTTP share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.errors import DataflowsError, ExitCode

if TYPE_CHECKING:
    from dataflows.remote.session import Reply, Session
    from dataflows.settings import Settings


ENV_FILE = "env file"
_FARTHER = (ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN)  # whatever else is wrong is for the settings to mend


@dataclass(frozen=True, slots=True)
class Check:
    """One check: passed (True, with a hint where something is odd), failed (False) or skipped (None)."""

    name: str
    passed: bool | None
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK
    reason: str = ""


class Attempt:
    """Runs one check after the other, and skips those that need one which failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def __call__(self, name: str, check: Callable[[], Check | str], *needs: str) -> Check:
        missing = [need for need in needs if need in self.failed]
        if missing:
            self.failed.add(name)
            return Check(name, None, f"not tried, it needs: {', '.join(missing)}")
        try:
            found = check()
        except DataflowsError as error:
            self.failed.add(name)
            code = error.exit_code if error.exit_code in _FARTHER else ExitCode.SETTINGS
            return Check(name, False, error.message, error.hint, code, error.reason)
        return Check(name, True, found) if isinstance(found, str) else found


def env_file(settings: Settings) -> str:
    """Which env file the settings come from."""
    return f"{settings.env_file} was read" if settings.env_file else "none was read"


def origin(settings: Settings, name: str) -> str:
    """Where the value of a setting came from. Raises SettingUnusable when it has none."""
    settings.require(name)
    return f"from the {settings.origin(name)}"


class LazySession:
    """A session that is made by the first check which needs it; each request is sent once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session."""
        from dataflows.remote.session import make_session

        self._session = self._session or make_session(self._settings)
        return self._session

    def certificates(self) -> str:
        """Say what TLS certificates are checked against. Raises SettingUnusable for a bundle that cannot be read."""
        bundle = self.session and self._settings.requests_ca_bundle
        return f"checked against {bundle or ('those of Windows' if sys.platform == 'win32' else 'certifi')}"

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
        """Send one request. Raises as ``session.send``."""
        from dataflows.remote.session import send

        return send(self.session, method, url, headers=headers or {}, body=body)

    def way(self, url: str, seconds: float) -> str:
        """Say how a host was reached that has just answered after so many seconds."""
        way = self.session.host_connection(url)
        return f"{way.host} answers in {1000 * seconds:.0f} ms, {self.proxy(url)}, {self.tls(url)}"

    def tls(self, url: str) -> str:
        """Say who issued the certificate of a host that has just answered."""
        certificate = self.session.host_connection(url).certificate
        return f"TLS certificate {_issued(certificate)}" if certificate else "without TLS"

    def proxy(self, url: str) -> str:
        """Say by which proxy a host is reached."""
        proxy = self.session.host_connection(url).proxy
        return f"by the proxy {proxy}" if proxy else "without proxy"

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()


def _issued(certificate: bytes) -> str:
    """Who issued a certificate (DER), and until when it is valid."""
    from cryptography import x509

    shown = x509.load_der_x509_certificate(certificate)
    return f"issued by {shown.issuer.rfc4514_string()}, valid until {shown.not_valid_after_utc:%Y-%m-%d}"
