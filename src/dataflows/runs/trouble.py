"""What does not work: calls in a row without an answer, and who has been told that a command fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import DataflowsError, ExitCode, marked
from dataflows.runs.journal import Journal

FAILURES = 5


class OutageDetector:
    """Counts calls in a row in time that got no answer, each after whatever was done to get one.

    Calls that fail together in one moment count once: one counts that set out after the last one that was counted had
    failed. It takes ``FAILURES`` of them, and ``seconds`` from the first to the last; any answer ends the row. After
    each of them nothing new is to be sent before ``resumes_at``, twice as long as after the one before, so that not
    many are lost in that time.

    Args:
        seconds: how long a service must have been silent; asked for each time, since it may grow.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._first = self._last = 0.0
        self.count = 0
        self.resumes_at = 0.0

    def answered(self) -> None:
        """Take in an answer, whatever it says."""
        self.count, self.resumes_at = 0, 0.0

    def failed(self, started: float, ended: float) -> None:
        """Take in a call that got no answer: when it set out and when it was given up (s, monotonic)."""
        if self.count and started < self._last:
            return
        self._first = self._first if self.count else ended
        self._last = ended
        self.count += 1
        shares: int = 2 ** (FAILURES - 1) - 1  # the waits between the first and the last of them make up the whole
        self.resumes_at = ended + self._seconds() * min(2 ** (self.count - 1), 2 ** (FAILURES - 2)) / shares

    @property
    def is_out(self) -> bool:
        """Whether the service has stopped answering."""
        return self.count >= FAILURES and self._last - self._first >= self._seconds()


UNREACHABLE_PASSES = 3
"""``--watch``: so many passes in a row that reach nothing are told; a single pass tells at once."""

_TOLD = (ExitCode.SETTINGS, ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN)
_WELL = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.ALL_FAILED)  # the others say nothing of bucket and database
_SCHEMA = (
    """
    CREATE TABLE trouble (
        command TEXT PRIMARY KEY, code INTEGER NOT NULL, passes INTEGER NOT NULL, told INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


class TroubleNews(NamedTuple):
    """Something to be told: the exit code (None: all is well again), how many passes in a row ended so, and why."""

    command: str
    code: ExitCode | None
    passes: int = 0
    why: str = ""
    hint: str = ""

    @property
    def subject(self) -> str:
        """One line."""
        if self.code is None:
            return f"{self.command}: works again"
        if self.code is not ExitCode.SERVICE_DOWN:
            return f"{self.command}: {self.code.meaning}"
        span = f" in {self.passes} passes" if self.passes > 1 else ""
        return f"{self.command}: nothing could be imported{span}"

    @property
    def text(self) -> str:
        """The message. Errors hold no personal data."""
        if self.code is None:
            return f"{self.command}: what kept it from its work is over.\n"
        lines = [f"{self.command} ended with exit code {int(self.code)}: {self.code.meaning}."]
        lines += [self.why] if self.why else []
        lines += [f"What to do: {self.hint}"] if self.hint else []
        return (
            "\n\n".join([*lines, "It is reported once, and once more when it is over. More: dataflows runs list"])
            + "\n"
        )


class Trouble:
    """What was told of one command."""

    def __init__(self, journal: Journal, command: str) -> None:
        self._journal = journal
        self._command = command
        journal.ensure("trouble", _SCHEMA)

    def note(
        self, code: int, tell: Callable[[TroubleNews], bool], *, patience: int = 1, error: tuple[str, str] = ("", "")
    ) -> None:
        """Note how a pass ended, and tell what is news.

        Args:
            tell: returns whether it was told; if not, the next pass tells it.
            patience: so many passes in a row have to reach nothing before that is told.
            error: what happened and what to do, as the pass said it.
        """
        before, passes, reported = self._state()
        if code in _TOLD:
            passes = passes + 1 if code == before else 1
            due = code != ExitCode.SERVICE_DOWN or passes >= patience
            news = TroubleNews(self._command, ExitCode(code), passes, *error)
            self._save(code, passes, code if due and reported != code and tell(news) else reported)
        elif code in _WELL:
            self._save(code, 0, reported if reported and not tell(TroubleNews(self._command, None)) else 0)

    def _state(self) -> tuple[int, int, int]:
        with self._journal.reading() as db:
            row = db.execute("SELECT code, passes, told FROM trouble WHERE command = ?", (self._command,)).fetchone()
        return row or (0, 0, 0)

    def _save(self, code: int, passes: int, reported: int) -> None:
        with self._journal.transaction() as db:
            db.execute("INSERT OR REPLACE INTO trouble VALUES (?, ?, ?, ?)", (self._command, code, passes, reported))


def telling(
    data_dir: Path, command: str, run: Callable[[], int], tell: Callable[[TroubleNews], bool], *, patience: int = 1
) -> int:
    """Do a pass, which returns its exit code or raises what kept it from running; tell what is news about it."""
    try:
        code = run()
    except DataflowsError as error:
        _noted(
            data_dir, command, int(error.exit_code), tell, patience, (marked(error.message, error.reason), error.hint)
        )
        raise
    _noted(data_dir, command, code, tell, patience)
    return code


def _noted(
    data_dir: Path,
    command: str,
    code: int,
    tell: Callable[[TroubleNews], bool],
    patience: int,
    error: tuple[str, str] | None = None,
) -> None:
    with (
        suppress(DataflowsError),
        closing(Journal.open(data_dir)) as journal,
    ):  # without a journal nothing is remembered
        Trouble(journal, command).note(code, tell, patience=patience, error=error or _said(journal, command))


def _said(journal: Journal, command: str) -> tuple[str, str]:
    latest = journal.runs(command=command, limit=1)
    return (marked(latest[0].error or "", latest[0].reason), latest[0].hint or "") if latest else ("", "")
