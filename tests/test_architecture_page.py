"""docs/architecture.md names functions of the code: each is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
NAMES = sorted(set(re.findall(r"`((?:cli|flows|runs|remote|store|web)\.[\w.]+)`", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", NAMES)
def test_a_function_that_the_page_names_is_there(name: str) -> None:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(["dataflows", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute)
        return
    pytest.fail(f"no module of {name}")


def test_a_child_is_followed() -> None:
    assert len(NAMES) > 15
