"""What tests of several folders share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

from tests.journals import journal, journals
from tests.outboxes import outboxes_url, practice
from tests.postgres import postgres_url

# the same 100 examples every time; HYPOTHESIS_PROFILE=default looks for 100 new ones, deep for 1,000, long for 20,000
# in every test that does not fix its number: name the test, such as tests/flows/hospitals/test_people_stateful.py
# how long examples take depends on the machine: neither a deadline nor slow generation fails a test
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = {"deep": 1_000, "long": 20_000}
for name, examples in MANY.items():
    settings.register_profile(
        name, parent=settings.get_profile("same"), derandomize=False, max_examples=examples, print_blob=True
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

MEMORY = Path("/dev/shm")


def in_memory_is_room() -> bool:
    """Whether temporary folders may be in memory, where a commit of a journal waits a hundredth of what disks take."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or sys.platform != "linux" or not os.access(MEMORY, os.W_OK):
        return False
    there = os.statvfs(MEMORY)
    return there.f_bavail * there.f_frsize > 4 * 2**30 and not there.f_flag & os.ST_NOEXEC


if in_memory_is_room():
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)  # where pytest makes its folders

__all__ = ["journal", "journals", "outboxes_url", "postgres_url", "practice"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Many examples take as long as they take."""
    if os.environ.get("HYPOTHESIS_PROFILE") in MANY:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test sends to loopback may leave by a proxy of the machine it runs on."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A private certificate authority."""
    return trustme.CA()
