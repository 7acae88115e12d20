"""The short version of ``python -m tests.fuzz``, in a process of its own whose memory is its own, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_a_bug(target: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--examples", "6", "--seed", "1", "--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "found in: none" in done.stdout
