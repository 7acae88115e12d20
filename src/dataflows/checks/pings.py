"""``test-endpoint --target healthchecks``: are their hosts reached. None is told anything: that would be a ping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.way import LazySession
from dataflows.errors import ServiceDown, SettingUnusable

if TYPE_CHECKING:
    from dataflows.settings import Settings


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
