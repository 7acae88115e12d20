"""Troubleshooting answers every reason that the code can give, and no other; tools/generate.py adds the messages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^### (.+)\n\n((?:- .*\n)*)\n?(.*)", PAGE, re.MULTILINE)
NAMES = [name for name, _, _ in ENTRIES]


@pytest.fixture(scope="module")
def reasons() -> Iterator[dict[str, set[str]]]:
    sys.path.insert(0, str(ROOT / "tools"))
    from reasons import reasons

    yield reasons()
    sys.path.remove(str(ROOT / "tools"))


def test_every_reason_has_an_entry_and_every_entry_is_given(reasons: dict[str, set[str]]) -> None:
    assert sorted(NAMES) == sorted(reasons)  # which also finds two entries of one name


def test_every_entry_has_an_answer() -> None:
    assert [name for name, _, answer in ENTRIES if not answer or answer.startswith("#")] == []


def test_a_reason_is_its_anchor() -> None:
    """``troubleshooting.html#csc-mass-delete`` leads there as long as the name needs no rewriting."""
    assert [name for name in NAMES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+", name)] == []


def test_the_source_is_read_to_its_end(reasons: dict[str, set[str]]) -> None:
    """One of each kind: an error, one with values, of a table, a choice, a warning, an answer of the HTTP service."""
    assert "--out can only be used with --dry-run" in reasons["out-without-dry-run"]
    assert "the env file … does not exist" in reasons["file-unreadable"]
    assert "the database does not accept our login" in reasons["database-login"]
    assert "a proxy in between requires a login (407)" in reasons["proxy-refused"]
    assert any("children would be removed" in text for text in reasons["csc-mass-delete"])
    assert "the token is missing or wrong" in reasons["run-token-wrong"]
