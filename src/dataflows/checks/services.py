"""The services that speak plain HTTP: CQC's exports, the Hospital Directory, and who is told that a job is well."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataflows.checks.check import ENV_FILE, Attempt, Check, LazySession, env_file
from dataflows.errors import ServiceDown, SettingUnusable

if TYPE_CHECKING:
    from dataflows.flows.cqc.fetching import ExportSource
    from dataflows.flows.hospitals.directory import DirectoryApi
    from dataflows.settings import Settings


def check_cqc(settings: Settings) -> Iterator[Check]:
    """The sources of cqc-fetch: of each the beginning is asked for and looked at."""
    from dataflows.flows.cqc.fetching import chosen

    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(LazySession(settings)) as line:
        yield attempt("certificates", line.certificates)
        for source in chosen(settings, ()):
            yield attempt(source.name, partial(_begins, settings, line, source), "certificates")


def _begins(settings: Settings, line: LazySession, source: ExportSource) -> str:
    from dataflows.flows.cqc.fetching import look_at_header
    from dataflows.remote.route import shown

    whence = "built in" if source.name not in settings.cqc_urls else f"from CQC_URL_{source.name.upper()}"
    seconds = look_at_header(line.session, source, settings)
    came = f"the header of a CSV file came in {1000 * seconds:.0f} ms"
    return f"{whence}, {shown(source.url)}: {came}, {line.proxy(source.url)}, {line.tls(source.url)}"


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
            raise ServiceDown(
                "the Directory shows records in a batch that does not exist",
                reason="hospitals-stand-in",
                hint="open it in a browser",
            )
        return "a batch that does not exist is answered as such"

    def close(self) -> None:
        self.line.close()


def check_healthchecks(settings: Settings) -> Iterator[Check]:
    """The hosts of HEALTHCHECK_URL_<JOB>: are they reached. The addresses are secrets, and so no part is shown."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    yield attempt("addresses", partial(_addresses, settings))
    with closing(LazySession(settings)) as line:
        yield attempt("certificates", line.certificates)
        for job, address in sorted(settings.healthcheck_urls.items()):
            yield attempt(f"HEALTHCHECK_URL_{job.upper()}", partial(_reached, line, address.reveal()), "certificates")


def _addresses(settings: Settings) -> str:
    count = len(settings.healthcheck_urls)
    if not count:
        raise SettingUnusable(
            "HEALTHCHECK_URL_<JOB> is not set",
            reason="health-check-host",
            hint="such as HEALTHCHECK_URL_PATIENT_IMPORT",
        )
    return f"{count} set"


def _reached(line: LazySession, address: str) -> str:
    """Ask for the root of the host: any answer shows that the way is free."""
    parts = urlsplit(address)
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    try:
        reply = line.ask("HEAD", root)
    except ServiceDown as error:  # its text names the host, its hint does not
        raise ServiceDown("the host cannot be reached", reason="health-check-host", hint=error.hint) from None
    return f"the host answers in {1000 * reply.seconds:.0f} ms, {line.proxy(root)}; nothing was reported to it"
