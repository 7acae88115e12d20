"""After one run by root, a service account is told what is wrong with which file; nothing is a bug. Root only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.accounts import NOBODY, as_root, run_as
from tests.flows.cqc.world import QUICK
from tests.flows.patients.world import name_of, registration, written
from tests.processes import Ended

pytestmark = as_root


class Shared:
    """A data folder of the service account, in which root has run a command."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        self.folder, self.box = folder, box
        self.data = folder / "data"
        self.data.mkdir()
        self.settings = {**box.settings(), **QUICK, "DATA_DIR": str(self.data), "HOME": str(folder)}

    def run(self, account: int, *arguments: str, **settings: str) -> Ended:
        """Run a command as an account, and check what holds for every call."""
        return run_as(account, arguments, {**self.settings, **settings}, self.folder)

    def give(self, *paths: Path) -> None:
        """Give files to the account."""
        for path in paths:
            os.chown(path, NOBODY, NOBODY)

    def leave_by_root(self, part: str) -> None:
        """Let root run a command; of what that made, give all but one part to the account."""
        assert self.run(0, "cqc-fetch").code == 0
        for path in self.everything():
            if PARTS[part](path):
                os.chown(path, 0, 0)
                path.chmod(0o700 if path.is_dir() else 0o600)
            else:
                self.give(path)

    def everything(self) -> list[Path]:
        """The data folder and all in it."""
        return [self.data, *self.data.rglob("*")]


@pytest.fixture
def shared() -> Iterator[Shared]:
    with tempfile.TemporaryDirectory() as name, Sandbox(seed=1) as box:  # pytest's own folders are root's alone
        folder = Path(name)
        folder.chmod(0o755)
        shared = Shared(folder, box)
        shared.give(shared.data)
        yield shared


UNTOUCHED = {("runs", "logs"), ("runs", "locks"), ("serve", "locks")}
COMMANDS = [("cqc-fetch",), ("runs", "list"), ("serve", "--port", "0")]
PARTS = {
    "locks": lambda path: path.parent.name == "locks" or path.name == "locks",
    "logs": lambda path: path.name == "logs" or path.parent.name == "logs",
    "journal": lambda path: path.name.startswith("journal.db"),
    "folder": lambda path: path.name == "data",
}


# ``runs list`` writes no log and has no running job to look after; ``serve`` takes locks for its jobs only
CASES = [(part, command) for part in PARTS for command in COMMANDS if (command[0], part) not in UNTOUCHED]


@pytest.mark.parametrize(("part", "command"), CASES, ids=[f"{command[0]}-{part}" for part, command in CASES])
def test_what_root_has_left_is_named_with_its_account(shared: Shared, part: str, command: tuple[str, ...]) -> None:
    shared.leave_by_root(part)
    ended = shared.run(NOBODY, *command)
    assert ended.code == 10
    assert "belongs to the account root, but this account is nobody" in ended.err
    assert str(shared.data) in ended.err
    assert "hint: give DATA_DIR with all in it to nobody" in ended.err


@pytest.mark.parametrize("part", ["logs", "locks"])
def test_who_needs_none_of_it_is_not_disturbed(shared: Shared, part: str) -> None:
    shared.leave_by_root(part)
    assert shared.run(NOBODY, "runs", "list").code == 0


@pytest.mark.parametrize("name", ["practice.db", "journal.key", "staging.db"])
def test_a_database_or_key_of_root_is_named_too(shared: Shared, name: str) -> None:
    write = {"practice.db": "therapist-import", "journal.key": "patient-import", "staging.db": "csc-submit"}[name]
    folder = shared.folder / "therapists"
    folder.mkdir(mode=0o755)
    (shared.data / name).write_bytes(b"")
    (shared.data / name).chmod(0o600)
    ended = shared.run(NOBODY, write, THERAPIST_IMPORT_DIR=str(folder))
    assert ended.code == 10
    assert f"{shared.data / name} belongs to the account root, but this account is nobody" in ended.err


@pytest.mark.parametrize("what", ["copies", "output"])
def test_a_folder_of_root_is_named_too(shared: Shared, what: str) -> None:
    folder = shared.folder / "of root"
    folder.mkdir(mode=0o700)
    body = registration()
    shared.box.bucket.put(name_of(body), written(body))
    arguments = ["patient-import"] if what == "copies" else ["cqc-fetch", "--output", str(folder)]
    ended = shared.run(NOBODY, *arguments, PATIENT_BACKUP_DIR=str(folder))
    assert ended.code == 10
    assert f"{folder} belongs to the account root, but this account is nobody" in ended.err


def test_the_run_after_everything_was_given_back_works(shared: Shared) -> None:
    assert shared.run(0, "cqc-fetch").code == 0
    shared.give(*shared.everything())
    assert shared.run(NOBODY, "cqc-fetch").code == 0


def test_nobody_can_read_or_hold_what_another_account_has_made(shared: Shared) -> None:
    assert shared.run(NOBODY, "cqc-fetch").code == 0
    other = 65_533
    assert shared.run(other, "runs", "list").code == 10


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_env_file_that_may_not_be_read_is_a_setting(shared: Shared, kind: str) -> None:
    place = shared.folder / "settings"
    place.mkdir(mode=0o700 if kind == "folder" else 0o755)
    file = place / "secret.env"
    file.write_text("LA_CODE=999\n")
    file.chmod(0o600 if kind == "file" else 0o644)
    ended = shared.run(NOBODY, "--env-file", str(file), "cqc-fetch")
    assert ended.code == 10
    assert f"{file} cannot be read (Permission denied)" in ended.err
