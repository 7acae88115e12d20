"""What a job yields. The same events feed the terminal, the log, the journal and the tally behind the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Planned:
    """How many items are expected (``total`` items of kind ``what``, such as ``"rows"``). May be corrected later."""

    total: int
    what: str


@dataclass(frozen=True, slots=True)
class Step:
    """The run enters a new stage; ``text`` is shown beside the progress (present tense, no personal data)."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """One item reached its goal. ``key`` is a row id, a row number or a keyed hash."""

    key: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """One item needed nothing."""

    key: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """One item did not reach its goal. ``code`` is a stable name; ``message`` names path and rule, never a value.

    ``reason`` is that of the error behind it, if there is one. ``known`` is True when the very same failure was already
    reported by an earlier run.
    """

    key: str
    code: str
    message: str
    known: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """One item was not brought to an end in this run and waits for the next (``code`` says why)."""

    key: str
    code: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request to ``service`` is tried again: attempt number, seconds to wait first, the reason in our own words."""

    service: str
    attempt: int
    wait: float
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is asked for so many seconds, as a rule and not because something failed; ``why`` in our own words."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Reached:
    """So many items (``count``, now and not more than before) stand before a last step that they take together.

    ``what`` says how far they are, such as ``"created"``. They are not at their goal, so no count of the run has them.
    """

    count: int
    what: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the operator should know; the run goes on. ``reason`` is as that of an error."""

    message: str
    hint: str = ""
    reason: str = field(kw_only=True)


Event: TypeAlias = Planned | Step | Done | Skipped | Failed | Pending | Retrying | Waiting | Reached | Warned


@dataclass(slots=True)
class Tally:
    """Counts of one run, filled from its events."""

    done: int = 0
    failed: int = 0
    known: int = 0
    skipped: int = 0
    pending: int = 0
    retries: int = 0
    warnings: list[Warned] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Done():
                self.done += 1
            case Skipped():
                self.skipped += 1
            case Failed():
                self.failed += 1
                self.known += event.known
            case Pending():
                self.pending += 1
            case Retrying():
                self.retries += 1
            case Warned():
                self.warnings.append(event)
            case _:
                pass
