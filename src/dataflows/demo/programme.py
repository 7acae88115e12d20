"""Which scenes there are, in the order in which they are played."""

from __future__ import annotations

from collections.abc import Iterator

from dataflows.demo import cqc, csc, hospitals, patients, therapists
from dataflows.demo.stage import ResultLine, Scene, Stage

SCENES: tuple[Scene, ...] = (csc.play, hospitals.play, patients.play, therapists.play, cqc.play)


def play(stage: Stage) -> Iterator[ResultLine]:
    """Play all scenes; yields the lines of the table."""
    for scene in SCENES:
        yield from scene(stage)
