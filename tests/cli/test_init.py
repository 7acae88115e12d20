"""``init``: an env file that is its owner's alone, read back as it was meant, and nothing overwritten unasked."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.cli.main import main
from dataflows.errors import SettingUnusable
from dataflows.settings import envfile, table
from dataflows.settings.needs import ASKED, GROUPS, NEEDS
from dataflows.settings.table import CQC, CSC, HOSPITALS, PATIENTS, SERVE, THERAPISTS
from dataflows.settings.template import assignment, lines
from tests.keyrings import MemoryKeyring, in_memory

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def ring() -> Iterator[MemoryKeyring]:
    with in_memory() as ours:
        yield ours


def run(*words: str) -> int:
    return main(["init", "--yes", "--no-check", *words])


def test_a_script_writes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """In a folder with blanks and umlauts, with what --set, the environment and --data-dir say."""
    path = tmp_path / "Jörg Müller 100%" / "csc.env"
    monkeypatch.setenv("CLIENT_SECRET", "it's #1 hush")
    monkeypatch.setenv("RUN_TOKEN", "of another flow")
    data = tmp_path / "Daten ß # 1"
    words = ["--env-file", str(path), "--set", "LA_CODE=998", "--data-dir", str(data), "--flow", "csc-submit"]
    assert run(*words, "--flow", "cqc-fetch") == 0
    out, err = capsys.readouterr()
    assert envfile.read(path) == {"CLIENT_SECRET": "it's #1 hush", "LA_CODE": "998", "DATA_DIR": str(data)}
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "hush" not in out + err
    assert "csc-submit still needs DB_CONNECTION_STRING, API_ENDPOINT, TOKEN_ENDPOINT, CLIENT_ID, SCOPE" in err
    following = err.splitlines()[-2].strip()
    assert following.startswith("dataflows --env-file ") and following.endswith(" cqc-fetch --dry-run")
    assert "--set" not in following
    text = path.read_text(encoding="utf-8")
    assert "# code of the local authority [3 digits]\nLA_CODE=998\n" in text
    assert "# ---- patient-import ----" not in text


def test_what_is_there_is_not_overwritten(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / ".env"
    before = "LA_CODE=1\n"
    path.write_text(before, encoding="utf-8")
    assert run("--flow", "csc-submit") == 2
    assert path.read_text(encoding="utf-8") == before
    assert f"{path} already exists" in capsys.readouterr().err
    assert run("--flow", "csc-submit", "--force") == 10  # what it holds cannot be used: nothing is written
    assert path.read_text(encoding="utf-8") == before


def test_with_force_what_was_said_is_kept(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / ".env"
    former = {"LA_CODE": "998", "SMTP_PASSWORD": "hush #2", "DATAFLOWS_CSC_SUBMIT_LIMIT": "3", "GCS_BUCKET": "mine-1",
              "CQC_URL_X": "https://example.org/x"}  # fmt: skip
    path.write_text("".join(f"{name}='{value}'\n" for name, value in former.items()), encoding="utf-8")
    assert run("--flow", "csc-submit", "--force", "--set", "LA_CODE=999") == 0
    assert envfile.read(path) == {**former, "LA_CODE": "999", "DATA_DIR": str(tmp_path / "data")}
    assert "hush" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "init needs to know what to set up"),
        (["--flow", "csc"], 2, "init needs to know what to set up"),
        (["--flow", "csc-submit", "--set", "LA_CODE=99x", "--set", "BATCH_SIZE=0"], 10,
         "LA_CODE must be 3 digits; BATCH_SIZE must be a whole number from 1 to 100"),
    ],
)  # fmt: skip
def test_nothing_is_written_for_what_is_wrong(
    tmp_path: Path, capsys: Capture, words: list[str], code: int, told: str
) -> None:
    assert run(*words) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / ".env").exists()


def test_where_nobody_can_be_asked(capsys: Capture) -> None:
    assert main(["init", "--flow", "csc-submit"]) == 2
    assert "init cannot ask without a terminal" in capsys.readouterr().err


def test_secrets_into_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: MemoryKeyring, capsys: Capture
) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "hush")
    monkeypatch.setenv("SUPPLIER_KEY", "file:///run/secrets/key")
    assert run("--flow", "csc-submit", "--keyring", "--json") == 0
    assert ring.kept == {("dataflows", "CLIENT_SECRET"): "hush"}
    found = envfile.read(tmp_path / ".env")
    assert (found["CLIENT_SECRET"], found["SUPPLIER_KEY"]) == (
        "keyring://dataflows/CLIENT_SECRET",
        "file:///run/secrets/key",
    )
    document = json.loads(capsys.readouterr().out)
    assert (document["env_file"], document["exit_code"]) == (str(tmp_path / ".env"), 0)
    assert document["next"][0].endswith("csc-submit --dry-run")


def test_with_checks_something_missing_is_an_error(capsys: Capture) -> None:
    assert main(["init", "--yes", "--flow", "therapist-import"]) == 10
    assert "therapist-import still needs THERAPIST_IMPORT_DIR" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_on_a_terminal(tmp_path: Path) -> None:
    """Everything is asked for; a wrong answer is asked again, Enter takes what is proposed, secrets are not shown."""
    from tests.terminals import Terminal

    path = tmp_path / "Größe 1" / ".env"
    words = [sys.executable, "-m", "dataflows", "init", "--env-file", str(path), "--no-check"]
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    del environment["DATA_DIR"]
    with Terminal(words, tmp_path, environment) as terminal:
        terminal.answer("Numbers or names: ", "csc")
        terminal.answer("Numbers or names: ", "1, cqc-fetch")
        terminal.answer("DB_CONNECTION_STRING []: ", "Driver={x};PWD=hush #1;Server=s")
        terminal.answer("TABLE_NAME [ssd_api_data_staging]: ", "")
        terminal.answer("LA_CODE []: ", "99x")
        terminal.answer("LA_CODE must be 3 digits", "998")
        terminal.answer("API_ENDPOINT []: ", "https://api.example.org")
        terminal.answer("TOKEN_ENDPOINT []: ", "https://login.example.org/token")
        terminal.answer("CLIENT_ID []: ", "me")
        terminal.answer("CLIENT_SECRET []: ", "it's \\ hushed")
        terminal.answer("SCOPE []: ", "-")
        terminal.answer("SUPPLIER_KEY []: ", "keyring://dataflows/key")
        terminal.answer("DATA_DIR []: ", "Daten ß")
        assert terminal.ended() == 0
    assert envfile.read(path) == {
        "DB_CONNECTION_STRING": "Driver={x};PWD=hush #1;Server=s",
        "LA_CODE": "998",
        "API_ENDPOINT": "https://api.example.org",
        "TOKEN_ENDPOINT": "https://login.example.org/token",
        "CLIENT_ID": "me",
        "CLIENT_SECRET": "it's \\ hushed",
        "SUPPLIER_KEY": "keyring://dataflows/key",
        "DATA_DIR": "Daten ß",
    }
    assert "hush" not in terminal.shown
    assert "csc-submit still needs SCOPE" in terminal.shown
    with Terminal(words, tmp_path, environment) as again:
        again.answer("already exists. Replace it? [y/N] ", "n")
        assert again.ended() == 2


def test_whatever_can_be_set_up_has_its_settings_checks_and_next_command(tmp_path: Path, capsys: Capture) -> None:
    jobs = {CSC, CQC, HOSPITALS, PATIENTS, THERAPISTS, SERVE}
    assert set(GROUPS) == set(ASKED) == jobs
    known = {spec.name for spec in table()}
    assert {name for names in ASKED.values() for name in names} <= known
    assert all(set(names) <= set(ASKED[command]) for command, names in NEEDS.items())
    for job in jobs:
        assert run("--flow", job, "--force") == 0
        assert f" {job} " in f"{capsys.readouterr().err.splitlines()[-2]} "


SECRETS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)


@given(st.sampled_from([spec.name for spec in table()]), SECRETS)
def test_whatever_is_written_is_read_back(name: str, value: str) -> None:
    from io import StringIO

    try:
        line = assignment(name, value)
    except SettingUnusable:
        # NEL and its kind end a line for dotenv
        assert any(character in value for character in "\x85\u2028\u2029") or not value.isprintable()
        return
    assert envfile.parsed(StringIO(f"A=1\n{line}\nB=2\n"), "x") == {"A": "1", name: value, "B": "2"}


def test_a_line_break_is_refused() -> None:
    with pytest.raises(SettingUnusable, match="LA_CODE cannot be written on one line"):
        assignment("LA_CODE", "a\nSCOPE=b")


def test_every_setting_stands_once_in_the_file() -> None:
    text = list(lines({}))
    for spec in table():
        assert len([line for line in text if line.lstrip("#").startswith(f"{spec.name}=")]) == 1
