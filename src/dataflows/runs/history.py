"""The history of runs as it is now: what died is seen, and a run is found by the id of one of its batches."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from dataflows.runs.journal import FAILED, RESUMABLE, RUNNING, Journal
from dataflows.runs.lock import is_running


def see_what_died(journal: Journal, data_dir: Path, *, alive: Collection[str] = ()) -> None:
    """Call a run resumable whose process is gone: its lock died with it. ``alive``: ids of runs of this process."""
    for record in journal.runs(state=RUNNING):
        if record.run_id in alive or is_running(data_dir, record.command, record.target):
            continue
        if journal.find(record.run_id).state == RUNNING:
            journal.set_state(record.run_id, FAILED if record.options.get("dry_run") else RESUMABLE)
