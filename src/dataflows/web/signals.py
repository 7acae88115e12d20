"""A signal stops the jobs at once, while the server still answers those that wait for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol


class Stopping(Protocol):
    """Asks jobs to stop; ``hurry``: nobody is waited for."""

    def __call__(self, *, hurry: bool = False) -> None: ...


@contextmanager
def told_of_signals(stop: Stopping) -> Iterator[None]:
    """For the length of the block call ``stop`` at the first signal, with ``hurry`` at the second, then whoever
    listened before: the server, which sees to its own end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def listener(then: Any) -> Callable[[int, FrameType | None], None]:
        def heard(number: int, frame: FrameType | None) -> None:
            came.append(number)
            stop(hurry=len(came) > 1)
            if callable(then):
                then(number, frame)

        return heard

    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number, then in before.items():
        signal.signal(number, listener(then))
    try:
        yield
    finally:
        for number, then in before.items():
            signal.signal(number, then)
