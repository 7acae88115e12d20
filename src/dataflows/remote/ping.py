"""Health checks: an address of the operator's choice is told that a run starts, went well or failed.

The address is a secret (whoever knows it can feign success), so nothing here shows any part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from dataflows.errors import AlreadyRunning, DataflowsError, ExitCode
from dataflows.remote.retry import RetryPolicy, raise_for_service
from dataflows.remote.session import Session, make_session, send

if TYPE_CHECKING:
    import threading

    from dataflows.settings import Settings

What = Literal["start", "success", "failure"]

_BEHIND_PATH: Final[dict[What, str]] = {"start": "/start", "success": "", "failure": "/fail"}  # as healthchecks.io
_ATTEMPTS, _SECONDS, _CONNECT, _ANSWER, _WAIT = 2, 10.0, 3.0, 5.0, 1.0


def ping(settings: Settings, job: str, what: What, *, stop: threading.Event | None = None) -> bool | None:
    """Tell HEALTHCHECK_URL_<JOB> (``job`` is the command, such as ``patient-import``) what its run does.

    Returns None where no address is set, True when it was told, False when it could not be. Never raises for that:
    a run does not fail because its health check is away. Takes 10 s at most.
    """
    secret = settings.healthcheck_urls.get(job.replace("-", "_"))
    if secret is None:
        return None
    try:
        session = make_session(settings)
    except DataflowsError:
        return False
    until = time.monotonic() + _SECONDS
    try:
        policy = RetryPolicy(_ATTEMPTS, _SECONDS, _WAIT, stop)
        policy.call(lambda: _send(session, _address(secret.reveal(), what), until, stop), "the health check")
    except DataflowsError:
        return False
    finally:
        session.close()
    return True


def healthy(settings: Settings, job: str, run: Callable[[], int]) -> int:
    """Run something that returns an exit code, and tell HEALTHCHECK_URL_<JOB> that it starts and how it ended."""
    if job.replace("-", "_") not in settings.healthcheck_urls:
        return run()
    ping(settings, job, "start")
    code: int = ExitCode.BUG
    try:
        code = run()
    except AlreadyRunning:
        code = ExitCode.ALREADY_RUNNING
        raise
    finally:
        if code != ExitCode.ALREADY_RUNNING:  # the other run tells how it ends
            ping(settings, job, "failure" if code else "success")
    return code


def _send(session: Session, url: str, until: float, stop: threading.Event | None) -> None:
    left = max(0.0, until - time.monotonic())
    timeout = (min(_CONNECT, left), min(_ANSWER, left))
    broken_off = stop.is_set if stop else None
    reply = send(session, "GET", url, headers={}, timeout=timeout, max_bytes=64 * 1024, broken_off=broken_off)
    raise_for_service(reply, "the health check")
    if not 200 <= reply.status < 300:
        raise DataflowsError(f"the health check answered {reply.status}", reason="health-check")


def _address(url: str, what: What) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + _BEHIND_PATH[what] if _BEHIND_PATH[what] else parts.path
    return parts._replace(path=path, fragment="").geturl()
