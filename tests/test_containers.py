"""The image of ``serve`` and what starts it: files that are there, settings that there are, scripts that work."""

from __future__ import annotations

import csv
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from dataflows.cli.main import app
from dataflows.sandbox.server import Sandbox
from dataflows.settings import table
from tests.test_workflows import check
from tests.web.world import TOKEN, Served, World

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith(("#", " "))]
COPIED = [word for word, rest in LINES if word == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
ENVIRONMENT = dict(re.findall(r"(\w+)=(\S+)", next(rest for word, rest in LINES if word == "ENV")))
COMPOSE = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
WEB, CRON = YAML(typ="safe").load((ROOT / "render.yaml").read_text(encoding="utf-8"))["services"]
SETTINGS = {spec.name for spec in table()}
SAMPLE = ROOT / "sample_hospitals.csv"


def the(instruction: str) -> str:
    [rest] = [rest for word, rest in LINES if word == instruction]
    return rest


def keys(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in service["envVars"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Sandbox(seed=1) as box, World(tmp_path_factory.mktemp("web"), box).serving() as running:
        yield running


# --- the image ----------------------------------------------------------------------------------------------------


def test_what_is_copied_is_there_and_not_ignored() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert {name for name in COPIED if not (ROOT / name).exists()} == set()
    assert set(COPIED) == let_in


def test_it_installs_what_serve_needs_in_the_versions_that_are_tested() -> None:
    install = next(rest for word, rest in LINES if word == "RUN" and "pip install" in rest)
    assert '--constraint constraints.txt ".[serve]"' in install
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "serve" in project["optional-dependencies"]
    pythons = {re.sub(r"python:(3\.\d+)-slim.*", r"\1", rest) for word, rest in LINES if word == "FROM"}
    assert len(pythons) == 1
    assert f"Programming Language :: Python :: {pythons.pop()}" in project["classifiers"]


def test_it_runs_as_nobody_who_could_harm_and_keeps_its_data_outside() -> None:
    words = [word for word, _ in LINES]
    assert the("USER") == "1000:1000"  # a number: some clusters refuse a name
    assert words.index("USER") < words.index("CMD")
    assert ENVIRONMENT["DATA_DIR"] == the("VOLUME") == "/data"


def test_its_environment_is_made_of_settings() -> None:
    assert {name for name in ENVIRONMENT if not name.startswith("PYTHON")} - {"PATH"} <= SETTINGS
    assert (ENVIRONMENT["APP_HOST"], ENVIRONMENT["PORT"]) == ("0.0.0.0", the("EXPOSE"))


def test_its_command_is_one_of_ours() -> None:
    program, command, *options = shlex.split(re.sub(r"[\[\],]", " ", the("CMD")))
    assert program == "dataflows"
    group = typer.main.get_command(app)
    assert group.commands[command].make_context(command, options)  # type: ignore[attr-defined]


# --- its scripts --------------------------------------------------------------------------------------------------


def script(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the image with nothing else in the environment, as no package of ours is needed."""
    path = next(path for path in COPIED if path.endswith(name))
    command = [sys.executable, "-I", str(ROOT / path)]
    system = {"SYSTEMROOT": r"C:\Windows"} if sys.platform == "win32" else {}
    return subprocess.run(command, env={**system, **environment}, capture_output=True, text=True, check=False)


def port_of(served: Served) -> str:
    return served.address.rpartition(":")[2]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def test_the_healthcheck_is_content_with_a_server_that_answers(served: Served) -> None:
    assert the("HEALTHCHECK").endswith('CMD ["python", "/opt/dataflows/healthcheck.py"]')
    assert script("healthcheck.py", PORT=port_of(served)).returncode == 0
    assert script("healthcheck.py", PORT="1", APP_PORT=port_of(served)).returncode == 0  # the order of serve


def test_the_healthcheck_fails_where_nobody_answers() -> None:
    done = script("healthcheck.py", PORT=free_port())
    assert (done.returncode, "no answer on port" in done.stderr) == (1, True)


def test_the_weekly_fetch_is_a_run_of_the_service(served: Served) -> None:
    done = script("weekly_fetch.py", SERVICE_ADDRESS=f"127.0.0.1:{port_of(served)}", RUN_TOKEN=TOKEN)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"status": "ok"' in done.stdout
    assert served.get("/files/latest/homecare", X_Auth_Token=TOKEN).status == 200


@pytest.mark.parametrize(
    ("token", "told"), [("wrong-token-0123456789", "unauthorised"), ("", "RUN_TOKEN"), ("down", "gave no answer")]
)
def test_the_weekly_fetch_fails_aloud(served: Served, token: str, told: str) -> None:
    port = free_port() if token == "down" else port_of(served)
    done = script("weekly_fetch.py", SERVICE_ADDRESS=f"127.0.0.1:{port}", **({"RUN_TOKEN": token} if token else {}))
    assert done.returncode == 1
    assert told in done.stdout + done.stderr


# --- what starts it -----------------------------------------------------------------------------------------------


def test_compose_is_of_its_schema() -> None:
    done = check("compose-spec", ROOT / "docker-compose.yml")
    assert done.returncode == 0, done.stdout


def test_compose_names_settings_and_keeps_the_data() -> None:
    service = COMPOSE["services"]["serve"]
    assert set(service["environment"]) <= SETTINGS
    assert service["volumes"] == ["data:/data"]
    assert "data" in COMPOSE["volumes"]
    assert service["ports"] == [f"127.0.0.1:8000:{service['environment']['APP_PORT']}"]  # this machine alone


def test_render_gives_the_service_a_disk_where_its_data_goes() -> None:
    assert WEB["disk"]["mountPath"] == keys(WEB)["DATA_DIR"]["value"] == ENVIRONMENT["DATA_DIR"]
    assert WEB["numInstances"] == 1
    assert keys(WEB)["RUN_TOKEN"] == {"key": "RUN_TOKEN", "generateValue": True}


def test_render_names_settings() -> None:
    assert set(keys(WEB)) <= SETTINGS
    assert set(keys(CRON)) - SETTINGS == {"SERVICE_ADDRESS"}  # of the script


def test_render_asks_for_what_answers_without_a_token(served: Served) -> None:
    assert served.get(WEB["healthCheckPath"]).json["ok"] is True


def test_the_cron_job_of_render_calls_the_service_on_fridays() -> None:
    assert (CRON["type"], CRON["schedule"], "disk" in CRON) == ("cron", "0 9 * * 5", False)
    where = {"type": WEB["type"], "name": WEB["name"]}
    assert keys(CRON)["RUN_TOKEN"]["fromService"] == {**where, "envVarKey": "RUN_TOKEN"}
    assert keys(CRON)["SERVICE_ADDRESS"]["fromService"] == {**where, "property": "hostport"}
    program, path = CRON["dockerCommand"].split()
    assert (program, path.removeprefix("/opt/dataflows/")) == ("python", "weekly_fetch.py")


@pytest.mark.parametrize("service", [WEB, CRON], ids=lambda service: str(service["type"]))
def test_render_builds_the_image_of_the_dockerfile(service: dict[str, Any]) -> None:
    assert service["runtime"] == "docker"
    assert (ROOT / service["dockerfilePath"]).read_text(encoding="utf-8").startswith("# The image of")


# --- the sample ---------------------------------------------------------------------------------------------------


def test_the_sample_is_a_valid_file_of_hospitals(served: Served) -> None:
    answer = served.call(
        "POST",
        "/hospitals/validate",
        fields={"file": (SAMPLE.name, SAMPLE.read_bytes(), "text/csv")},
        headers={"X-Auth-Token": TOKEN},
    )
    assert (answer.status, answer["is_valid"], answer["total_rows"]) == (200, True, 4)


def test_the_sample_is_made_up() -> None:
    rows = list(csv.DictReader(SAMPLE.read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == ["name", "address", "phone"]
    assert all(re.fullmatch(r"(020 7946 0\d{3})?", row["phone"]) for row in rows)  # reserved for drama
    assert all(row["name"].startswith("Synthetic ") for row in rows)
