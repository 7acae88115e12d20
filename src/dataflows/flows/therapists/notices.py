"""What the operator is told by mail: files by their name below the import folder, reasons by stable names."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.flows.therapists.importing import meaning
from dataflows.flows.therapists.tracking import ATTEMPTS, SUSPICIOUS, FileNews
from dataflows.remote.mail import Message

__all__ = ["message"]

MOST = 200  # lines of one kind; the rest is counted

_SECTIONS = {
    "dead": f"Given up after {ATTEMPTS} attempts; tried again when the file changes, or by --reprocess:",
    "failed": f"Failed, in whole or in part, for the first time; tried again after an hour, {ATTEMPTS} times at most:",
    "recovered": "Imported after all:",
}


def message(news: Sequence[FileNews], run_id: str) -> Message:
    """Word one mail about everything that is new."""
    counts = {state: sum(one.state == state for one in news) for state in _SECTIONS}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    lines = [f"therapist-import, run {run_id[:8]}: {summary}."]
    for state, title in _SECTIONS.items():
        lines += _section(title, [one for one in news if one.state == state])
    if any((one.error or "").startswith(SUSPICIOUS) and one.state != "recovered" for one in news):
        lines += ["", "Files that delete too many at once wait until somebody has looked. If they are right:", ""]
        lines += ["    dataflows therapist-import --allow-mass-delete"]
    lines += ["", "What was wrong with single entries, by their index in the file (the first one is 0):", ""]
    lines += [f"    dataflows runs show {run_id[:8]} --failed", ""]
    return Message(f"therapist-import: {summary}", "\n".join(lines))


def _why(error: str) -> str:
    """The stable name; with the figures where somebody has to decide by them."""
    return f"{SUSPICIOUS}: {meaning(error)}" if error.startswith(SUSPICIOUS) else error


def _section(title: str, news: Sequence[FileNews]) -> list[str]:
    if not news:
        return []
    lines = [f"  {one.file_name}{f'  {_why(one.error)}' if one.error else ''}" for one in news[:MOST]]
    return ["", title, "", *lines, *([f"  and {len(news) - MOST} more"] if len(news) > MOST else [])]
