"""What can go wrong on purpose. Every class knows its exit code and carries a hint for the operator."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Self


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that is none to see as ``\u....``, but for blanks and those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"  # JSON writes this one as it is


def marked(message: str, reason: str | None) -> str:
    """A message with its reason behind it, under which the documentation answers it."""
    return f"{message} [{reason}]" if reason else message


class ExitCode(IntEnum):
    """The exit codes that every command promises (docs, ``--help`` and JSON are made from this list)."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    SETTINGS = 10
    ALREADY_RUNNING = 11
    ACCESS_REFUSED = 12
    SERVICE_DOWN = 13
    BAD_INPUT = 14
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One line for the operator."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: 'all done; also "nothing to do" and "already done"',
    ExitCode.BUG: "a bug: one line, and the path of the log that holds the traceback",
    ExitCode.USAGE: "wrong usage",
    ExitCode.SOME_FAILED: "ran to the end, some items failed",
    ExitCode.ALL_FAILED: "ran to the end, every item failed",
    ExitCode.SETTINGS: "a setting is missing or unusable",
    ExitCode.ALREADY_RUNNING: "the same job is already running",
    ExitCode.ACCESS_REFUSED: "access refused (credentials, token, permission)",
    ExitCode.SERVICE_DOWN: "a service or database cannot be reached or is down; try again later",
    ExitCode.BAD_INPUT: "the input is refused as a whole; nothing was sent",
    ExitCode.INTERRUPTED: "interrupted; the state is saved, `runs resume` continues",
}


class DataflowsError(Exception):
    """Something an operator can understand and act on: what happened (the message) and what to do (the hint).

    Neither text may hold personal data or a far side's own words. ``code`` is the kind, one for each class; ``reason``
    names the situation in stable words, whatever the message says, and docs/troubleshooting.md has an entry for it.
    """

    exit_code: ExitCode = ExitCode.BUG
    code: str = "error"
    resumable: bool = False
    """The run that it ended can go on, whatever its exit code says."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.hint = hint

    def __copy__(self) -> Self:
        """The same error for another thread to raise: an exception would copy itself from its message alone."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin

    @property
    def entry(self) -> dict[str, str]:
        """The error as JSON has it."""
        return {"code": self.code, "reason": self.reason, "message": self.message, "hint": self.hint}


class WrongUsage(DataflowsError):
    """The command line asks for something that makes no sense."""

    exit_code = ExitCode.USAGE
    code = "wrong_usage"


class SettingUnusable(DataflowsError):
    """A setting is missing, malformed or points to something that cannot be right."""

    exit_code = ExitCode.SETTINGS
    code = "setting_unusable"


class AlreadyRunning(DataflowsError):
    """Another process holds the lock of the same job and target."""

    exit_code = ExitCode.ALREADY_RUNNING
    code = "already_running"


class AccessRefused(DataflowsError):
    """The service does not accept our credentials."""

    exit_code = ExitCode.ACCESS_REFUSED
    code = "access_refused"


class ServiceDown(DataflowsError):
    """A service or database does not answer, or answers that it cannot work now.

    ``wait`` is the service's own wish in seconds (Retry-After), None where it gave none. ``sent`` is False only
    where it is proven that the request never left (so repeating it cannot double anything).
    """

    exit_code = ExitCode.SERVICE_DOWN
    code = "service_down"

    def __init__(
        self, message: str, *, reason: str, hint: str = "", wait: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.wait = wait
        self.sent = sent


class BadInput(DataflowsError):
    """The input is refused as a whole; nothing was sent."""

    exit_code = ExitCode.BAD_INPUT
    code = "bad_input"


class Interrupted(DataflowsError):
    """The operator or the system asked the run to stop."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"
