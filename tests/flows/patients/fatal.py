"""The program, killed at a step of its own, or by somebody else: in processes forked from one that has all loaded."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import pytest

from tests import warm
from tests.processes import PATIENCE, until

STEPS = (
    "migrations.v0002_therapists.upgrade before",
    "Bucket.objects after",
    "Bucket.download before",
    "Bucket.download after",
    "files.settle before",
    "Copies.keep after",
    "recording._insert after",
    "recording._keep_consent before",
    "recording._track after",
    "Books.record after",
    "Bucket.delete before",
    "Bucket.delete after",
    "Tracking.gone after",
    "Copies.put_aside after",
    "Tracking.fail after",
    "mail.post before",
    "mail.post after",
    "Tracking.told after",
    "kafka.drain after",
)
"""Where a pass can be killed: between any two of its steps, and inside some."""


def program(environment: Mapping[str, str], arguments: list[str], step: str = "", number: int = 1) -> None:
    """Run the program; at the ``number``-th time that it comes to ``step``, kill it."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ.update(environment)
    if step:
        place, moment = step.split()
        _arm(place, moment, number)
    from dataflows.cli.main import main

    os._exit(main(arguments))


def _arm(place: str, moment: str, number: int) -> None:
    owner, name = _owners()[place.rpartition(".")[0]], place.rpartition(".")[2]
    work, left = getattr(owner, name), [number]

    def fatal(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if moment == "before" and not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        result = work(*arguments, **options)
        if moment == "after" and not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, fatal)


def _owners() -> dict[str, Any]:
    from dataflows.flows.practice.patients import bucket, intake, objects, recording, tracking
    from dataflows.remote import kafka, mail
    from dataflows.store import files
    from dataflows.store.practice.migrations import v0002_therapists

    return {
        "migrations.v0002_therapists": v0002_therapists,
        "Bucket": bucket.BucketClient,
        "files": files,
        "Copies": objects.BackupFolder,
        "recording": recording,
        "Books": intake.Intake,
        "Tracking": tracking.Tracking,
        "mail": mail,
        "kafka": kafka,
    }


class Opens(Protocol):
    """What lets a process go on."""

    def open(self) -> None:
        """Let it."""


class Victims:
    """Starts the program in processes that can be killed."""

    def __init__(self) -> None:
        self._context = warm.context()

    def killed_at(self, step: str, number: int, environment: Mapping[str, str]) -> bool:
        """Run a pass that is killed at a step; False when it came to its end before."""
        with self._started(environment, step, number) as process:
            return _code(process) == -signal.SIGKILL

    def killed_after(self, seconds: float, environment: Mapping[str, str]) -> bool:
        """Run a pass and kill it after so many seconds; False when it came to its end before."""
        with self._started(environment) as process:
            process.join(seconds)
            process.kill()
            return _code(process) == -signal.SIGKILL

    def seconds(self, environment: Mapping[str, str]) -> float:
        """How long a pass takes that nobody kills."""
        began = time.monotonic()
        with self._started(environment) as process:
            assert _code(process) in (0, 3)
        return time.monotonic() - began

    def at_once(
        self, environments: Sequence[Mapping[str, str]], gate: Opens, command: str = "patient-import"
    ) -> list[int]:
        """Start several at the same time; the gate opens when all but one have ended. Returns their exit codes."""
        processes = [self._process(environment, command=command) for environment in environments]
        for process in processes:
            process.start()
        until(lambda: sum(process.is_alive() for process in processes) < 2, "the end of all but one")
        gate.open()
        return [_code(process) for process in processes]

    @contextmanager
    def _started(self, environment: Mapping[str, str], step: str = "", number: int = 1) -> Iterator[BaseProcess]:
        process = self._process(environment, step, number)
        process.start()
        try:
            yield process
        finally:
            if process.is_alive():
                process.kill()
                process.join(PATIENCE)

    def _process(
        self, environment: Mapping[str, str], step: str = "", number: int = 1, command: str = "patient-import"
    ) -> BaseProcess:
        arguments: Any = (dict(environment), [command, "--json"], step, number)
        return self._context.Process(target=program, args=arguments)


def _code(process: BaseProcess) -> int:
    process.join(PATIENCE)
    assert process.exitcode is not None, "it never came to its end"
    return process.exitcode


@pytest.fixture(scope="session")
def victims() -> Victims:
    """Starts and kills the program."""
    if sys.platform == "win32":
        pytest.skip("kill -9 and fork belong to POSIX")
    return Victims()
