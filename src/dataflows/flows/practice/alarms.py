"""What is told beside a pass of an import: its health check, and by mail what keeps it from its work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dataflows.remote import mail
from dataflows.remote.ping import healthy
from dataflows.runs import trouble

if TYPE_CHECKING:
    from dataflows.settings import Settings


def reported(settings: Settings, command: str, one_pass: Callable[[], int], *, watching: bool) -> int:
    """Do a pass and return its exit code; what keeps it from its work is mailed once, and once more when it is over.

    Raises what the pass raises. ``watching``: a service that cannot be reached is mailed after some passes only.
    """

    def tell(news: trouble.TroubleNews) -> bool:
        return mail.post(settings, mail.Message(news.subject, news.text), settings.data_dir).is_safe

    patience = trouble.UNREACHABLE_PASSES if watching else 1
    run = partial(healthy, settings, command, one_pass)
    return trouble.telling(settings.data_dir, command, run, tell, patience=patience)
