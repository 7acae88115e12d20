"""The two imports that ``serve --watch`` runs: how a pass of each is made, and what a server knows of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflows.flows.patients import job as patients
from dataflows.flows.therapists import job as therapists
from dataflows.runs.runner import Job

if TYPE_CHECKING:
    from dataflows.settings import Settings


@dataclass(frozen=True)
class Import:
    """One of the two imports: its command, how often it runs (s), and how a pass is made."""

    command: str
    every: float
    a_pass: Callable[[Settings], tuple[str, Mapping[str, object], Job]]


def _patients(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
    options = patients.Options()
    return patients.target(settings), patients.options_to_json(options), patients.bring_in(settings, options)


def _therapists(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
    options = therapists.Options()
    therapists.check(settings, options)
    return therapists.target(settings), therapists.options_to_json(options), therapists.bring_in(settings, options)


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
