"""The kinds of journal that there are. What a store promises is tested with every one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dataflows.runs.journal import Journal


class Journals(ABC):
    """One journal of some kind, which may be opened several times. All that were opened are closed by ``close``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closing = ExitStack()

    def open(self) -> Journal:
        """Open it: once more as another process does, or anew after a process that is gone."""
        journal = self.make()
        self.closing.callback(journal.close)
        return journal

    @abstractmethod
    def make(self) -> Journal:
        """Return one more journal on the same tables."""

    def close(self) -> None:
        """Close what was opened."""
        self.closing.close()


class InFile(Journals):
    """In a data folder."""

    def make(self) -> Journal:
        """As a run does."""
        return Journal.open(self.folder)


class InMemory(Journals):
    """As a rehearsal has it: nobody else sees it, and it is gone with its process."""

    journal: Journal | None = None

    def make(self) -> Journal:
        """Make it; there is no second one."""
        if self.journal is not None:
            pytest.skip("a journal in memory is its process's alone")
        self.journal = Journal.in_memory()
        return self.journal


KINDS: dict[str, type[Journals]] = {"file": InFile, "memory": InMemory}
"""One more kind of journal is one more entry."""


@pytest.fixture(params=KINDS)
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journals]:
    """A journal of each kind, to be opened."""
    made = KINDS[request.param](tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def journal(journals: Journals) -> Journal:
    """A journal of each kind, open."""
    return journals.open()
