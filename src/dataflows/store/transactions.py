"""One short transaction, and once more where that helps: after a deadlock, a lock of the loader's, a lost session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
import tenacity

from dataflows.store.failures import may_work_again, translated

T = TypeVar("T")

ATTEMPTS = 6
LONGEST_SECONDS = 90  # then no further attempt is begun, however few there were: each may wait for a lock
_WAIT = tenacity.wait_exponential(multiplier=0.2, max=10) + tenacity.wait_random(0, 0.2)


def in_transaction(
    engine: sa.Engine, work: Callable[[sa.Connection], T], *, setting: str = "DB_CONNECTION_STRING"
) -> T:
    """Return what ``work`` returns in a transaction of its own, which is repeated as a whole where that can help.

    ``work`` must come to the same when it was done before: a session may be lost just after its commit.

    Raises:
        DataflowsError: as ``translated``, of the last attempt.
    """
    with translated(setting):
        return _repeated(lambda: _once(engine, work))


def _once(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _repeated(attempt: Callable[[], T]) -> T:
    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(LONGEST_SECONDS),
        wait=_WAIT,
        retry=tenacity.retry_if_exception(_helps),
        reraise=True,
    )
    return again(attempt)


def _helps(error: BaseException) -> bool:
    return isinstance(error, sa.exc.DBAPIError) and may_work_again(error)
