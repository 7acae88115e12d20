"""What the import commands share: ``--watch`` with its passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import Invocation
from dataflows.errors import DataflowsError, ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.settings import Settings

Watching = Annotated[bool, typer.Option("--watch", help="Go on until stopped: one pass after the other.")]
Every = Annotated[str, typer.Option("--every", help="With --watch: from pass to pass, such as 15m, 1h or 1d.")]
EVERY = "1h"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> float:
    """The length of time that ``--every`` names.

    Raises:
        WrongUsage: it names none.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None or not float(found[1]):
        raise WrongUsage(f"--every {text!r} is no length of time", hint="write it as 90s, 15m, 1h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def telling(settings: Settings, command: str, run: Callable[[], int], *, watching: bool) -> int:
    """Do a pass; what keeps it from its work is mailed once, and once more when it is over. Returns the exit code."""
    from dataflows.remote import mail
    from dataflows.runs import trouble

    def tell(news: trouble.TroubleNews) -> bool:
        done = mail.post(settings, mail.Message(news.subject, news.text), settings.data_dir)
        return bool(done.sent or done.kept or done.file)

    patience = trouble.UNREACHABLE_PASSES if watching else 1
    return trouble.telling(settings.data_dir, command, run, tell, patience=patience)


def watch(call: Invocation, every: str, one: Callable[[Invocation], int]) -> int:
    """Run passes until stopped; returns the exit code. ``one`` runs one with a call of its own."""
    from dataflows.runs import background as watching

    span = seconds(every)

    def stopping() -> None:
        call.output.note("stopping")

    code = watching.watch(lambda: _guarded(call.anew(), one), span, stopping)
    if code is ExitCode.INTERRUPTED:
        call.output.ended("stopped", code)
    call.output.summed_up = True
    return int(code)


def _guarded(call: Invocation, one: Callable[[Invocation], int]) -> int:
    """One pass; whatever breaks it is told, as ``main`` would."""
    try:
        return one(call)
    except DataflowsError as error:
        return call.failed(error)
    except Exception as error:
        return call.output.crashed(call.crash_log(error))
    finally:
        call.close()
