"""The one retry policy. How often and how long to try again is decided here and nowhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import tenacity

from dataflows.errors import Interrupted, ServiceDown
from dataflows.events import Retrying
from dataflows.hints import RESUME
from dataflows.remote.failures import Blocked

if TYPE_CHECKING:
    from dataflows.remote.session import Reply
    from dataflows.settings import Settings

T = TypeVar("T")

WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)
"""The statuses that may be gone a moment later (contract, HTTP). No other 4xx is tried again."""

_FIRST_WAIT = 1.0


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with full jitter; the service's own Retry-After is obeyed instead where it gave one.

    ``attempts`` counts the first one too; ``deadline`` (s) covers one call with all its waits: a wait that would pass
    it is not begun. ``max_wait`` (s) caps every single wait. ``stop`` cuts a wait short; ``on_retry`` hears of each.
    """

    attempts: int
    deadline: float
    max_wait: float
    stop: threading.Event | None = None
    on_retry: Callable[[Retrying], None] | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        stop: threading.Event | None = None,
        on_retry: Callable[[Retrying], None] | None = None,
    ) -> RetryPolicy:
        """The policy of HTTP_ATTEMPTS, HTTP_DEADLINE_SECONDS and HTTP_MAX_WAIT_SECONDS."""
        return cls(
            settings.http_attempts, settings.http_deadline_seconds, settings.http_max_wait_seconds, stop, on_retry
        )

    def call(self, fn: Callable[[], T], service: str) -> T:
        """``fn()``, again and again while it raises ServiceDown; ``service`` names it in the events.

        Raises the last ServiceDown when attempts or time are used up, Interrupted when ``stop`` is set during a wait,
        and whatever else ``fn`` raises at once. Only for calls whose repetition is harmless.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_worth_another_try),
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_before_delay(self.deadline),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=partial(self._report, service),
            reraise=True,
        )
        return retrying(fn)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        asked = getattr(_error(state), "wait", None)
        if asked is not None:
            return float(min(asked, self.max_wait))
        return tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=self.max_wait)(state)

    def _sleep(self, seconds: float) -> None:
        if self.stop is None:
            time.sleep(seconds)
        elif self.stop.wait(seconds):
            raise Interrupted(
                "interrupted while waiting to try again",
                reason="interrupted",
                hint=f"continue with: {RESUME}",
            )

    def _report(self, service: str, state: tenacity.RetryCallState) -> None:
        if self.on_retry:
            self.on_retry(Retrying(service, state.attempt_number + 1, state.upcoming_sleep, str(_error(state))))


def raise_for_service(reply: Reply, service: str, *, retry_statuses: Collection[int] = WORTH_ANOTHER_TRY) -> None:
    """Raise ServiceDown for a status that says "not now"; every other status is the caller's to judge.

    A Retry-After date is read against the answer's own Date, so that a wrong clock here does no harm.
    """
    if reply.status not in retry_statuses:
        return
    there = _http_date(reply.headers.get("Date", ""))
    wait = parse_retry_after(reply.headers.get("Retry-After"), time.time() if there is None else there)
    raise ServiceDown(f"{service} answered {reply.status}", reason="service-error", hint="try again later", wait=wait)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header: digits, or an HTTP date seen from ``now`` (seconds since 1970).

    A date in the past is 0. None where there is no header or no sense in it (``soon``, ``-5``, ``1.5``).
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:18])  # of whatever length: it is capped anyway
    when = _http_date(text)
    return None if when is None else max(0.0, when - now)


def _http_date(text: str) -> float | None:
    """RFC 9110 section 5.6.7. Only what names a zone is a date: a bare one could be off by hours."""
    try:
        when = parsedate_to_datetime(text)
        return when.timestamp() if when.tzinfo else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ServiceDown) and not isinstance(error, Blocked)


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
