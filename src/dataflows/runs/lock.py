"""Overlap is refused: one run per job and target on this machine, by a lock that dies with its process."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from dataflows.errors import AlreadyRunning
from dataflows.runs.journal import now
from dataflows.store.files import private_folder, private_lock, unusable, write_whole

_A_GLANCE = 0.2  # s; ``is_running`` of another process holds a free lock for an instant, which is no run


@contextmanager
def only_one(data_dir: Path, command: str, target: str) -> Iterator[None]:
    """Hold the lock of a job and its target for the length of the block.

    Raises:
        AlreadyRunning: another process holds it; the message names that process and since when it runs.
        SettingUnusable: it is another account's, or cannot be made.
        ServiceDown: the disk is full.
    """
    path = lock_path(data_dir, command, target)
    with _explained(path):
        private_folder(path.parent)
        lock = private_lock(path)
    try:
        with _explained(path):
            lock.acquire(timeout=_A_GLANCE, poll_interval=_A_GLANCE / 10)
    except Timeout:
        raise AlreadyRunning(
            f"{command} is already running{_holder(path)}",
            reason="already-running",
            hint="wait until it has finished; see: dataflows runs list",
        ) from None
    try:
        with _explained(path):
            _introduce(path)
        yield
    finally:
        with suppress(OSError):
            _card(path).unlink()
        lock.release()


def is_running(data_dir: Path, command: str, target: str) -> bool:
    """Tell whether a living process holds the lock of this job and target. Raises as ``only_one`` for what it opens."""
    path = lock_path(data_dir, command, target)
    lock = private_lock(path)
    try:
        with _explained(path):
            if not path.exists():
                return False
            lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def lock_path(data_dir: Path, command: str, target: str) -> Path:
    """Return the lock file of a job and target. Its name shows the job and hides the target."""
    return data_dir / "locks" / f"{command}-{hashlib.sha256(target.encode()).hexdigest()[:16]}.lock"


def _card(path: Path) -> Path:
    # beside the lock and not in it: Windows lets nobody read a locked range
    return path.with_suffix(".json")


def _introduce(path: Path) -> None:
    write_whole(_card(path), json.dumps({"pid": os.getpid(), "since": now()}).encode())


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:  # an OSError, too
        raise
    except OSError as error:
        raise unusable(path, error, "the lock", "check DATA_DIR and its permissions") from None


def _holder(path: Path) -> str:
    try:
        card = json.loads(_card(path).read_text(encoding="utf-8"))
        return f" (process {card['pid']}, since {card['since']})"
    except (OSError, ValueError, KeyError):
        return ""
