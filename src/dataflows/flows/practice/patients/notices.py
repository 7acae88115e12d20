"""What is told by mail: objects that fail, and a bucket that is empty though it should not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from dataflows.flows.practice.patients.copies import BackupFolder
from dataflows.flows.practice.patients.tracking import ATTEMPTS, DEAD, FAILED, RECOVERED, UNRECOGNISED, ObjectNews
from dataflows.remote.mail import Message
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from dataflows.store.practice.database import translated
from dataflows.store.practice.tables import patient_registrations, patient_tracking

_RUNS_LOOKED_AT = 200


@dataclass(frozen=True)
class EmptyDatabase:
    """What speaks against a database that is empty, and the way back; both name folders and figures only."""

    signs: str
    hint: str

    @classmethod
    def found(cls, engine: sa.Engine, copies: BackupFolder, run: Run) -> EmptyDatabase | None:
        """Look; None when there are registrations, or nothing says that there were any. Raises as ``translated``."""
        if _holds_registrations(engine):
            return None
        signs = list(filter(None, (_copies(engine, copies), _earlier_runs(run), _tracked(engine))))
        if not signs:
            return None
        return cls(
            " and ".join(signs),
            f'if it was lost or is a new one: dataflows patient-import --from-copies "{copies.folder}";'
            " if it is the wrong one: check IMPORT_DATABASE_URL and DATA_DIR",
        )


def _holds_registrations(engine: sa.Engine) -> bool:
    with translated(), engine.connect() as connection:
        return connection.execute(sa.select(patient_registrations.c.id).limit(1)).first() is not None


def _copies(engine: sa.Engine, copies: BackupFolder) -> str:
    """The copies of what was imported; those of objects that failed lie there too, and are noted as such."""
    names = copies.names()
    if names:
        with translated(), engine.connect() as connection:
            failed = sa.select(patient_tracking.c.copy_name).where(patient_tracking.c.registration_id.is_(None))
            names -= set(connection.execute(failed).scalars())
    count = len(names)
    return f"{count} local cop{'y is' if count == 1 else 'ies are'} in {copies.folder}" if count else ""


def _earlier_runs(run: Run) -> str:
    runs = run.journal.runs(command="patient-import", limit=_RUNS_LOOKED_AT)
    imported = [one for one in runs if one.counts.get("done") and not one.options.get("dry_run")]
    return "earlier runs have imported some" if imported else ""


def _tracked(engine: sa.Engine) -> str:
    with translated(), engine.connect() as connection:
        done = patient_tracking.c.registration_id.is_not(None)
        found = connection.execute(sa.select(patient_tracking.c.id).where(done).limit(1)).first()
    return "objects of a bucket are noted as imported" if found else ""


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
