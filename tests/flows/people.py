"""Asking what is held of a person: who is meant on stdin, and raw bytes looked through for words that must be gone."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from dataflows.store.practice.tables import erasures
from tests.test_canary import spellings

T = TypeVar("T")


@contextmanager
def on_stdin(text: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        yield


def asking(call: Callable[..., T], what: str, *arguments: str, **who: Any) -> T:
    """Call ``person find``, ``export`` or ``erase`` with who is meant on stdin."""
    with on_stdin(json.dumps(who)):
        return call("person", what, *arguments)


def left_of(words: list[str], engine: sa.Engine, folder: Path) -> list[str]:
    """Where words are still found: in the names and raw bytes of all files below a folder, and of the database."""
    engine.dispose()
    folders = [folder]
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")
            folders.append(Path(connection.scalar(sa.text("SHOW data_directory")) or "") / "base")
    files = [path for place in folders for path in place.rglob("*") if path.is_file()]
    marks = [(word, mark) for word in words for mark in spellings(word)]
    contents = ((path, str(path).encode() + path.read_bytes()) for path in files)
    return sorted({f"{word} in {path}" for path, content in contents for word, mark in marks if mark in content})


def forget_erasures(engine: sa.Engine) -> None:
    """Leave no marks behind for other tests of the same database."""
    with engine.begin() as connection:
        connection.execute(sa.delete(erasures))
    engine.dispose()
