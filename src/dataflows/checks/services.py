"""The services that `test-endpoint` looks at: what each needs, and the checks of those that speak plain HTTP."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from dataflows.checks.bucket import check_bucket
from dataflows.checks.check import ENV_FILE, Attempt, Check, LazySession, env_file
from dataflows.checks.csc import check_csc
from dataflows.checks.databases import check_practice, check_staging
from dataflows.checks.messaging import check_kafka, check_mail
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


class _SeenEnough(Exception):
    """The beginning of a file is here and is right."""


def _begins(settings: Settings, line: LazySession, source: ExportSource) -> str:
    from dataflows.flows.cqc.fetching import fetch
    from dataflows.flows.cqc.verify import Verifier
    from dataflows.remote.download import DownloadLimits
    from dataflows.remote.route import shown

    began, verifier = time.monotonic(), Verifier(block=1)

    def take(piece: bytes) -> None:
        verifier.take(piece)
        if verifier.has_header:
            raise _SeenEnough

    whence = "built in" if source.name not in settings.cqc_urls else f"from CQC_URL_{source.name.upper()}"
    limits = DownloadLimits(began + settings.http_deadline_seconds, settings.cqc_max_bytes)
    try:
        fetch(line.session, source, take, limits)
        verifier.finish()
    except _SeenEnough:
        pass
    told = f"the header of a CSV file came in {1000 * (time.monotonic() - began):.0f} ms"
    return f"{whence}, {shown(source.url)}: {told}, {line.proxy(source.url)}, {line.tls(source.url)}"


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
        raise SettingUnusable("HEALTHCHECK_URL_<JOB> is not set", hint="such as HEALTHCHECK_URL_PATIENT_IMPORT")
    return f"{count} set"


def _reached(line: LazySession, address: str) -> str:
    """Ask for the root of the host: any answer shows that the way is free."""
    parts = urlsplit(address)
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    try:
        reply = line.ask("HEAD", root)
    except ServiceDown as error:  # its text names the host, its hint does not
        raise ServiceDown("the host cannot be reached", hint=error.hint) from None
    return f"the host answers in {1000 * reply.seconds:.0f} ms, {line.proxy(root)}; it was told nothing"


class Target(NamedTuple):
    """A service or database. ``names``: settings of which one has to be set somewhere, else it is not asked for.

    Some have addresses that are built in; these are checked unasked only where somebody wrote a setting of theirs.
    """

    check: Callable[[Settings], Iterator[Check]]
    names: tuple[str, ...]
    file: str = ""
    """The embedded database in DATA_DIR that counts as asked for once it is there."""

    def is_wanted(self, settings: Settings) -> bool:
        """Whether the settings ask for it."""
        if self.file and (settings.data_dir / self.file).exists():
            return True
        return any(_is_set(settings, name) for name in self.names)


def _is_set(settings: Settings, name: str) -> bool:
    from dataflows.settings.table import families

    entries = next((field for field, family in families() if family.prefix == name), None)
    if entries is not None:
        return bool(getattr(settings, entries))
    return settings.origin(name) != "default" and getattr(settings, name.lower()) is not None


SERVICES: Mapping[str, Target] = {
    "csc": Target(check_csc, ("API_ENDPOINT", "TOKEN_ENDPOINT", "CLIENT_ID", "SUPPLIER_KEY")),
    "hospitals": Target(check_hospitals, ("EXTERNAL_API_BASE_URL",)),
    "cqc": Target(check_cqc, ("CQC_URL_",)),
    "bucket": Target(check_bucket, ("GCS_BUCKET", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST")),
    "mail": Target(check_mail, ("SMTP_HOST",)),
    "kafka": Target(check_kafka, ("KAFKA_BOOTSTRAP_SERVERS",)),
    "healthchecks": Target(check_healthchecks, ("HEALTHCHECK_URL_",)),
}
"""What ``test-endpoint`` checks."""

DATABASES: Mapping[str, Target] = {
    "staging": Target(check_staging, ("DB_CONNECTION_STRING",), "staging.db"),
    "practice": Target(check_practice, ("IMPORT_DATABASE_URL",), "practice.db"),
}
"""What ``test-db`` checks."""


def check_all(targets: Mapping[str, Target], settings: Settings) -> Iterator[Check]:
    """Check those of the targets that are asked for, each check under the name of its target; the others are skipped.

    Where none is, the first one is checked, which says what to set.
    """
    yield Check(ENV_FILE, True, env_file(settings))
    wanted = [name for name, target in targets.items() if target.is_wanted(settings)] or [next(iter(targets))]
    for name, target in targets.items():
        if name not in wanted:
            yield Check(name, None, f"not configured: no {' or '.join(map(_shown, target.names))}")
            continue
        for check in target.check(settings):
            if check.name != ENV_FILE:
                yield replace(check, name=f"{name}: {check.name}")


def _shown(name: str) -> str:
    return f"{name}..." if name.endswith("_") else name
