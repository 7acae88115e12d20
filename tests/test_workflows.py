"""The workflows of GitHub: they are what GitHub takes, may do little, and name what there is in this project."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS: dict[str, dict[str, Any]] = {
    path.name: YAML(typ="safe").load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))
}
JOBS = [(f"{name}: {job}", body) for name, flow in WORKFLOWS.items() for job, body in flow["jobs"].items()]
STEPS = [(where, step) for where, job in JOBS for step in job["steps"]]
RUNS = [(where, step["run"]) for where, step in STEPS if "run" in step]
VERSIONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
NAMED = re.compile(r"(?<![\w/.-])((?:tools|tests|packaging)/[\w./-]+|[\w-]+\.(?:spec|yml|csv|txt))\b")
MADE_THERE: set[str] = set()
# what a step calls beside the tools of the project, all of them part of GitHub's machines
OF_THE_MACHINE = {"cd", "curl", "diff", "docker", "gh", "mkdir", "mv", "python", "sha256sum", "sudo", "test"}
EXTRA_OF = {"PyInstaller": "release", "mkdocs": "docs"}  # programs that come with an extra of the project


def words(script: str) -> Iterator[list[str]]:
    """The commands of a script, each as its words without quotes."""
    for line in script.replace("\\\n", " ").replace("$(", " && ").replace(")", "").splitlines():
        for command in re.split(r"&&|\|\||;", line):
            yield [word.strip("\"'") for word in command.split()]


def check(kind: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Hold files against a schema that check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_there_are_those_of_the_seed_and_the_checks() -> None:
    assert set(WORKFLOWS) == {"build-api-pipeline-pkg.yml", "build-release-exe.yml", "ci.yml", "gh-pages.yml"}


def test_they_are_of_githubs_schema() -> None:
    done = check("github-workflows", *FOLDER.glob("*.yml"))
    assert done.returncode == 0, done.stdout


def test_the_schema_finds_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text((FOLDER / "ci.yml").read_text(encoding="utf-8").replace("runs-on:", "runs-at:"), encoding="utf-8")
    assert check("github-workflows", wrong).returncode == 1


def test_actions_are_githubs_own_and_pinned_by_their_commit_with_the_version_beside_it() -> None:
    used = {line for path in FOLDER.glob("*.yml") for line in path.read_text(encoding="utf-8").splitlines()}
    used = {line.partition("uses: ")[2] for line in used if "uses: " in line}
    assert len(used) > 5
    assert {line for line in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)} == set()
    commits = dict(line.partition(" # ")[0].split("@") for line in used)
    assert len({line.partition("@")[0] for line in used}) == len(used) == len(commits)  # one version of each


def test_what_is_pinned_is_looked_after() -> None:
    done = check("dependabot", ROOT / ".github" / "dependabot.yml")
    assert done.returncode == 0, done.stdout
    updates = YAML(typ="safe").load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip"}


def test_a_release_is_built_once_for_each_tag_and_all_of_it_has_checksums_and_a_proof() -> None:
    flow = WORKFLOWS["build-release-exe.yml"]
    assert set(flow["on"]) == {"push", "workflow_dispatch"}
    assert set(flow["jobs"]["publish"]["needs"]) == set(flow["jobs"]) - {"publish"}
    steps = flow["jobs"]["publish"]["steps"]
    assert any("sha256sum -- * > SHA256SUMS" in step.get("run", "") for step in steps)
    [proof] = [step for step in steps if "attest-build-provenance" in step.get("uses", "")]
    assert proof["with"] == {"subject-checksums": "assets/SHA256SUMS"}


def test_each_may_read_and_only_two_jobs_may_write() -> None:
    assert [flow["permissions"] for flow in WORKFLOWS.values()] == [{"contents": "read"}] * len(WORKFLOWS)
    more = {where: job["permissions"] for where, job in JOBS if "permissions" in job}
    assert more == {
        "build-release-exe.yml: publish": {"contents": "write", "id-token": "write", "attestations": "write"},
        "gh-pages.yml: deploy": {"pages": "write", "id-token": "write"},
    }


def test_what_may_write_never_runs_for_a_pull_request() -> None:
    conditions = {where: job.get("if") for where, job in JOBS if "permissions" in job}
    assert set(conditions.values()) == {"github.ref_type == 'tag'", "github.ref == 'refs/heads/main'"}
    assert all("pull_request_target" not in flow["on"] for flow in WORKFLOWS.values())


def test_the_only_secret_is_githubs_own() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml")]
    assert {name for text in texts for name in re.findall(r"secrets\.(\w+)", text)} == {"GITHUB_TOKEN"}


def test_the_token_does_not_stay_in_the_clone() -> None:
    clones = [step for _, step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(clones) > 4
    assert all(step["with"]["persist-credentials"] is False for step in clones)


@pytest.mark.parametrize(("where", "script"), RUNS)
def test_nothing_from_outside_becomes_part_of_a_script(where: str, script: str) -> None:
    assert "${{" not in script, f"{where}: by env alone"


def test_runs_of_one_branch_do_not_overlap_and_every_job_has_a_limit() -> None:
    assert all("github.ref" in flow["concurrency"]["group"] for flow in WORKFLOWS.values())
    assert all(job["timeout-minutes"] <= 40 for _, job in JOBS)


def test_linux_and_windows_with_every_python_of_the_project() -> None:
    matrix = WORKFLOWS["ci.yml"]["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix == {"os": ["ubuntu-latest", "windows-latest"], "python": VERSIONS}


def test_every_python_is_one_of_the_project() -> None:
    given = {str(step["with"]["python-version"]) for _, step in STEPS if "setup-python@" in step.get("uses", "")}
    assert given - {"${{ matrix.python }}"} <= set(VERSIONS)


@pytest.mark.parametrize(("where", "script"), RUNS)
def test_the_files_that_a_step_names_are_there(where: str, script: str) -> None:
    assert [name for name in set(NAMED.findall(script)) - MADE_THERE if not (ROOT / name).exists()] == [], where


def test_files_are_named() -> None:
    named = {name for _, script in RUNS for name in NAMED.findall(script)}
    assert {"tools/dev.py", "tests/smoke", "build_exe.spec", "sample_hospitals.csv", "mkdocs-pdf.yml"} <= named


@pytest.mark.parametrize(("where", "script"), RUNS)
def test_the_commands_that_a_step_calls_are_there(where: str, script: str) -> None:
    for command in words(script):
        program, *rest = [word for word in command if not re.match(r"\w+=", word)] or ["test"]
        if rest[:1] == ["-m"]:
            program = rest[1]
        elif found := re.match(r"\.venv/(?:bin|Scripts)/(\w+)$", program):
            program = found[1]
        assert program in OF_THE_MACHINE or is_part_of_us(program), f"{where}: {program}"


def is_part_of_us(program: str) -> bool:
    """Whether a program or module comes with the project, one of its extras, or a step before."""
    if program.startswith(("--", "build/", "dist/")) or program in ("pip", "venv"):
        return True
    if program in EXTRA_OF:
        wanted = PROJECT["project"]["optional-dependencies"][EXTRA_OF[program]]
        return any(re.match(rf"{program}\b", wish, re.IGNORECASE) for wish in wanted)
    return any(re.match(rf"{program}\b", wish) for wish in PROJECT["project"]["optional-dependencies"]["dev"])


def test_the_extras_that_are_installed_are_those_of_the_project() -> None:
    wanted = {extra for _, script in RUNS for extra in re.findall(r"\.\[(\w+)\]", script)}
    assert wanted == {"release", "docs"}
    assert wanted <= set(PROJECT["project"]["optional-dependencies"])


@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="there is no bash")
def test_the_scripts_are_bash() -> None:
    wrong: dict[str, str] = {}
    for where, script in RUNS:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        wrong |= {where: done.stderr} if done.returncode else {}
    assert wrong == {}


def test_tests_of_sql_server_find_it_and_take_turns() -> None:
    [install] = [script for where, script in RUNS if where == "ci.yml: sqlserver" and "sqlserver.py" in script]
    assert '>> "$GITHUB_ENV"' in install
    [tests] = [script for where, script in RUNS if where == "ci.yml: sqlserver" and "tests/store" in script]
    assert "-n 0" in tests  # they share one database


def test_the_address_of_sql_server_is_that_of_the_service() -> None:
    url = runpy.run_path(str(ROOT / "tools" / "sqlserver.py"))["url"]
    text = sa.make_url(url("Syn}th;1", PurePosixPath("/opt/a driver.so"))).query["odbc_connect"]
    assert text == (
        "Driver={/opt/a driver.so};Server=127.0.0.1,1433;Database=tempdb;UID=sa;PWD={Syn}}th;1};"
        "TrustServerCertificate=yes"
    )
    assert WORKFLOWS["ci.yml"]["jobs"]["sqlserver"]["services"]["database"]["ports"] == ["1433:1433"]
