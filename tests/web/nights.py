"""Made-up nights in a journal: runs that began and ended when a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dataflows.errors import ServiceDown
from dataflows.runs.journal import Item, Journal
from dataflows.runs.runner import WARNINGS

ENDS = {"done": 0, "partial": 3, "failed": 13, "resumable": 130, "abandoned": 130}
HINT = "try again later: dataflows test-endpoint"


def ago(**span: float) -> datetime:
    """A moment before now."""
    return datetime.now(UTC) - timedelta(**span)


def ran(
    journal: Journal,
    command: str,
    began: datetime,
    *,
    state: str = "done",
    minutes: float = 5,
    target: str = "target",
    done: int = 10,
    failures: Sequence[tuple[str, str, str]] = (),
    warnings: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
    log: Path | None = None,
) -> str:
    """Add a run of a command, and return its id. ``failures``: key, code, message; ``state`` may be running."""
    run_id = journal.start(command, target, options=options or {}, log_file=log)
    journal.record(run_id, [Item(key, "failed", 1, code, message) for key, code, message in failures])
    counts = {"done": done, "failed": len(failures)}
    error = ServiceDown("the far side does not answer", reason="service-down", hint=HINT) if state == "failed" else None
    report = {"rows": done, "sent": done, WARNINGS: [{"message": one, "hint": "look at it"} for one in warnings]}
    if state != "running":
        journal.finish(run_id, state, ENDS[state], counts, error, report)
    ended = None if state == "running" else _written(began + timedelta(minutes=minutes))
    with journal.transaction() as db:
        db.execute("UPDATE runs SET started_at = ?, ended_at = ? WHERE run_id = ?", (_written(began), ended, run_id))
    return run_id


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def sixty_nights(journal: Journal, log: Path) -> dict[str, str]:
    """Fill a journal as five flows would in 60 nights; returns the ids of the last runs by what they show."""
    flows = ("cqc-fetch", "csc-submit", "hospitals-bulk", "patient-import", "therapist-import")
    for days in range(59, 0, -1):
        for at, flow in enumerate(flows):
            if (days + at) % 7 != 3:
                state = "failed" if (days * 3 + at) % 17 == 0 else "partial" if (days + at) % 5 == 0 else "done"
                failures = [(f"{row}", "refused", "refused by the far side") for row in range(days % 9)]
                ran(journal, flow, ago(days=days, hours=1), state=state, minutes=1 + days % 30, done=40 + days * 7 % 90,
                    failures=failures if state == "partial" else ())  # fmt: skip
    log.write_text("".join(f"2026-01-01 02:00:{at:02} info line {at}\n" for at in range(60)), encoding="utf-8")
    many = [(f"{row}", "refused" if row % 3 else "unreadable", f"row {row} was not taken") for row in range(150)]
    return {
        "well": ran(journal, "cqc-fetch", ago(hours=6), log=log),
        "partial": ran(journal, "csc-submit", ago(hours=5), state="partial", failures=many, log=log,
                       warnings=["40 of 100 children are Deleted"]),
        "failed": ran(journal, "patient-import", ago(hours=4), state="failed", done=0, log=log),
        "resumable": ran(journal, "therapist-import", ago(hours=3), state="resumable"),
        "dry": ran(journal, "hospitals-bulk", ago(hours=2), options={"dry_run": True}, target="other"),
    }  # fmt: skip
