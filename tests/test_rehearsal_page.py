"""What the page on rehearsals shows can be done as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.cli.main import main
from dataflows.settings import table

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "rehearsal.md").read_text(encoding="utf-8")


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table in a file, made as the page says, with the page's child in it."""
    for spec in table():
        monkeypatch.delenv(spec.name, raising=False)
    (tmp_path / "empty.env").touch()
    monkeypatch.setenv("DATAFLOWS_ENV_FILE", str(tmp_path / "empty.env"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DB_CONNECTION_STRING", f"sqlite:///{tmp_path / 'staging.db'}")
    assert main(["--quiet", "test-schema", "--create"]) == 0
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "staging.db")], check=True)
    return tmp_path


def test_the_childs_record_would_be_sent(staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LA_CODE", "999")
    monkeypatch.setenv("API_ENDPOINT", "https://api.example.org")
    assert main(["--quiet", "csc-submit", "--dry-run", "--out", str(staging / "preview")]) == 0
    (batch,) = (staging / "preview").iterdir()
    assert '"la_child_id":"SYNTHETIC1"' in batch.read_text(encoding="utf-8")
