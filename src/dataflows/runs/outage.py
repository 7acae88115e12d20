"""When a service has stopped answering, so that a run ends instead of turning everything that is left into errors."""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 5


class OutageDetector:
    """Counts calls in a row in time that got no answer, each after whatever was done to get one.

    Calls that fail together in one moment count once: one counts that set out after the last one that was counted had
    failed. It takes ``FAILURES`` of them, and ``seconds`` from the first to the last; any answer ends the row. After
    each of them nothing new is to be sent before ``resumes_at``, twice as long as after the one before, so that not
    many are lost in that time.

    Args:
        seconds: how long a service must have been silent; asked for each time, since it may grow.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._first = self._last = 0.0
        self.count = 0
        self.resumes_at = 0.0

    def answered(self) -> None:
        """Take in an answer, whatever it says."""
        self.count, self.resumes_at = 0, 0.0

    def failed(self, started: float, ended: float) -> None:
        """Take in a call that got no answer: when it set out and when it was given up (s, monotonic)."""
        if self.count and started < self._last:
            return
        self._first = self._first if self.count else ended
        self._last = ended
        self.count += 1
        shares: int = 2 ** (FAILURES - 1) - 1  # the waits between the first and the last of them make up the whole
        self.resumes_at = ended + self._seconds() * min(2 ** (self.count - 1), 2 ** (FAILURES - 2)) / shares

    @property
    def is_out(self) -> bool:
        """Whether the service has stopped answering."""
        return self.count >= FAILURES and self._last - self._first >= self._seconds()
