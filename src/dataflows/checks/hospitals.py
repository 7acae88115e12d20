"""``test-endpoint --target hospitals``: the Hospital Directory, awake and answering as one. Nothing is created."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.way import LazySession
from dataflows.errors import ServiceDown

if TYPE_CHECKING:
    from dataflows.flows.hospitals.directory import DirectoryApi
    from dataflows.settings import Settings


def check_hospitals(settings: Settings) -> Iterator[Check]:
    """The Hospital Directory: does it wake up, is it one, and does it answer about a batch that nobody made."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(_DirectoryCheck(settings)) as asked:
        yield attempt("EXTERNAL_API_BASE_URL", asked.address)
        yield attempt("certificates", asked.line.certificates)
        yield attempt("connection", asked.connection, "EXTERNAL_API_BASE_URL", "certificates")
        yield attempt("batches", asked.batches, "connection")


class _DirectoryCheck:
    def __init__(self, settings: Settings) -> None:
        self.line = LazySession(settings)
        self._settings = settings
        self._url = (settings.external_api_base_url or "").rstrip("/")

    def address(self) -> str:
        self._settings.require("EXTERNAL_API_BASE_URL")
        return f"from the {self._settings.origin('EXTERNAL_API_BASE_URL')}"

    @property
    def _directory(self) -> DirectoryApi:
        from dataflows.flows.hospitals.directory import DirectoryApi
        from dataflows.remote.retry import RetryPolicy

        once = RetryPolicy(attempts=1, deadline=self._settings.http_deadline_seconds, max_wait=0)
        return DirectoryApi(self._url, self.line.session, once)

    def connection(self) -> str:
        """It may have been asleep, and is given HOSPITALS_WAKE_SECONDS."""
        began = time.monotonic()
        self._directory.wake(self._settings.hospitals_wake_seconds, threading.Event())
        return self.line.way(self._url, time.monotonic() - began)

    def batches(self) -> str:
        if self._directory.look(str(uuid.uuid4())):
            raise ServiceDown("the Directory shows records in a batch that nobody made", hint="look at it in a browser")
        return "a batch that nobody made is answered as such"

    def close(self) -> None:
        self.line.close()
