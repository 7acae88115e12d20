"""A rehearsal of every flow on made-up data: the real code over real HTTP, with stand-ins for the far side."""

from __future__ import annotations

from collections.abc import Iterator

from dataflows.demo import cqc, csc, hospitals, patients, therapists
from dataflows.demo.stage import ResultLine, Scene, Stage

SCENES: tuple[Scene, ...] = (csc.run, hospitals.run, patients.run, therapists.run, cqc.run)


def run(stage: Stage) -> Iterator[ResultLine]:
    """Run one scene after the other; yields the lines of the table."""
    for scene in SCENES:
        yield from scene(stage)
