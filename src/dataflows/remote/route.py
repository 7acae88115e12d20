"""The way to a host: which proxy, which certificates are trusted. Looked at once per session, never per request."""

from __future__ import annotations

import ipaddress
import ssl
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataflows.errors import SettingUnusable


def trusted(ca_bundle: Path | None) -> ssl.SSLContext:
    """The one TLS context of a session: always verifying, TLS 1.2 or newer.

    ``ca_bundle`` (REQUESTS_CA_BUNDLE; a PEM file, or a folder in OpenSSL's layout) replaces the usual roots, as it does
    for requests and pip; its certificates need not be as RFC 5280 wants them (proxies that open TLS often have a root
    whose basic constraints are not critical, which Python 3.13 refuses).
    Without it Windows' certificate store is asked, elsewhere certifi's list.
    Raises SettingUnusable when the bundle cannot be read.
    """
    if ca_bundle is not None:
        return _private(ca_bundle)
    if sys.platform == "win32":
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    import certifi

    return _of_file(Path(certifi.where()))


def _private(bundle: Path) -> ssl.SSLContext:
    try:
        if bundle.is_dir():
            return _lenient(ssl.create_default_context(capath=bundle))
        return _of_file(bundle, named=True)
    except OSError as error:  # ssl.SSLError (no certificate in the file) is an OSError too
        why = "contains no certificate" if isinstance(error, ssl.SSLError) else "cannot be read"
        raise SettingUnusable(
            f"REQUESTS_CA_BUNDLE {why}: {bundle}",
            reason="ca-bundle",
            hint="give the path of a PEM file with the certificates to trust, or remove the setting",
        ) from None


def _of_file(bundle: Path, *, named: bool = False) -> ssl.SSLContext:
    """The context of a file, read again when that has changed: a service goes on when the certificates are renewed."""
    status = bundle.stat()
    return _loaded(bundle, named, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4)
def _loaded(bundle: Path, named: bool, *_state: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=bundle)
    return _lenient(context) if named else context


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Whom the operator names is trusted as he is; chain, dates and host are checked all the same."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def proxies() -> dict[str, str]:
    """What the environment says (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; on Windows else the system's own)."""
    return urllib.request.getproxies()


def proxy_for(scheme: str, host: str, port: int, known: Mapping[str, str]) -> str | None:
    """The proxy's URL for one target, or None for the direct way. Raises SettingUnusable when its address is no use."""
    found = known.get(scheme) or known.get("all")
    if not found or _bypassed(host, port, known.get("no", "")):
        return None
    if "://" not in found:
        found = f"http://{found}"
    with suppress(ValueError):
        parts = urlsplit(found)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return found
    raise SettingUnusable(
        f"the proxy for {scheme} addresses is not given as http://host:port",
        reason="proxy-form",
        hint=f"check {scheme.upper()}_PROXY; SOCKS proxies and proxy scripts (PAC) are not supported",
    )


def _bypassed(host: str, port: int, listed: str) -> bool:
    target = host if ":" in host else f"{host}:{port}"  # an IPv6 address cannot be told from host:port there
    return bool(urllib.request.proxy_bypass(target)) or _in_listed_network(host, listed)


def _in_listed_network(host: str, listed: str) -> bool:
    """NO_PROXY may also name networks (10.0.0.0/8), as curl and requests take it; the standard library does not."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in listed.split(","):
        with suppress(ValueError):
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
    return False


def proxy_login(proxy: str) -> str | None:
    """``user:password`` out of a proxy's URL, decoded; None where it has none."""
    parts = urlsplit(proxy)
    if not parts.username:
        return None
    return f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def shown(url: str) -> str:
    """``host:port`` of a URL: all that may be said of it in a message (no login, no path, no query)."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname}:{port}"
