"""A rehearsal of every flow on made-up data: the real code over real HTTP, with stand-ins for the far side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataflows.demo import cqc, csc, hospitals, patients, therapists
from dataflows.demo.stage import ResultLine, RunJob, Scene, Stage
from dataflows.sandbox.server import Sandbox

__all__ = ["SCENES", "ResultLine", "Stage", "run"]

SCENES: tuple[Scene, ...] = (csc.run, hospitals.run, patients.run, therapists.run, cqc.run)


def run(folder: Path, run_job: RunJob, say: Callable[[str], None]) -> tuple[Stage, list[ResultLine]]:
    """Run one scene after the other; returns the stage with what was found there, and the lines of the table."""
    with Sandbox() as box:
        stage = Stage(folder, box, run_job, say)
        return stage, [line for scene in SCENES for line in scene(stage)]
