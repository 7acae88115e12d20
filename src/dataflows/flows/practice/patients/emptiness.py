"""A database that is empty though something was imported before: said loudly, and mailed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from dataflows.errors import ExitCode
from dataflows.events import Event, Warned
from dataflows.flows.practice.notices import Message
from dataflows.flows.practice.patients.objects import BackupFolder
from dataflows.runs.runner import Run
from dataflows.runs.trouble import Trouble, TroubleNews
from dataflows.store.practice.database import translated
from dataflows.store.practice.tables import erasures, patient_registrations, patient_tracking

_RUNS_LOOKED_AT = 200


def emptiness(engine: sa.Engine, copies: BackupFolder, run: Run, post: Callable[[Message], bool]) -> Iterator[Event]:
    """Look whether the database is empty against all signs; ``post`` mails and returns whether the mail is safe."""
    empty = EmptyDatabase.found(engine, copies, run)
    if empty is not None:
        run.report["empty_database"] = True
        yield Warned(
            f"the practice database holds no registration, but {empty.signs}",
            reason="practice-database-empty",
            hint=empty.hint,
        )

    def tell(_: TroubleNews) -> bool:
        return empty is None or post(empty.message())  # no mail is needed to say that it is over

    code = ExitCode.OK if empty is None else ExitCode.SETTINGS
    Trouble(run.journal, "patient-import, empty database").note(code, tell)


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

    def message(self) -> Message:
        """The mail about it."""
        what = f"patient-import: the practice database holds no registration, but {self.signs}."
        text = f"{what}\n\nWhat to do: {self.hint}\n\nThe import goes on. This is reported once.\n"
        return Message("patient-import: the practice database is empty", text)


def _holds_registrations(engine: sa.Engine) -> bool:
    some = (sa.select(table.c.id).limit(1) for table in (patient_registrations, erasures))  # all may have been erased
    with translated(), engine.connect() as connection:
        return any(connection.execute(one).first() is not None for one in some)


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
