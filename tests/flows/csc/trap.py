"""A trap for a running program: it is killed at a moment that the receiver can see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Exchange, Request
from tests.flows.csc.children import Child
from tests.processes import Process


def kill(victim: Process) -> None:
    """kill -9, from any thread; whoever waits for the process goes on waiting for its end."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(victim.pid).kill()


class Trap:
    """Kills a process at a moment that the receiver sees: its n-th request arrives, is stored, or was answered."""

    def __init__(self, box: Sandbox, patch: pytest.MonkeyPatch) -> None:
        self.meanwhile: Callable[[list[Child]], None] = lambda _: None
        """What happens to the children of a request before the program can know of its answer."""
        self.gone: set[str] = set()
        """The children whose deletion is the stage of that name."""
        self.prelude = 0.4
        """How long a process takes until it asks for a token (s): it has read, replayed and planned by then."""
        self._receiver = receiver = box.receiver
        self._began = 0.0
        self._stage, self._left, self._delay = "", 0, 0.0
        self._victim: Process | None = None
        self._timers: list[threading.Timer] = []
        self._lock = threading.Lock()
        for name in ("arrived", "_committed", "leaves"):
            patch.setattr(receiver, name, getattr(self, f"_{name.strip('_')}")(getattr(receiver, name)))
        patch.setattr(box.token, "arrived", self._asked(box.token.arrived))

    def arm(self, stage: str, number: int, delay: float) -> None:
        """Say when: ``delay`` (s) counts from the start of the process, or from the moment an answer leaves."""
        self._stage, self._left, self._delay = stage, number, delay

    def watch(self, victim: Process) -> None:
        """Say whom."""
        self._victim, self._began = victim, time.monotonic()
        if self._stage == "time":
            self._kill_later()

    def disarm(self) -> None:
        """Let go of whoever is left."""
        self._victim = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _asked(self, before: Any) -> Any:
        def asked(request: Request) -> Exchange:
            self.prelude = time.monotonic() - self._began
            exchange: Exchange = before(request)
            return exchange

        return asked

    def _arrived(self, before: Any) -> Any:
        def arrived(request: Request) -> Exchange:
            exchange: Exchange = before(request)
            if self._strikes("arrival") or (self._removes(exchange) and self._strikes("deletion")):
                self._kill()
            elif self._strikes("before the commit"):
                self._receiver.faults.set(drop_next=1)
                self._kill()
            return exchange

        return arrived

    def _removes(self, exchange: Exchange) -> bool:
        return any(one["la_child_id"] in self.gone for one in exchange.records)

    def _committed(self, before: Any) -> Any:
        def committed(la_code: str, records: list[Child]) -> Any:
            answer = before(la_code, records)
            if self._strikes("commit"):
                self._kill()
            return answer

        return committed

    def _leaves(self, before: Any) -> Any:
        def leaves(request: Request, exchange: Exchange, *arguments: Any) -> None:
            before(request, exchange, *arguments)
            self.meanwhile(exchange.records)
            if self._strikes("answer"):
                self._kill_later()

        return leaves

    def _strikes(self, stage: str) -> bool:
        with self._lock:
            if stage != self._stage or self._victim is None:
                return False
            self._left -= 1
            return self._left == 0

    def _kill_later(self) -> None:
        timer = threading.Timer(self._delay, self._kill)
        self._timers.append(timer)
        timer.start()

    def _kill(self) -> None:
        if (victim := self._victim) is not None:
            kill(victim)
