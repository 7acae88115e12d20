"""``secrets set``: asks without showing or reads stdin, and stores where the setting says."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.cli.main import main
from tests.keyrings import MemoryKeyring, in_memory

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def ring() -> Iterator[MemoryKeyring]:
    with in_memory() as ours:
        yield ours


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hush-hush\n"))


@pytest.mark.usefixtures("typed")
def test_from_stdin_into_the_keyring(ring: MemoryKeyring, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("LA_CODE=998\n", encoding="utf-8")
    assert main(["secrets", "set", "client_secret"]) == 0
    assert ring.kept == {("dataflows", "CLIENT_SECRET"): "hush-hush"}
    out, err = capsys.readouterr()
    assert f"write into {tmp_path / '.env'}: CLIENT_SECRET=keyring://dataflows/CLIENT_SECRET" in err
    assert "hush-hush" not in out + err
    assert list((tmp_path / "data").rglob("*.log")) == []


@pytest.mark.usefixtures("typed")
def test_where_the_setting_says(ring: MemoryKeyring, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("SMTP_PASSWORD=keyring://dataflows/la-998\n", encoding="utf-8")
    assert main(["secrets", "set", "SMTP_PASSWORD"]) == 0
    assert ring.kept == {("dataflows", "la-998"): "hush-hush"}
    assert "write into" not in capsys.readouterr().err


@pytest.mark.usefixtures("typed")
def test_of_a_family_into_a_file(tmp_path: Path, capsys: Capture) -> None:
    to = (tmp_path / "hc ö").as_uri()
    assert main(["secrets", "set", "HEALTHCHECK_URL_CQC_FETCH", "--to", to, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["setting"], document["reference"]) == ("HEALTHCHECK_URL_CQC_FETCH", to)
    assert (tmp_path / "hc ö").read_text(encoding="utf-8") == "hush-hush\n"


@pytest.mark.parametrize(
    ("words", "given", "code", "told"),
    [
        (["LA_CODE"], "x", 2, "no secret setting has this name"),
        (["CLIENT_SECRET", "--to", "vault://x"], "x", 2, "--to is not a reference"),
        (["CLIENT_SECRET"], "", 14, "was not given as one line"),
        (["CLIENT_SECRET"], "a\nb\n", 14, "was not given as one line"),
        (["CLIENT_SECRET"], "a" * 20_000, 14, "was not given as one line"),
    ],
)
def test_what_is_refused(
    ring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    words: list[str], given: str, code: int, told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    assert main(["secrets", "set", *words]) == code
    assert told in capsys.readouterr().err
    assert ring.kept == {}


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_on_a_terminal_nothing_typed_is_shown(tmp_path: Path) -> None:
    from tests.terminals import Terminal

    reference = (tmp_path / "csc").as_uri()
    words = [sys.executable, "-m", "dataflows", "secrets", "set", "CLIENT_SECRET", "--to", reference]
    with Terminal(words, tmp_path, {**os.environ, "DATA_DIR": str(tmp_path / "data")}) as terminal:
        terminal.answer("CLIENT_SECRET: ", "hush-hush")
        assert terminal.ended() == 0
    assert (tmp_path / "csc").read_text(encoding="utf-8") == "hush-hush\n"
    assert "hush" not in terminal.shown
