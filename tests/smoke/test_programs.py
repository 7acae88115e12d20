"""What has to work on a machine where the programs were just put: run against source, wheel and bundle."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.flows.csc.children import child
from tests.smoke.program import Installed, pipeline
from tests.test_api_pipeline import HELP

CLOSED = "http://127.0.0.1:9"
NO_POSTGRES = "postgresql://nobody@127.0.0.1:9/nothing"
DETAILS = {"first_name": "Synthetic-Jörg", "sex": "M", "date_of_birth": "2015-05-05"}
NO_DRIVER = "Driver={There is no such driver};Server=127.0.0.1;Database=nothing"


def commands(here: Installed) -> list[str]:
    """The commands that the help page lists."""
    listed = here.run("--help").out.partition("Commands:")[2].partition("\n\n")[0]
    return re.findall(r"^  ([a-z][a-z-]+)", listed, re.MULTILINE)


# --- the programs themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [None, "pipeline"])
def test_version(here: Installed, program: str | None) -> None:
    ended = here.run("--version", program=pipeline() if program else None)
    assert ended.code == 0
    assert re.fullmatch(r"dataflows \d+\.\d+\.\d+\S*\r?\n", ended.out)


@pytest.mark.usefixtures("forked")
def test_every_command_has_a_help_page(here: Installed) -> None:
    listed = commands(here)
    assert {"csc-submit", "cqc-fetch", "test-db", "runs", "demo"} <= set(listed)
    for command in listed:
        ended = here.run(command, "--help")
        assert (ended.code, "Usage: dataflows" in ended.out, ended.err) == (0, True, ""), command


@pytest.mark.usefixtures("forked")
def test_demo(here: Installed) -> None:
    temporary = here.folder / "temporär"
    temporary.mkdir()
    settings = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    code, document = here.ask("demo", **settings)
    assert (code, document["status"], document["differences"]) == (0, "done", [])
    assert list(temporary.iterdir()) == []


def test_a_pipe_carries_utf8(here: Installed) -> None:
    missing = here.folder / "fehlt – жã €.env"
    ended = here.run("--env-file", str(missing), "test-db", "--json", PYTHONUTF8="0", PYTHONIOENCODING="cp1252")
    assert ended.code == 10
    assert str(missing) in ended["error"]["message"]
    assert str(missing) in ended.err


def test_wrong_usage(here: Installed) -> None:
    assert here.run("csc-sumbit").code == 2


def test_schedule_names_this_program_and_it_is_there(here: Installed) -> None:
    ended = here.run("schedule", "csc-submit", "--daily", "02:00", "--format", "task-scheduler")
    assert ended.code == 0
    [called] = re.findall("<Command>(.*)</Command>", ended.out)
    assert Path(called).is_absolute() and Path(called).is_file()
    assert str(here.env_file) in ended.out


# --- csc_api_pipeline -----------------------------------------------------------------------------------------------


def test_help_of_the_pipeline_is_the_seeds(here: Installed) -> None:
    ended = here.run("--help", program=pipeline())
    assert ended.code == 0
    assert ended.out.splitlines() == HELP.replace("csc_api_pipeline", name_of_pipeline()).splitlines()


def name_of_pipeline() -> str:
    """What its help page calls it: on Windows the seed's name however it is called."""
    if sys.platform == "win32":
        return "csc_api_pipeline.exe"
    return "csc_api_pipeline" if len(pipeline()) == 1 else "python -m api_pipeline"


@pytest.mark.usefixtures("forked")
def test_exit_codes_of_the_pipeline(pointed: Installed, addresses: dict[str, str]) -> None:
    assert pointed.run("rnu", program=pipeline()).code == 2
    assert pointed.run("test-endpoint", program=pipeline()).code == 0
    assert pointed.run("test-schema", program=pipeline()).code == 10  # there is no table yet
    assert pointed.run("test-schema", "--create", program=pipeline()).code == 0
    assert pointed.run("test-db", program=pipeline()).code == 0
    stage(pointed.folder / "data" / "staging.db", 3)
    ended = pointed.run("run", "--json", program=pipeline())
    assert (ended.code, ended["sent"]) == (0, 3)
    assert pointed.run(program=pipeline()).code == 0  # nothing to do


def stage(database: Path, children: int) -> None:
    """Put made-up children into the staging table."""
    rows = [(json.dumps(child(number, child_details=DETAILS)),) for number in range(children)]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO ssd_api_data_staging (json_payload, submission_status) VALUES (?, 'pending')", rows
        )


# --- diagnostics ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, 0),
        ({"CLIENT_ID": ""}, 10),
        ({"CLIENT_SECRET": "another"}, 12),
        ({"API_ENDPOINT": CLOSED}, 13),
    ],
    ids=["well", "incomplete", "refused", "down"],
)
def test_test_endpoint(here: Installed, addresses: dict[str, str], changed: dict[str, str], code: int) -> None:
    here.write({**addresses, **changed}, DATA_DIR="data")
    ended = here.run("test-endpoint", "--json")
    assert (ended.code, ended["exit_code"]) == (code, code)
    assert {check["name"]: check["passed"] for check in ended["items"]}["csc: certificates"] is True


@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize(
    ("url", "code", "told"),
    [(NO_POSTGRES, 13, "cannot be reached"), (NO_DRIVER, 10, "driver"), ("sqlite:///nothing.db", 10, "nothing.db")],
    ids=["postgresql", "odbc", "sqlite"],
)
def test_test_db_reaches_every_kind_of_database(here: Installed, url: str, code: int, told: str) -> None:
    ended = here.run("test-db", "--json", DB_CONNECTION_STRING=url)
    assert ended.code == code, ended.err
    assert told in ended["error"]["message"].lower()


# --- a run ----------------------------------------------------------------------------------------------------------


def test_cqc_fetch_into_a_folder_with_blanks_and_umlauts(pointed: Installed) -> None:
    output = pointed.folder / "Ergebnis für Frau Groß"
    code, document = pointed.ask("cqc-fetch", "--output", str(output), "--source", "homecare")
    assert code == 0
    [saved] = output.iterdir()
    fetched = document["results"]["homecare"]
    assert (saved.name, saved.stat().st_size) == (fetched["file"], fetched["bytes"])
    code, listed = pointed.ask("runs", "list")
    assert (code, [run["command"] for run in listed["items"]]) == (0, ["cqc-fetch"])
    assert {path.name for path in (pointed.folder / "data").iterdir()} >= {"journal.db", "logs", "locks"}
