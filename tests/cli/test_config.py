"""``config``: every setting with its source, no secret, and all that is wrong or missing at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflows.cli.main import main
from dataflows.settings import table
from dataflows.settings.needs import NEEDS, UNLESS
from tests.keyrings import MemoryKeyring, in_memory

Capture = pytest.CaptureFixture[str]
CSC = "DB_CONNECTION_STRING, API_ENDPOINT, LA_CODE, TOKEN_ENDPOINT, CLIENT_ID, CLIENT_SECRET, SCOPE and SUPPLIER_KEY"


@pytest.fixture(autouse=True)
def ring() -> Iterator[MemoryKeyring]:
    with in_memory() as ours:
        yield ours


def written(tmp_path: Path, **settings: str) -> None:
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    (tmp_path / ".env").chmod(0o600)


def document(capsys: Capture, code: int, *words: str) -> dict[str, Any]:
    assert main(["config", "--json", *words]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    assert isinstance(found, dict)
    return found


def test_every_setting_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, ring: MemoryKeyring
) -> None:
    ring.kept["dataflows", "csc"] = "hush"
    written(tmp_path, LA_CODE="998", CLIENT_SECRET="keyring://dataflows/csc", SUPPLIER_KEY="hushed", SCOPE="s",
            CQC_URL_X="https://example.org/x.csv")  # fmt: skip
    monkeypatch.setenv("SCOPE", "from here")
    found = document(capsys, 0, "--log-level", "debug", "--set", "BATCH_SIZE=7")
    items = {one["name"]: (one["value"], one["source"]) for one in found["items"]}
    assert {spec.name for spec in table()} | {"CQC_URL_X"} == set(items)
    assert {name: items[name] for name in ("LA_CODE", "SCOPE", "LOG_LEVEL", "BATCH_SIZE", "CSC_WORKERS")} == {
        "LA_CODE": ("998", "env file"),
        "SCOPE": ("from here", "environment"),
        "LOG_LEVEL": ("debug", "flag"),
        "BATCH_SIZE": ("7", "environment"),
        "CSC_WORKERS": ("4", "default"),
    }
    assert items["CLIENT_SECRET"] == ("***", "keyring://dataflows/csc (env file)")
    assert items["SUPPLIER_KEY"] == ("***", "env file")
    assert (found["env_file"], found["data_dir"]) == (str(tmp_path / ".env"), str(tmp_path / "data"))
    assert "hush" not in json.dumps(found)


def test_for_people(tmp_path: Path, capsys: Capture) -> None:
    written(tmp_path, LA_CODE="998", CLIENT_SECRET="hush")
    assert main(["config"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert f"env file   {tmp_path / '.env'}" in lines
    assert "  LA_CODE = 998  (env file)" in lines
    assert "  CLIENT_SECRET = ***  (env file)" in lines
    assert "  CLIENT_ID  (not set)" in lines
    assert "    DB_CONNECTION_STRING (unless staging.db is in DATA_DIR)" in lines
    assert "hush" not in out + err


def test_all_that_is_unusable_at_once(tmp_path: Path, capsys: Capture) -> None:
    written(tmp_path, LA_CODE="99x", BATCH_SIZE="0", CLIENT_IDD="3", CQC_URL_X="foo", SCOPE="fine",
            HEALTHCHECK_URL_CQC_FETCH="file:///nowhere/hc", SUPPLIER_KEY="keyring://dataflows/none")  # fmt: skip
    found = document(capsys, 10)
    messages = [problem["message"] for problem in found["problems"]]
    assert len(messages) == 6
    for word in ("LA_CODE", "BATCH_SIZE", "CLIENT_IDD", "CQC_URL_X", "HEALTHCHECK_URL_CQC_FETCH", "SUPPLIER_KEY"):
        assert len([message for message in messages if message.startswith(word)]) == 1
    items = {one["name"]: one for one in found["items"]}
    assert (items["LA_CODE"]["value"], items["LA_CODE"]["source"]) == (None, "unusable")
    assert items["LA_CODE"]["problem"].endswith("must be 3 digits")
    assert items["SCOPE"]["value"] == "fine"
    assert "LA_CODE" in found["missing"]["csc-submit"]
    assert found["error"]["message"] == messages[0]
    assert "99x" not in json.dumps(found)


def test_what_each_command_lacks(tmp_path: Path, capsys: Capture) -> None:
    assert document(capsys, 0)["missing"] == {name: list(names) for name, names in NEEDS.items()}
    written(tmp_path, API_ENDPOINT="https://example.org/children/", THERAPIST_IMPORT_DIR="x")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "staging.db").touch()
    found = document(capsys, 0)["missing"]
    assert found["therapist-import"] == []
    assert found["csc-submit"] == ["TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE", "SUPPLIER_KEY"]


def test_what_is_needed_is_a_setting_without_a_default() -> None:
    defaults = {spec.name: spec.default for spec in table()}
    names = {name for several in NEEDS.values() for name in several}
    assert {defaults[name] for name in names} == {None}
    assert set(UNLESS) <= names


def test_a_command_names_all_that_it_lacks(tmp_path: Path, capsys: Capture) -> None:
    assert main(["csc-submit"]) == 10
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == f"error: {CSC} are not set [setting-missing]"
    assert second.endswith("to see what is in force: dataflows config")
    assert main(["csc-submit", "--dry-run"]) == 10
    assert capsys.readouterr().err.startswith(
        "error: DB_CONNECTION_STRING, API_ENDPOINT and LA_CODE are not set [setting-missing]\n"
    )
    assert not (tmp_path / "data" / "journal.db").exists()


def test_what_lacks_in_a_run_is_what_config_says(tmp_path: Path, capsys: Capture) -> None:
    """Set one after the other: each time both name the same, until the run gets beyond settings."""
    values = {"DB_CONNECTION_STRING": f"sqlite:///{tmp_path}/x.db", "LA_CODE": "998", "SCOPE": "s/.default"}
    values |= dict.fromkeys(("API_ENDPOINT", "TOKEN_ENDPOINT"), "http://127.0.0.1:9/x")
    values |= dict.fromkeys(("CLIENT_ID", "CLIENT_SECRET", "SUPPLIER_KEY"), "x")
    (tmp_path / "x.db").touch()
    for count in range(len(values)):
        written(tmp_path, **dict(list(values.items())[:count]))
        missing = document(capsys, 0)["missing"]["csc-submit"]
        assert main(["csc-submit", "--json"]) == 10
        message = json.loads(capsys.readouterr().out)["error"]["message"]
        assert [name for name in values if name in message] == [name for name in values if name in missing]
    written(tmp_path, **values)
    assert document(capsys, 0)["missing"]["csc-submit"] == []
    main(["csc-submit", "--json"])
    assert "not set" not in json.loads(capsys.readouterr().out)["error"]["message"]
