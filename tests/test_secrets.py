"""Secrets that are kept elsewhere: in a keyring or in a file, fetched when needed and shown by nobody."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.cli.installing import carried_settings
from dataflows.errors import SettingUnusable
from dataflows.settings import Secret, load, table
from dataflows.settings.secrets import KeptSecret, is_reference, keep
from dataflows.store.files import write_whole
from tests.keyrings import MemoryKeyring, in_memory


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for spec in table():
        monkeypatch.delenv(spec.name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    with in_memory() as ours:
        yield ours


def kept(name: str, reference: str) -> Secret:
    Path(".env").write_text(f"{name}={reference}\n", encoding="utf-8")
    Path(".env").chmod(0o600)
    settings = load()
    assert settings.warnings == ()
    found = getattr(settings, name.lower())
    assert isinstance(found, Secret)
    return found


@pytest.mark.parametrize("name", [spec.name for spec in table() if spec.secret])
def test_every_secret_can_be_kept_in_the_keyring(ring: MemoryKeyring, name: str) -> None:
    ring.kept["dataflows", "csc/Größe 1"] = " hush "
    secret = kept(name, "keyring://dataflows/csc/Größe 1")
    assert ring.asked == 0  # a command that does not send it needs no keyring
    assert (secret.reveal(), secret.reveal(), ring.asked) == ("hush", "hush", 1)
    assert "hush" not in repr(secret) + str(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize("name", [spec.name for spec in table() if spec.secret])
def test_every_secret_can_be_kept_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mit Blank & ö #1%41.txt"
    file.write_bytes("\ufeffp\u00e4ss#1 x\r\n".encode())
    for uri in (file.as_uri(), f"file://{'/' if sys.platform == 'win32' else ''}{file.as_posix()}".replace("%", "%25")):
        assert kept(name, uri if name in ("DB_CONNECTION_STRING", "IMPORT_DATABASE_URL") else f"'{uri}'").reveal() == (
            "päss#1 x"
        )


def test_the_addresses_of_health_checks_too(ring: MemoryKeyring) -> None:
    Path(".env").write_text("HEALTHCHECK_URL_CQC_FETCH=keyring://dataflows/hc\n", encoding="utf-8")
    secret = load().healthcheck_urls["cqc_fetch"]
    ring.kept["dataflows", "hc"] = "http://example.org/x"
    with pytest.raises(SettingUnusable, match=r"^HEALTHCHECK_URL_CQC_FETCH \(keyring://dataflows/hc\) is not a valid"):
        secret.reveal()
    ring.kept["dataflows", "hc"] = "https://example.org/x"
    assert secret.reveal() == "https://example.org/x"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"a\x00b", "more than one line"),
        (b"x" * 20_000, "is over 16384 bytes"),
        (b"\xff\xfe", "is not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingUnusable, match=told) as caught:
        kept("CLIENT_SECRET", file.as_uri()).reveal()
    assert caught.value.message.startswith("CLIENT_SECRET")
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files there")
def test_a_pipe_or_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(SettingUnusable, match="cannot be read"):
            kept("CLIENT_SECRET", f"file://{path}").reveal()


@pytest.mark.parametrize(
    "reference", ["keyring://", "keyring://dataflows", "keyring:///x", "file://", "file://host/x", "file://x"]
)
def test_a_reference_that_leads_nowhere(ring: MemoryKeyring, reference: str) -> None:
    with pytest.raises(SettingUnusable, match="CLIENT_SECRET is not a reference to a secret"):
        kept("CLIENT_SECRET", reference).reveal()
    assert ring.asked == 0


def test_a_keyring_that_cannot_be_used(ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = kept("CLIENT_SECRET", "keyring://dataflows/csc")
    with pytest.raises(SettingUnusable, match=r"has no keyring://dataflows/csc") as caught:
        secret.reveal()
    assert "dataflows secrets set CLIENT_SECRET" in caught.value.hint
    ring.locked = True
    with pytest.raises(SettingUnusable, match=r"cannot be used \(KeyringLocked\)") as caught:
        secret.reveal()
    assert "words of the system" not in caught.value.message + caught.value.hint
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(SettingUnusable, match="the keyring library is not installed"):
        secret.reveal()


def test_what_is_kept_is_looked_at(ring: MemoryKeyring, tmp_path: Path) -> None:
    keep("CLIENT_SECRET", "keyring://dataflows/csc", "hush", write_whole)
    assert ring.kept == {("dataflows", "csc"): "hush"}
    file = tmp_path / "ö x"
    keep("CLIENT_SECRET", file.as_uri(), "hush", write_whole)
    assert file.read_text(encoding="utf-8") == "hush\n"
    assert sys.platform == "win32" or file.stat().st_mode & 0o777 == 0o600
    ring.forgetful = True
    with pytest.raises(SettingUnusable, match="did not keep what it was given"):
        keep("CLIENT_SECRET", "keyring://dataflows/csc", "another", write_whole)
    with pytest.raises(SettingUnusable, match="cannot be written"):
        keep("CLIENT_SECRET", (tmp_path / "no" / "folder").as_uri(), "x", write_whole)


def test_a_reference_may_stand_where_a_secret_may_not(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A task may carry it, and every account may read it in the env file."""
    monkeypatch.setenv("CLIENT_SECRET", "keyring://dataflows/csc")
    assert carried_settings(load(), "csc-submit", ())["CLIENT_SECRET"] == "keyring://dataflows/csc"
    monkeypatch.setenv("SUPPLIER_KEY", "hush")
    with pytest.raises(SettingUnusable, match="SUPPLIER_KEY"):
        carried_settings(load(), "csc-submit", ())
    monkeypatch.delenv("SUPPLIER_KEY")
    (tmp_path / ".env").write_text("CLIENT_SECRET=keyring://dataflows/csc\n", encoding="utf-8")
    (tmp_path / ".env").chmod(0o644)
    assert load().warnings == ()
    assert ring.asked == 0


def test_references_are_told_from_secrets() -> None:
    assert is_reference("keyring://a/b") and is_reference("file:///x")
    assert not is_reference("Driver={x};file:///") and not is_reference("sqlite:///x.db")
    assert KeptSecret("A", "file:///x") == KeptSecret("A", "file:///x") != Secret("y")
