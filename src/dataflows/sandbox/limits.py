"""A rate limit as the Hospital Directory has it: a fixed window that begins with the first counted request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_MANY = 4_096  # windows; from here on those that are over are forgotten


class FixedWindows:
    """Counts per key. A window is over ``seconds`` after its first request, and the next request begins another.

    ``clock`` gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, list[float]] = {}  # key -> [over at, requests]
        self._lock = threading.Lock()

    def admits(self, key: str, most: int, seconds: float) -> bool:
        """Count one request; whether it is among the first ``most`` of its window (0: no limit, nothing counted)."""
        if not most:
            return True
        with self._lock:
            now = self._clock()
            window = self._open.get(key)
            if window is None or now >= window[0]:
                window = self._begin(key, now, seconds)
            window[1] += 1
            return window[1] <= most

    def clear(self) -> None:
        """Forget all windows."""
        with self._lock:
            self._open.clear()

    def _begin(self, key: str, now: float, seconds: float) -> list[float]:
        if len(self._open) >= _MANY:
            self._open = {key: window for key, window in self._open.items() if now < window[0]}
        self._open[key] = window = [now + seconds, 0]
        return window
