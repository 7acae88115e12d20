"""``--watch``: passes again and again until somebody stops them. Each pass is a run of its own; between two of them
nothing is held: no lock, no connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dataflows.errors import ExitCode
from dataflows.runs.pool import Stop
from dataflows.runs.runner import signals

_HOPELESS = (ExitCode.USAGE, ExitCode.SETTINGS)  # what no waiting mends
_TICK = 0.5  # seconds; on Windows a longer wait would keep Ctrl-C from being seen


def watch(
    one_pass: Callable[[], int],
    every: float,
    stopping: Callable[[], None] | None = None,
    *,
    stop: Stop | None = None,
) -> ExitCode:
    """Run passes, ``every`` seconds from beginning to beginning, until a signal comes.

    Args:
        one_pass: does one, and returns its exit code; a signal during a run makes that 130.
        stopping: called when a signal comes between two passes.
        stop: outside of the main thread, which alone hears signals: ends the watch.

    Returns:
        130 when it was stopped; 2 or 10 at once, since waiting does not mend those.
    """
    stop = stop or Stop()
    with signals(stop, stopping or (lambda: None)):
        while True:
            began = time.monotonic()
            code = one_pass()
            if code in _HOPELESS:
                return ExitCode(code)
            if code == ExitCode.INTERRUPTED or _wait(stop, began + every):
                return ExitCode.INTERRUPTED


def _wait(stop: Stop, until: float) -> bool:
    """Wait for the next pass; True when there shall be none."""
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        stop.wait(min(left, _TICK))
    return stop.is_set()
