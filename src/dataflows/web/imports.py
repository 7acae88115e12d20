"""``serve --watch``: the two imports run in the background of the server, pass after pass."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from dataflows.errors import DataflowsError, ExitCode, marked
from dataflows.flows.practice.alarms import reported
from dataflows.flows.practice.patients import job as patients
from dataflows.flows.practice.therapists import job as therapists
from dataflows.runs.background import watch
from dataflows.runs.pool import Stop
from dataflows.web.context import ServerContext
from dataflows.web.jobs import JobRequest, in_background

log = logging.getLogger("dataflows.web")


@dataclass(frozen=True)
class Import:
    """One of the two imports: its command, how often it runs (s), and how a pass is made."""

    command: str
    every: float
    a_pass: Callable[[ServerContext], JobRequest]


def _patients(context: ServerContext) -> JobRequest:
    settings, options = context.settings, patients.Options()
    kept = patients.options_to_json(options)
    return JobRequest(patients.COMMAND, patients.target(settings), kept, patients.bring_in(settings, options))


def _therapists(context: ServerContext) -> JobRequest:
    settings, options = context.settings, therapists.Options()
    therapists.check(settings, options)
    kept = therapists.options_to_json(options)
    return JobRequest(therapists.COMMAND, therapists.target(settings), kept, therapists.bring_in(settings, options))


HOUR, WEEK = 3600.0, 7 * 86_400.0
IMPORTS: Mapping[str, Import] = {  # as often as seed 002 asks for
    "patients": Import(patients.COMMAND, HOUR, _patients),
    "therapists": Import(therapists.COMMAND, WEEK, _therapists),
}


@dataclass
class Watched:
    """One import that this server runs. Written by its loop, read by the routes."""

    what: Import
    every: float
    since: float = field(default_factory=time.time)
    ended: int | None = None
    """The exit code with which the loop itself gave up; None while it goes on."""


def start(context: ServerContext, wished: Mapping[str, float]) -> dict[str, Watched]:
    """Begin to run imports: name to seconds from pass to pass. Returns what the routes tell of."""
    found = {name: Watched(IMPORTS[name], every) for name, every in wished.items()}
    for name, watched in found.items():
        context.background.do(partial(_loop, context, watched), f"watch {name}")
    return found


def _loop(context: ServerContext, watched: Watched, stop: Stop) -> None:
    code = watch(lambda: _one_pass(context, watched.what), watched.every, stop=stop)
    watched.ended = int(code)
    if code is not ExitCode.INTERRUPTED:
        log.error("%s is not run any more: exit code %d, which waiting does not mend", watched.what.command, code)


def _one_pass(context: ServerContext, what: Import) -> int:
    try:
        return reported(context.settings, what.command, lambda: _run(context, what), watching=True)
    except DataflowsError as error:
        log.error("%s: %s (%s)", what.command, marked(error.message, error.reason), error.hint)
        return int(error.exit_code)
    except Exception:
        log.exception("unexpected error in a pass of %s", what.command)
        return int(ExitCode.BUG)


def _run(context: ServerContext, what: Import) -> int:
    return int(in_background(context, what.a_pass(context)).ended.result().exit_code)
