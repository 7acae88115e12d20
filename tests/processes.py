"""The real program as a process of its own, and what has to be true of everything that it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflows.sandbox.service import Exchange, Request, Service
from dataflows.settings import table
from tests import warm

PATIENCE = 60.0  # seconds until a test gives up; nothing here ever lasts that long
_LAST_LINE = re.compile(r"[\w -]+: .* in [\d.]+ \w+ -> exit (\d+)(, log [^\n]+)?(, data [^\n]+)?")


@dataclass(frozen=True)
class Ended:
    """How a process of the program ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; anything else there fails the test."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def keeps_the_contract(self) -> Ended:
        """Check what holds for every call: no traceback, plain text, JSON where asked for, a last line that sums up."""
        assert "Traceback" not in self.err, self.err
        assert "\x1b" not in self.out + self.err
        lines = self.err.splitlines()
        if self.code == 2:
            assert [line.partition(":")[0] for line in lines] == ["error", "hint"], self.err
        else:
            last = _LAST_LINE.fullmatch(lines[-1])
            assert last is not None and int(last[1]) == self.code, self.err
        if "--json" in self.arguments:
            assert len(self.out.splitlines()) == 1
            if self.arguments[:2] != ("runs", "show"):  # which tells how another run ended
                assert self["exit_code"] == self.code
                assert (self["error"] is None) == (self.code in (0, 3, 4))
        return self


class Program:
    """Starts the program with the settings of a test, in a folder where no env file lies."""

    def __init__(self, folder: Path, settings: Mapping[str, str], module: str = "dataflows") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.module = module
        known = {spec.name for spec in table()} | {"NO_COLOR"}
        ours = {name: text for name, text in os.environ.items() if name not in known}
        self.environment = {**ours, **settings}

    def start(self, *arguments: str, **environment: str) -> Process:
        """Start it and return at once; an empty setting counts as none."""
        if warm.POSSIBLE and "PYTHONPATH" not in environment:  # which is looked at by Python's own start alone
            whole = {**self.environment, **environment}
            return Process(arguments, warm.Warm(self.module, arguments, self.folder, whole))
        return Process(
            arguments,
            subprocess.Popen(
                [sys.executable, "-m", self.module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.folder,
                env={**self.environment, **environment},
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            ),
        )

    def run(self, *arguments: str, **environment: str) -> Ended:
        """Run it to its end, and check what holds for every call."""
        with self.start(*arguments, **environment) as process:
            return process.ended().keeps_the_contract()


class Process:
    """One running process; as a context manager it never outlives its test."""

    def __init__(self, arguments: tuple[str, ...], popen: subprocess.Popen[bytes] | warm.Warm) -> None:
        self.arguments = arguments
        self._popen = popen

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ended(self) -> Ended:
        """Wait for its end. What it printed must be UTF-8."""
        out, err = self._popen.communicate(timeout=PATIENCE)
        code = self._popen.wait()
        return Ended(self.arguments, code, out.decode("utf-8"), err.decode("utf-8"))

    def line(self) -> str:
        """Wait for the next line on stderr; empty when there is none any more."""
        stream = self._popen.stderr
        assert stream is not None
        return stream.readline().decode("utf-8")

    def interrupt(self) -> None:
        """Do what Ctrl-C does (Ctrl-Break on Windows, where Ctrl-C reaches no single process)."""
        if under_wine():  # GenerateConsoleCtrlEvent fails there with ERROR_INVALID_ACCESS, with a console and without
            pytest.skip("wine sends Ctrl-Break to no process group")
        name = "CTRL_BREAK_EVENT" if sys.platform == "win32" else "SIGINT"
        self._popen.send_signal(getattr(signal, name))

    def terminate(self) -> None:
        """Do what a service manager does."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it without a word, and wait until it is gone."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.communicate(timeout=PATIENCE)


class Gate:
    """Holds what arrives at a service until it is opened, so that a test can act while a request is under way."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        """Wait until a request has arrived."""
        assert self.arrived.wait(PATIENCE), "no request arrived"

    def open(self) -> None:
        """Let everything through from now on."""
        self.opened.set()


@contextmanager
def gated(service: Service, *, after: int = 0) -> Iterator[Gate]:
    """Hold the requests of a service, the first ``after`` ones excepted."""
    gate, arrive = Gate(), service.arrived

    def arrived(request: Request) -> Exchange:
        exchange = arrive(request)
        if exchange.number > after:
            gate.arrived.set()
            gate.opened.wait(PATIENCE)
        return exchange

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "arrived", arrived)
        try:
            yield gate
        finally:
            gate.open()


def under_wine() -> bool:
    """Whether this Windows is wine, whose own shortcomings some tests step aside for."""
    if sys.platform != "win32":
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does and that no event tells."""
    pause, limit = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"never came: {what}"
        pause.wait(0.02)
