"""The README's picture and its example show what the program prints today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def recording() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recording", ROOT / "tools" / "recording.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_neither_has_drifted(recording: ModuleType) -> None:
    """When they have: python tools/recording.py."""
    example, morning = map(recording.steady, recording.record())
    assert recording.steady(recording.block(recording.README.read_text(encoding="utf-8"))) == recording.fenced(example)
    drawn = recording.lines_of(recording.PICTURE.read_text(encoding="utf-8"))
    assert recording.steady("\n".join(drawn)) == "\n".join(line.rstrip() for line in morning.splitlines())


def test_the_picture_loads_nothing(recording: ModuleType) -> None:
    svg = recording.PICTURE.read_text(encoding="utf-8")
    assert re.findall(r"url\((?!#)|@import|href=", svg) == []
    assert set(re.findall(r"https?://[^\"\s<]+", svg)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
