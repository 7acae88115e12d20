"""A command to try the program with: ``test-db`` with made-up checks, in an empty folder and a clean environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from dataflows.settings import Settings, table


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("DATAFLOWS_")]:
        monkeypatch.delenv(name)
    for name in [*(spec.name for spec in table()), "NO_COLOR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


Checks = Callable[[Settings], Iterator[object]]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Checks], None]:
    """Puts made-up checks in the place of all three diagnostics."""

    def put(made_up: Checks) -> None:
        module = ModuleType("dataflows.checks")
        found: dict[str, object] = {"SERVICES": {}, "DATABASES": {}, "check_schema": made_up}
        vars(module).update(found, check_all=lambda _targets, settings: made_up(settings))
        monkeypatch.setitem(sys.modules, "dataflows.checks", module)

    return put
