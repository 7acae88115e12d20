"""Troubleshooting answers every error message that the code can give, by its text, and no other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^`(.+)`$", PAGE, re.MULTILINE)
_SHORTEST = 25  # of a term that ends in … and stands for several messages


@pytest.fixture(scope="module")
def texts() -> Iterator[set[str]]:
    sys.path.insert(0, str(ROOT / "tools"))
    from messages import messages

    yield {message.text for message in messages()}
    sys.path.remove(str(ROOT / "tools"))


def answers(term: str, text: str) -> bool:
    return term == text or (term.endswith("…") and len(term) > _SHORTEST and text.startswith(term[:-1]))


def test_every_message_of_the_code_has_an_entry(texts: set[str]) -> None:
    assert [text for text in sorted(texts) if not any(answers(term, text) for term in TERMS)] == []


def test_every_entry_is_a_message_of_the_code(texts: set[str]) -> None:
    assert [term for term in TERMS if not any(answers(term, text) for text in texts)] == []


def test_no_message_has_two_entries() -> None:
    assert sorted(TERMS) == sorted(set(TERMS))


def test_every_group_of_messages_has_an_answer() -> None:
    groups = re.findall(r"(?:^`.+`\n)+(.*)", PAGE, re.MULTILINE)
    assert [line for line in groups if not line.startswith(":   ")] == []


def test_the_source_is_read_to_its_end(texts: set[str]) -> None:
    """One message of each kind: plain, with values, from a table, from a condition, from a class that makes its own."""
    known = {
        "the env file … does not exist",
        "--out goes with --dry-run",
        "…: the database does not accept our login",
        "… did not take a connection within … s",
        "another program writes the same rows of the practice database",
    }
    assert known <= texts
