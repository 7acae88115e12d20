"""Certificates and proxies: verified always, looked at once, and an operator is told what to set."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.remote import route
from dataflows.remote.failures import Blocked
from dataflows.remote.session import Session, send
from tests.processes import under_wine
from tests.remote.loopback import Request, closed_port, hang_up, reply, server_tls, serving

NewSession = Callable[..., Session]


def get(session: Session, url: str) -> int:
    return send(session, "GET", url, headers={}).status


def test_a_private_authority_is_trusted_by_requests_ca_bundle(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    with serving(reply(204), server_tls(authority)) as server:
        assert get(new_session(requests_ca_bundle=ca_bundle), server.url) == 204


def test_one_tls_connection_serves_many_requests(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    session = new_session(requests_ca_bundle=ca_bundle)
    with serving(reply(200, b"x" * 100_000), server_tls(authority)) as server:
        for _ in range(5):
            get(session, server.url)
    assert server.connections == 1


def test_the_certificate_that_was_shown_is_known(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    session = new_session(requests_ca_bundle=ca_bundle)
    with serving(reply(204), server_tls(authority)) as server:
        get(session, server.url)
        assert session.host_connection(server.url).certificate


@pytest.mark.parametrize("whole", [False, True], ids=["leaf", "chain"])
def test_an_unknown_authority_is_refused_with_the_setting_to_change(
    session: Session, authority: trustme.CA, whole: bool
) -> None:
    if under_wine() and not whole:
        pytest.skip("wine's SSL policy lets a chain pass whose root is not there (CERT_TRUST_IS_PARTIAL_CHAIN)")
    with (
        serving(reply(204), server_tls(authority, whole=whole)) as server,
        pytest.raises(Blocked, match="is not accepted") as raised,
    ):
        get(session, server.url)
    assert not raised.value.sent
    assert "REQUESTS_CA_BUNDLE" in raised.value.hint
    assert server.requests == []


def test_a_certificate_for_another_host_is_refused(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    session = new_session(requests_ca_bundle=ca_bundle)
    with serving(reply(204), server_tls(authority, "api.example.org")) as server, pytest.raises(Blocked) as raised:
        get(session, server.url)
    assert "is not accepted" in raised.value.message
    assert not raised.value.sent


def test_https_to_a_server_without_tls_is_told_apart(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_anything, args=(listener,), daemon=True).start()
        with pytest.raises(Blocked, match="no TLS connection") as raised:
            get(session, f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert not raised.value.sent


def _answer_anything(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def test_a_connection_that_ends_in_the_tls_handshake_was_not_sent_to(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_hang_up, args=(listener,), daemon=True).start()
        with pytest.raises(ServiceDown) as raised:
            get(session, f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert not raised.value.sent
    assert not isinstance(raised.value, Blocked)


def _hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_silence_in_the_tls_handshake_was_not_sent_to(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ServiceDown) as raised:
        get(session, f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert not raised.value.sent


def test_a_connection_dropped_after_a_request_over_tls_may_have_been_served(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    session = new_session(requests_ca_bundle=ca_bundle)
    with serving(hang_up, server_tls(authority)) as server, pytest.raises(ServiceDown) as raised:
        get(session, server.url)
    assert raised.value.sent


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "empty"])
def test_a_bundle_that_is_no_use_is_a_setting_to_correct(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content, encoding="ascii")
    with pytest.raises(SettingUnusable, match="REQUESTS_CA_BUNDLE"):
        route.trusted(bundle)


def test_a_folder_may_be_the_bundle(tmp_path: Path) -> None:
    assert route.trusted(tmp_path).verify_mode.name == "CERT_REQUIRED"


def test_a_bundle_is_loaded_once_and_again_when_it_was_renewed(tmp_path: Path) -> None:
    bundle, former, renewed = tmp_path / "bundle.pem", trustme.CA(), trustme.CA()
    former.cert_pem.write_to_path(bundle)
    first = route.trusted(bundle)
    assert route.trusted(bundle) is first
    renewed.cert_pem.write_to_path(tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(bundle)
    assert route.trusted(bundle) is not first
    assert len(route.trusted(bundle).get_ca_certs()) == 1


# --- proxies ----------------------------------------------------------------------------------------------------


@pytest.fixture
def via(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_proxy(url: str) -> None:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)

    return set_proxy


def test_a_plain_address_goes_through_the_proxy(new_session: NewSession, via: Callable[[str], None]) -> None:
    with serving(reply(204)) as proxy:
        via(proxy.url.replace("//", "//user:p%40ss@"))
        assert get(new_session(), "http://service.example.org/children?a=b") == 204
    assert proxy.requests[0].line == "GET http://service.example.org/children?a=b HTTP/1.1"
    assert proxy.requests[0].headers["host"] == "service.example.org"
    login = proxy.requests[0].headers["proxy-authorization"].removeprefix("Basic ")
    assert base64.b64decode(login) == b"user:p@ss"


def test_https_goes_through_a_tunnel(
    new_session: NewSession, via: Callable[[str], None], authority: trustme.CA, ca_bundle: Path
) -> None:
    tls = server_tls(authority, "service.example.org")

    def tunnel(connection: socket.socket, request: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        inner = tls.wrap_socket(connection, server_side=True)
        inner.recv(10_000)
        inner.sendall(b"HTTP/1.1 204 Done\r\n\r\n")

    with serving(tunnel) as proxy:
        via(proxy.url)
        assert get(new_session(requests_ca_bundle=ca_bundle), "https://service.example.org/") == 204
    assert proxy.requests[0].line.startswith("CONNECT service.example.org:443 ")


@pytest.mark.parametrize("url", ["http://service.example.org/", "https://service.example.org/"])
def test_a_proxy_that_wants_a_login_is_no_refusal_of_the_service(
    new_session: NewSession, via: Callable[[str], None], url: str
) -> None:
    with serving(reply(407)) as proxy:
        via(proxy.url.replace("//", "//user:secret@"))
        with pytest.raises(Blocked, match="requires a login") as raised:
            get(new_session(), url)
    assert not raised.value.sent
    assert "HTTPS_PROXY" in raised.value.hint
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(("status", "lasting"), [(403, True), (503, False)])
def test_a_proxy_that_gives_no_tunnel_is_named(
    new_session: NewSession, via: Callable[[str], None], status: int, lasting: bool
) -> None:
    with serving(reply(status)) as proxy:
        via(proxy.url)
        with pytest.raises(ServiceDown, match=f"proxy localhost:.* answered {status}") as raised:
            get(new_session(), "https://service.example.org/")
    assert not raised.value.sent
    assert isinstance(raised.value, Blocked) is lasting


def test_a_proxy_that_is_not_there_is_named(new_session: NewSession, via: Callable[[str], None]) -> None:
    port = closed_port()
    via(f"http://127.0.0.1:{port}")
    with pytest.raises(ServiceDown, match=f"the proxy 127.0.0.1:{port} cannot be reached") as raised:
        get(new_session(), "https://service.example.org/")
    assert not raised.value.sent


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", "example.org, 127.0.0.1", "*"])
def test_no_proxy_lets_a_host_be_reached_directly(
    new_session: NewSession, via: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    via(f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", exempt)
    with serving(reply(204)) as server:
        assert get(new_session(), server.url.replace("localhost", "127.0.0.1")) == 204


def test_no_proxy_of_others_changes_nothing(
    new_session: NewSession, via: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, other.example.org")
    with serving(reply(204)) as proxy:
        via(proxy.url)
        get(new_session(), "http://service.example.org/")
    assert len(proxy.requests) == 1


def test_the_proxy_is_read_once(new_session: NewSession, via: Callable[[str], None]) -> None:
    session = new_session()
    via(f"http://127.0.0.1:{closed_port()}")
    with serving(reply(204)) as server:
        assert get(session, server.url) == 204


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://", "http://host:port"])
def test_a_proxy_that_cannot_be_used_is_a_setting_to_correct(
    new_session: NewSession, via: Callable[[str], None], proxy: str
) -> None:
    via(proxy)
    with pytest.raises(SettingUnusable, match="proxy for https"):
        get(new_session(), "https://service.example.org/")


def test_a_proxy_without_scheme_is_understood() -> None:
    assert route.proxy_for("https", "example.org", 443, {"https": "proxy:8080"}) == "http://proxy:8080"


def test_all_proxy_serves_where_no_other_does() -> None:
    assert route.proxy_for("https", "example.org", 443, {"all": "http://proxy:8080"}) == "http://proxy:8080"


# --- authorities that are not as RFC 5280 wants them ------------------------------------------------------------------


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def lax_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A bundle and a server's context, as proxies that open TLS make them: the basic constraints are not critical."""
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "synthetic proxy")])
    made = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_SIGNS, critical=True)
        .sign(key, hashes.SHA256())
    )
    own = ec.generate_private_key(ec.SECP256R1())
    shown = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(2)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle, chain = folder / "proxy.pem", folder / "server.pem"
    bundle.write_bytes(made.public_bytes(Encoding.PEM))
    private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(private + shown.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return bundle, context


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every Python as strict as 3.13 is by default."""
    usual = ssl.create_default_context

    def made(**options: Any) -> ssl.SSLContext:
        context = usual(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", made)
    route._loaded.cache_clear()
    yield
    route._loaded.cache_clear()


@pytest.mark.usefixtures("strict")
def test_a_lax_authority_that_the_operator_names_is_trusted(new_session: NewSession, tmp_path: Path) -> None:
    bundle, tls = lax_authority(tmp_path)
    with serving(reply(204), tls) as server:
        assert get(new_session(requests_ca_bundle=bundle), server.url) == 204


@pytest.mark.usefixtures("strict")
def test_the_usual_roots_are_checked_as_strictly_as_python_does(ca_bundle: Path, tmp_path: Path) -> None:
    if sys.platform != "win32":  # where the system checks
        assert route.trusted(None).verify_flags & ssl.VERIFY_X509_STRICT
    assert not route.trusted(ca_bundle).verify_flags & ssl.VERIFY_X509_STRICT
    assert not route.trusted(tmp_path).verify_flags & ssl.VERIFY_X509_STRICT
