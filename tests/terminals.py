"""A program on a terminal of its own (POSIX), which a test answers as a person would."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_SECONDS = 120


class Terminal:
    """Runs the words on a new terminal; ``shown`` is all that was to be seen there."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        import pty

        self.shown = ""
        self._read_to = 0
        self._process, self._handle = pty.fork()
        if self._process == 0:  # the child
            os.chdir(folder)
            os.execve(words[0], list(words), dict(environment))

    def __enter__(self) -> Terminal:
        return self

    def answer(self, question: str, text: str) -> None:
        """Wait until the question is shown, then type the text and Enter."""
        while question not in self.shown[self._read_to :]:
            assert self._more(), f"{question!r} was not asked: {self.shown}"
        self._read_to = self.shown.index(question, self._read_to) + len(question)
        os.write(self._handle, f"{text}\n".encode())

    def ended(self) -> int:
        """Wait for the end and return the exit code."""
        while self._more():
            pass
        _, status = os.waitpid(self._process, 0)
        self._process = 0
        return os.waitstatus_to_exitcode(status)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._handle], [], [], _SECONDS)
        assert ready, f"nothing more came: {self.shown}"
        try:
            data = os.read(self._handle, 65536)
        except OSError:  # Linux says so when the other end is gone
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            os.kill(self._process, 9)
            os.waitpid(self._process, 0)
        os.close(self._handle)
