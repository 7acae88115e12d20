"""The short version of ``python -m tests.fuzz``, in a process of its own whose memory is its own, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_a_bug() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--examples", "6", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "found in: none" in done.stdout
    assert [name for name in TARGETS if f"'{name}': 6" not in done.stdout] == []
