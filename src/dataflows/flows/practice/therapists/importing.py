"""Imports one file: its changes, their events and its tracking row in one transaction, or nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from dataflows.flows.practice.erasures import Erasures
from dataflows.flows.practice.therapists import tracking
from dataflows.flows.practice.therapists.applying import FileContext, Suspicious, apply
from dataflows.flows.practice.therapists.changes import FileCounts
from dataflows.flows.practice.therapists.choosing import Look, Read
from dataflows.flows.practice.therapists.files import Unreadable
from dataflows.flows.practice.therapists.identity import FileOrigin
from dataflows.flows.practice.therapists.tracking import FAILED, PARTIAL, SUCCESS, SUSPICIOUS, FileVerdict, TrackedFile
from dataflows.store.encodings import NAMES
from dataflows.store.practice.database import savepoint, translated, writing

NOT_READY = "not_ready"
HALF_WRITTEN_FOR = timedelta(hours=1)
"""How long a file that is not whole may still be on its way (therapists.md, source)."""

MEANINGS = {
    "broken_off": "the file breaks off",
    "not_json": "the file is not JSON",
    "no_therapists": "the file has no list of therapists",
    "no_usable_entry": "no entry of the file can be imported",
    **{code: f"the file is {name}, and has to be UTF-8" for code, name in NAMES.items()},
    "not_readable": "the file cannot be read",
    "changed": "the file was changed while it was read",
    SUSPICIOUS: "the file would delete more than 20 % of the active therapists of its area at once",
    PARTIAL: "some entries were not imported",
}
"""What the names of failures mean, for people."""
_ON_ITS_WAY = frozenset({"broken_off", "not_json", "not_readable"})


def meaning(code: str) -> str:
    """A name of a failure in words for people; the name itself where there are none."""
    deleted, _, active = code.removeprefix(SUSPICIOUS).strip().partition(" of ")
    if code.startswith(SUSPICIOUS) and active:
        return f"the file would delete {deleted} of the {active} active therapists of its area at once"
    return MEANINGS.get(code, code)


class FileOutcome(NamedTuple):
    """What became of a file: success, partial, failed or not_ready; ``known`` when it had failed so before."""

    look: Look
    verdict: FileVerdict
    figures: FileCounts
    attempts: int = 1
    known: bool = False

    @property
    def is_imported(self) -> bool:
        """Whether the file is in the database, if perhaps not every entry of it."""
        return self.verdict.status in (SUCCESS, PARTIAL)


class Importer:
    """Imports files one after the other. ``may_write`` raises when the lock of the database is no longer held."""

    def __init__(
        self,
        engine: sa.Engine,
        run_id: str,
        may_write: Callable[[], None],
        *,
        allow_mass_delete: bool = False,
        erasures: Erasures | None = None,
    ) -> None:
        self._engine = engine
        self._run_id = run_id
        self._may_write = may_write
        self._allow_mass_delete = allow_mass_delete
        self._erasures = erasures
        self._rehearsal: sa.Connection | None = None

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """Do everything inside one transaction that is taken back at the end of the block."""
        with translated(), writing(self._engine, keep=False) as connection:
            self._rehearsal = connection
            yield

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """The transaction of one file. Raises as ``database.translated``."""
        with translated():
            if self._rehearsal is not None:
                with savepoint(self._rehearsal):
                    yield self._rehearsal
                return
            with writing(self._engine) as connection:
                yield connection
                self._may_write()

    def bring_in(self, read: Read, before: TrackedFile | None) -> FileOutcome:
        """Import a file. ``before`` is what is known of its path.

        Raises:
            AlreadyRunning, ServiceDown, AccessRefused, SettingUnusable: nothing of the file was written then.
            Interrupted: the run was stopped in the middle of a large file; likewise.
        """
        try:
            return self._applied(read, before)
        except Unreadable as error:
            if _is_on_its_way(read.look, error.code):
                return FileOutcome(read.look, FileVerdict(NOT_READY, error.code), FileCounts())
            code = error.code
        except Suspicious as error:
            code = f"{SUSPICIOUS} {error.deleted} of {error.active}"
        return self._failed(read.look, before, code)

    def _applied(self, read: Read, before: TrackedFile | None) -> FileOutcome:
        look = read.look
        origin = FileOrigin(look.date, look.found.name, look.area)
        context = FileContext(origin, self._run_id, self._allow_mass_delete, self._erasures)
        with self.transaction() as connection:
            figures = apply(connection, context, read.entries)
            if figures.entries and figures.broken == figures.entries:
                raise Unreadable("no_usable_entry")
            figures.check(look.scrape.counts)
            for doubt in look.doubts:
                figures.remark(doubt, 0)
            return self._recorded(connection, look, before, _verdict(figures), figures)

    def _failed(self, look: Look, before: TrackedFile | None, code: str) -> FileOutcome:
        with self.transaction() as connection:
            return self._recorded(connection, look, before, FileVerdict(FAILED, code), FileCounts())

    def _recorded(
        self,
        connection: sa.Connection,
        look: Look,
        before: TrackedFile | None,
        verdict: FileVerdict,
        figures: FileCounts,
    ) -> FileOutcome:
        tracking.record(connection, look, before, verdict, figures, self._run_id)
        same = before is not None and before.file_hash == look.sha256
        attempts = before.attempts if before is not None and same else 0
        known = attempts > 0 and before is not None and before.error == verdict.error
        return FileOutcome(look, verdict, figures, attempts + 1, known)


def _is_on_its_way(look: Look, code: str) -> bool:
    """Whether a file that is not whole may become so; one that changes under our hands does for sure."""
    lately = abs(datetime.now(UTC) - look.changed) < HALF_WRITTEN_FOR  # a clock may be wrong, here or there
    return code == "changed" or (code in _ON_ITS_WAY and lately)


def _verdict(figures: FileCounts) -> FileVerdict:
    if not figures.refused:
        return FileVerdict(SUCCESS)
    reasons = Counter(" ".join(filter(None, (one.code, one.path))) for one in figures.first_refused)
    return FileVerdict(PARTIAL, "; ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())))
