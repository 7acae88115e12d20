"""A check and its outcome; checks run one after the other, and all of them run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.errors import DataflowsError, ExitCode

if TYPE_CHECKING:
    from dataflows.settings import Settings


ENV_FILE = "env file"
_FARTHER = (ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN)  # whatever else is wrong is for the settings to mend


@dataclass(frozen=True, slots=True)
class Check:
    """One check: passed (True, with a hint where something is odd), failed (False) or skipped (None)."""

    name: str
    passed: bool | None
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK


class Attempt:
    """Runs one check after the other, and skips those that need one which failed."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def __call__(self, name: str, check: Callable[[], Check | str], *needs: str) -> Check:
        missing = [need for need in needs if need in self.failed]
        if missing:
            self.failed.add(name)
            return Check(name, None, f"not tried, it needs: {', '.join(missing)}")
        try:
            found = check()
        except DataflowsError as error:
            self.failed.add(name)
            code = error.exit_code if error.exit_code in _FARTHER else ExitCode.SETTINGS
            return Check(name, False, error.message, error.hint, code)
        return Check(name, True, found) if isinstance(found, str) else found


def env_file(settings: Settings) -> str:
    """Which env file the settings come from."""
    return f"{settings.env_file} was read" if settings.env_file else "none was read"


def origin(settings: Settings, name: str) -> str:
    """Where the value of a setting came from. Raises SettingUnusable when it has none."""
    settings.require(name)
    return f"from the {settings.origin(name)}"
