"""The program in processes that are forked from one which has loaded everything: real ones, started in a tenth of the
time. Where there is no fork (Windows), and where the start itself is the point (smoke), processes start from nothing.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context, reduction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

HEAVY = [
    "tests.warm", "dataflows.cli.main", "dataflows.cli.progress", "dataflows.cli.wording", "dataflows.flows.cqc.job",
    "dataflows.flows.csc.job", "dataflows.flows.hospitals.job", "dataflows.flows.practice.patients.job",
    "dataflows.flows.practice.therapists.job", "dataflows.checks", "dataflows.web.application", "dataflows.web.server",
    "dataflows.settings.reading", "google.cloud.storage", "google.auth.transport.requests", "google_crc32c", "psycopg",
    "pydantic_settings", "dotenv", "rich.console", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql",
    "tests.heated", "tests.flows.patients.fatal",
    # what another account may not read later
    "dataflows.remote.smtp", "dataflows.store.practice.migrations", "alembic.script.revision",
    "_strptime", "locale", "zipfile", "encodings.idna",
]  # fmt: skip
POSSIBLE = hasattr(os, "fork")

_context = get_context("forkserver") if POSSIBLE else None
if _context is not None:
    _context.set_forkserver_preload(HEAVY)
_starting = threading.Lock()


def context() -> ForkServerContext:
    """Where processes are forked from: one server for each process of the tests, which loads once what all need."""
    assert _context is not None
    return _context


class _Handed:
    """A file descriptor on its way into the new process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self.number),)


def _received(handed: Any) -> int:
    return int(handed.detach())


class Warm:
    """A running program; the part of ``subprocess.Popen`` that tests use. What it prints goes into pipes.

    ``account``: the number of the account to run it as, which takes root.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        account: int | None = None,
    ) -> None:
        assert _context is not None
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        words: Any = (module, list(arguments), str(folder), dict(environment))
        given: Any = (*words, _Handed(its_out), _Handed(its_err), account)
        self._process = _context.Process(target=_run, args=given)
        with _starting:
            self._process.start()
        for number in (its_out, its_err):
            os.close(number)
        self.stdout, self.stderr = os.fdopen(out, "rb"), os.fdopen(err, "rb")
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("dataflows", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Wait for its end, and return the rest of what it printed."""
        got: dict[str, bytes] = {"out": b"", "err": b""}

        def read(name: str, stream: io.BufferedReader) -> None:
            if not stream.closed:
                got[name] = stream.read()
                stream.close()

        readers = [
            threading.Thread(target=read, args=one, daemon=True) for one in (("out", self.stdout), ("err", self.stderr))
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return got["out"], got["err"]

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended just now, and the server it was forked from has noticed
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(
    module: str,
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    out: int,
    err: int,
    account: int | None,
) -> None:  # pragma: no cover - in the new process
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, wanted in ((null, 0), (out, 1), (err, 2)):
        os.dup2(number, wanted)
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1), _text(2)
    start = __import__(f"{module}.__main__", fromlist=["main"])
    if account is not None and sys.platform != "win32":
        os.setgroups([])
        os.setgid(account)
        os.setuid(account)
    sys.argv = [str(start.__file__), *arguments]
    sys.exit(start.main())


def _text(number: int, mode: Literal["r", "w"] = "w") -> io.TextIOWrapper:
    errors = "backslashreplace" if number == 2 else "strict"
    return open(number, mode, encoding="utf-8", errors=errors, closefd=False)
