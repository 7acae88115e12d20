"""What the operator is told by mail: objects by keyed hash and code, never a name (patients.md, "Mail")."""

from __future__ import annotations

from collections.abc import Sequence

from dataflows.flows.patients.emptiness import EmptyDatabase
from dataflows.flows.patients.tracking import ATTEMPTS, DEAD, FAILED, RECOVERED, UNRECOGNISED, ObjectNews
from dataflows.remote.mail import Message
from dataflows.runs.keys import IdentifierCipher

MOST = 200  # lines of one kind; the rest is counted

_SECTIONS = {
    DEAD: f"Given up after {ATTEMPTS} attempts; tried again when the object changes, or by --retry-dead:",
    FAILED: "Failed for the first time; tried again by every run:",
    UNRECOGNISED: "Not named like a registration; left where it is and never deleted (see --pattern):",
    RECOVERED: "Imported after all:",
}


def message(news: Sequence[ObjectNews], seal: IdentifierCipher, run_id: str, bucket: str) -> Message:
    """Word one mail about everything that is new."""
    counts = {status: sum(one.status == status for one in news) for status in _SECTIONS}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    lines = [f"patient-import, run {run_id[:8]}, bucket {bucket}: {summary}."]
    for status, title in _SECTIONS.items():
        lines += _section(title, [one for one in news if one.status == status], seal)
    lines += ["", "To see the object behind a hash, in a console on the machine that sent this:", ""]
    lines += ["    dataflows patient-import --show HASH", "    dataflows patient-import --retry HASH", ""]
    return Message(f"patient-import: {summary}", "\n".join(lines))


def empty(found: EmptyDatabase) -> Message:
    """The mail about an empty database."""
    what = f"patient-import: the practice database holds no registration, but {found.signs}."
    text = f"{what}\n\nWhat to do: {found.hint}\n\nThe import goes on. This is told once.\n"
    return Message("patient-import: the practice database is empty", text)


def _section(title: str, news: Sequence[ObjectNews], seal: IdentifierCipher) -> list[str]:
    if not news:
        return []
    lines = [f"  {seal.mark(one.name)}{f'  {one.code}' if one.code else ''}" for one in news[:MOST]]
    more = [f"  and {len(news) - MOST} more: dataflows runs show"] if len(news) > MOST else []
    return ["", title, "", *lines, *more]
