"""A folder as nobody would name it for a test, and the sandbox as a process of the program under test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import until
from tests.smoke.program import Installed, command, environment

FOLDER = "Jörg Müller 100% – Pflege"


@pytest.fixture
def here(tmp_path: Path) -> Installed:
    """The programs in a folder whose name has blanks and umlauts; the env file only says where the data goes."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    installed = Installed(folder)
    installed.write({"DATA_DIR": "data"})
    return installed


@pytest.fixture
def forked(here: Installed) -> None:
    """For tests with many calls, to which the start of the program is nothing new: it costs more than all else."""
    here.forked = True


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings that point at a running sandbox."""
    env_file = tmp_path_factory.mktemp("sandbox") / "Größe.env"
    with subprocess.Popen(
        [*command(), "sandbox", "--write-env", str(env_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=env_file.parent,
        env=environment({}),
    ) as sandbox:
        try:
            until(lambda: env_file.exists() or sandbox.poll() is not None, "the sandbox listens")
            lines = env_file.read_text(encoding="utf-8").splitlines()
            yield dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        finally:
            sandbox.kill()


@pytest.fixture
def pointed(here: Installed, addresses: dict[str, str]) -> Installed:
    """The programs, pointed at the sandbox."""
    here.write(addresses, DATA_DIR="data", CQC_RETRIES="2", HTTP_MAX_WAIT_SECONDS="0.1")
    return here
