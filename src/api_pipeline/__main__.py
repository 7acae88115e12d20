"""``python -m api_pipeline``, the entry point ``csc_api_pipeline`` and the exe of that name start here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dataflows import hints
from dataflows.cli.main import main as run_dataflows
from dataflows.cli.main import options_before, report_failure, say
from dataflows.errors import WrongUsage

_HELP = """\
CSC API Pipeline CLI

Usage:
  {program} [command]

Commands:
  run             Run the full API submission process
  test-endpoint   Check API connectivity and token authentication
  test-db         Check database connection
  test-schema     Validate required table structure/schema"""

_COMMANDS = {
    "run": "csc-submit",
    "test-endpoint": "test-endpoint --target csc",
    "test-db": "test-db --target staging",
    "test-schema": "test-schema",
    # as the D2I tool calls them
    "test-db-connection": "test-db --target staging",
    "run-smoke": "test-endpoint --target csc",
}
_SHOWN = ("run", "test-endpoint", "test-db", "test-schema")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code, which is that of the ``dataflows`` command behind it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    count = options_before(arguments)
    before, rest = arguments[:count], arguments[count:]
    if rest[:1] in (["--help"], ["-h"]):
        return say(_HELP.format(program=_program()))
    if not rest and "--version" in before:
        return dataflows(before)
    if not rest or rest[0].startswith("-"):
        return dataflows([*before, "csc-submit", *rest])
    command = _COMMANDS.get(rest[0])
    if command is None:
        error = WrongUsage(
            f"{_program()} has no such command",
            reason="command-missing",
            hint=f"one of {', '.join(_SHOWN)}; see --help",
        )
        return report_failure(error, arguments)
    return dataflows([*before, *command.split(), *rest[1:]])


def dataflows(arguments: list[str]) -> int:
    """Run a command of ``dataflows``, which names those of this program in its hints where it has them."""
    own = {target.split()[0]: name for name, target in reversed(_COMMANDS.items())}
    return run_dataflows(arguments, hints.Caller(front=hints.program("api_pipeline"), renamed=own))


def _program() -> str:
    if sys.platform == "win32":
        return "csc_api_pipeline.exe"
    return "python -m api_pipeline" if Path(sys.argv[0]).name == "__main__.py" else "csc_api_pipeline"


if __name__ == "__main__":
    sys.exit(main())
