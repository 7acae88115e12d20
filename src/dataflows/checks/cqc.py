"""``test-endpoint --target cqc``: does each source begin like a CSV file. No file is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.way import LazySession

if TYPE_CHECKING:
    from dataflows.flows.cqc.sources import ExportSource
    from dataflows.settings import Settings


def check_cqc(settings: Settings) -> Iterator[Check]:
    """The sources of cqc-fetch: of each the beginning is asked for and looked at."""
    from dataflows.flows.cqc.sources import chosen

    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(LazySession(settings)) as line:
        yield attempt("certificates", line.certificates)
        for source in chosen(settings, ()):
            yield attempt(source.name, partial(_begins, settings, line, source), "certificates")


class _SeenEnough(Exception):
    """The beginning of a file is here and is right."""


def _begins(settings: Settings, line: LazySession, source: ExportSource) -> str:
    from dataflows.flows.cqc.sources import fetch
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
