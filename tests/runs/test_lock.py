from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.errors import AlreadyRunning
from dataflows.runs.lock import is_running, only_one

HOLDER = """
import sys
from pathlib import Path
from dataflows.runs.lock import only_one
with only_one(Path(sys.argv[1]), "csc-submit", "table"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    with hold(tmp_path) as other:
        with (
            pytest.raises(AlreadyRunning, match=rf"process {other.pid}, since 20"),
            only_one(tmp_path, "csc-submit", "table"),
        ):
            pass
        assert is_running(tmp_path, "csc-submit", "table")
        other.communicate("")


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with hold(tmp_path) as other:
        other.kill()
        other.wait()
    assert not is_running(tmp_path, "csc-submit", "table")
    with only_one(tmp_path, "csc-submit", "table"):
        pass


def test_another_target_is_free(tmp_path: Path) -> None:
    with only_one(tmp_path, "csc-submit", "one"), only_one(tmp_path, "csc-submit", "two"):
        assert not is_running(tmp_path, "csc-submit", "three")
