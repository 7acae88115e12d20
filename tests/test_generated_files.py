"""What is written from the code is up to date, and the example of an env file can be used as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.settings import load, table

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in table():
        monkeypatch.delenv(spec.name, raising=False)


def test_nothing_has_drifted() -> None:
    command = [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_example_means_the_defaults() -> None:
    settings = load(ROOT / ".env.example")
    assert settings.warnings == ()
    assert {settings.origin(spec.name) for spec in table()} == {"default"}


def test_the_defaults_in_the_example_are_the_real_ones(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = {f"#{spec.name}=" for spec in table()}
    lines = [line[1:] for line in text.splitlines() if line.partition("=")[0] + "=" in named]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    settings = load(tmp_path / ".env")
    with_default = [spec for spec in table() if spec.default is not None]
    assert len(lines) == len(with_default)
    assert all(getattr(settings, spec.name.lower()) == spec.default for spec in with_default)
