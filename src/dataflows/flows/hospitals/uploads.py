"""What the journal knows of uploads: which file a run was of, and the plan that it goes by.

An upload goes on until a run of it comes to its end: the next run of the same rows takes over the plan of the one
before. The plan of a run of an earlier version follows from the copy of its rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import BadInput
from dataflows.flows.hospitals.ledger import BatchStore, no_later_than
from dataflows.flows.hospitals.rows import COMMAND, NEVER, FileContent, Hospital, HospitalRow, KeptPlan, SkippedRow
from dataflows.runs.journal import ABANDONED, RESUMABLE, RUNNING, Journal, RunRecord, of_values
from dataflows.runs.lock import is_running
from dataflows.store.files import private_folder, unusable, write_whole

AGAIN = " again"
"""The end of the target of a run that creates the same rows once more."""

_UPLOAD = "u.upload, u.occurrence, u.path, u.rows, u.size, u.plan"
_JOINED = "FROM hospital_uploads u JOIN runs r USING (run_id)"
_PLANS_KEPT = 5


class Upload(NamedTuple):
    """What one run brings: the name of its content, which time it is created, the file that it came from, the name
    of the rows alone, the size of the batches, and the plan as it is written down (None: of an earlier version).
    """

    key: str
    occurrence: int
    path: str
    rows: str
    size: int
    plan: str | None = None


class Leftover(NamedTuple):
    """An earlier run that did not come to its end, and whether its process lives."""

    run_id: str
    upload: Upload
    alive: bool


class UploadStore:
    """The uploads in the journal, with their ``batches`` and the ``copies`` of their rows.

    Used by the main thread of a run only.
    """

    def __init__(self, journal: Journal, data_dir: Path) -> None:
        self._journal = journal
        self._data_dir = data_dir
        self.batches = BatchStore(journal, data_dir)
        self.copies = CopyFolder(data_dir)

    # --- contents ---------------------------------------------------------------------------------------------

    def introduce(self, key: str, *, kept_before: bool) -> float:
        """Note a content; return since when somebody else's creates of it may be landing (s, monotonic; or never).

        ``kept_before``: a copy of its rows was there. If the journal does not know it all the same, it forgot what was
        sent, now and for all later runs.
        """
        host = self.batches.host
        with self._journal.transaction() as db:
            foreign_since = time.monotonic() if kept_before else None
            db.execute("INSERT OR IGNORE INTO hospital_contents VALUES (?, ?, ?)", (key, foreign_since, host))
            found = db.execute("SELECT suspect, host FROM hospital_contents WHERE content = ?", (key,)).fetchone()
        return NEVER if found[0] is None else no_later_than(found[0], found[1], host, time.monotonic())

    # --- uploads ----------------------------------------------------------------------------------------------

    def begin(self, run_id: str, upload: Upload, batch_ids: Sequence[str], foreign_since: float, shown: str) -> None:
        """Write down the plan of a run, and make its batches those of this run.

        ``foreign_since`` (s): of batches that the journal does not know, since when somebody else may be sending them.
        ``shown``: the id under which the run is known where it has no batch.

        Raises AlreadyRunning: a living run has one of them (two files may share a batch).
        """
        with self._journal.transaction() as db:
            self.batches.claim(run_id, batch_ids)
            db.execute("INSERT OR REPLACE INTO hospital_uploads VALUES (?, ?, ?, ?, ?, ?, ?)", (run_id, *upload))
            self.batches.hold(run_id, batch_ids, None if foreign_since == NEVER else foreign_since)
        self._journal.name_batches(run_id, batch_ids or [shown])

    def unfinished(self, run_id: str, names: Sequence[str], size: int, *, again: bool) -> tuple[str, Upload] | None:
        """Return the latest other run of these rows, in batches of this size, that did not come to its end."""
        with self._journal.reading() as db:
            found = [
                (seq, other, Upload(*upload))
                for seq, other, *upload in of_values(
                    db,
                    f"SELECT r.seq, r.run_id, {_UPLOAD} {_JOINED}",
                    "rows",
                    names,
                    f" AND u.size = ? AND (r.target LIKE '%{AGAIN}') = ? AND r.run_id <> ? AND r.state IN (?, ?)",
                    (size, again, run_id, RESUMABLE, RUNNING),
                )
            ]
        if not found:
            return None
        _, other, upload = max(found)
        return other, upload

    def take_over(self, run_id: str, earlier: str) -> None:
        """Close an earlier run of another name that this one goes on with; those of its own name it closes anyway."""
        self._journal.continue_by(run_id, earlier)

    def plans(self, names: Sequence[str]) -> Iterator[KeptPlan]:
        """The latest plans by which these rows were brought there, the first occurrence before the others."""
        with self._journal.reading() as db:
            found = [
                (upload[1], -seq, Upload(*upload))
                for seq, *upload in of_values(
                    db,
                    f"SELECT r.seq, {_UPLOAD} {_JOINED}",
                    "rows",
                    names,
                    " AND r.state <> ? ORDER BY r.seq DESC LIMIT ?",
                    (ABANDONED, _PLANS_KEPT),
                )
            ]
        for _, _, upload in sorted(found):
            try:
                yield self.plan(upload)
            except BadInput:  # the copy is gone, and with it what an earlier version carried
                continue

    def plan(self, upload: Upload) -> KeptPlan:
        """The plan of an upload. Raises BadInput: it is one of an earlier version, and the copy of its rows is gone."""
        if upload.plan is not None:
            return KeptPlan.of_json(upload.plan)
        whole = KeptPlan.whole(self.copies.read(upload.key), upload.occurrence)
        extra = self.batches.stand_ins([batch_id for batch_id, _ in whole.batches])
        return KeptPlan.whole(self.copies.read(upload.key), upload.occurrence, extra)

    def leftovers(self, path: str, names: Sequence[str], before: str | None = None) -> list[Leftover]:
        """Return the runs of a file, or of the same rows, that did not come to their end, latest first.

        ``before``: only those that are older than every unfinished run of the same target as this one.
        """
        older = (
            " AND r.seq < (SELECT min(o.seq) FROM runs o JOIN runs mine USING (command, target)"
            " WHERE mine.run_id = ? AND o.state IN (?, ?))"
        )
        marks = ", ".join("?" * len(names))
        with self._journal.reading() as db:
            found = db.execute(
                f"SELECT r.run_id, r.target, {_UPLOAD} {_JOINED}"
                f" WHERE (u.path = ? OR u.rows IN ({marks})) AND r.state IN (?, ?){older if before else ''}"
                " ORDER BY r.seq DESC",
                (path, *names, RESUMABLE, RUNNING, *((before, RESUMABLE, RUNNING) if before else ())),
            ).fetchall()
        return [
            Leftover(run_id, Upload(*upload), is_running(self._data_dir, COMMAND, target))
            for run_id, target, *upload in found
        ]

    def is_finished(self, key: str, occurrence: int) -> bool:
        """Whether a run that created these rows for the n-th time came to its end."""
        with self._journal.reading() as db:
            return (
                db.execute(
                    "SELECT 1 FROM hospital_uploads u JOIN runs r USING (run_id)"
                    " WHERE u.upload = ? AND u.occurrence = ? AND r.state NOT IN (?, ?, ?)",
                    (key, occurrence, RESUMABLE, RUNNING, ABANDONED),
                ).fetchone()
                is not None
            )

    def upload_of(self, run_id: str) -> Upload | None:
        """Return what a run carried; of one that was killed too early, what another run of its target did."""
        with self._journal.reading() as db:
            found = db.execute(
                f"SELECT {_UPLOAD} {_JOINED} WHERE (r.command, r.target) ="  # noqa: S608
                " (SELECT command, target FROM runs WHERE run_id = ?) ORDER BY r.run_id = ? DESC, r.seq DESC LIMIT 1",
                (run_id, run_id),
            ).fetchone()
        return Upload(*found) if found else None

    def carried(self, record: RunRecord) -> tuple[FileContent, KeptPlan] | None:
        """Return what a run carried, and its plan; None where its rows are not kept."""
        upload = self.upload_of(record.run_id)
        try:
            content = self.copies.read(upload.key if upload else str(record.options.get("key", "")))
            return content, self.plan(upload) if upload else KeptPlan.whole(content, 0)
        except BadInput:
            return None

    def revived(self, run_id: str, key: str) -> Upload | None:
        """Return what a run carried that began when the journal had forgotten earlier ones of the same rows.

        It did not come as far as a plan itself; what it may find at the Directory is what its forerunners sent. None
        where nothing was forgotten, or the copy of the rows is gone.
        """
        with self._journal.reading() as db:
            found = db.execute("SELECT suspect FROM hospital_contents WHERE content = ?", (key,)).fetchone()
        if found is None or found[0] is None or not self.copies.has(key):
            return None
        content = self.copies.read(key)
        upload = Upload(key, 0, "", content.rows_key, content.size)
        batch_ids = [batch_id for batch_id, _ in self.plan(upload).batches]
        self.begin(run_id, upload, batch_ids, self.introduce(key, kept_before=True), batch_ids[0])
        return upload

    def close(self, run_id: str, state: str) -> None:
        """Set the state of a run, and of all others of its target that wait to be resumed: they are one upload."""
        self._journal.set_state(run_id, state, of_target=True)

    def sweep(self, *keys: str) -> set[str]:
        """Forget what belongs to runs that are pruned, copies too; return the uploads that remain.

        The copies of ``keys`` stay in any case.
        """
        known = "SELECT run_id FROM runs"
        with self._journal.transaction() as db:
            db.execute(f"DELETE FROM hospital_uploads WHERE run_id NOT IN ({known})")  # noqa: S608
            db.execute(
                f"DELETE FROM hospital_rows WHERE batch_id IN"  # noqa: S608
                f" (SELECT batch_id FROM hospital_batches WHERE holder NOT IN ({known}))"
            )
            db.execute(f"DELETE FROM hospital_batches WHERE holder NOT IN ({known})")  # noqa: S608
            db.execute(
                "DELETE FROM hospital_contents WHERE content NOT IN (SELECT upload FROM hospital_uploads)"
                " AND content NOT IN (SELECT replace(target, ?, '') FROM runs)",
                (AGAIN,),
            )
            wanted = {key for (key,) in db.execute("SELECT upload FROM hospital_uploads")}
        self.copies.sweep(wanted.union(keys))
        return wanted


_KEEP_AT_LEAST_SECONDS = 86_400.0


class CopyFolder:
    """The folder ``batches`` of a data folder: one file per content, for its owner only."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "batches"

    def has(self, key: str) -> bool:
        """Whether this content was kept before."""
        return self._path(key).exists()

    def keep(self, content: FileContent) -> None:
        """Write a copy, whole or not at all. Raises SettingUnusable or ServiceDown when it cannot be written."""
        kept = {
            "address": content.address,
            "size": content.size,
            "rows": [[row.number, *row.hospital] for row in content.rows],
            "invalid": content.invalid,
            "invalid_count": content.invalid_count,
        }
        data = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            private_folder(self._folder)
            write_whole(self._path(content.key), data)
        except OSError as error:
            raise unusable(self._folder, error, "the folder of rows", "check DATA_DIR and its permissions") from None

    def read(self, key: str) -> FileContent:
        """Return what was kept. Raises BadInput when it is gone or is not what was kept."""
        try:
            kept = json.loads(self._path(key).read_text(encoding="utf-8"))
            kept["rows"] = [HospitalRow(number, Hospital(*texts)) for number, *texts in kept["rows"]]
            kept["invalid"] = [SkippedRow(*one) for one in kept["invalid"]]
            content = FileContent(**kept)
        except (OSError, ValueError, TypeError, KeyError):
            raise self._unusable() from None
        if content.key != key:
            raise self._unusable()
        return content

    def _unusable(self) -> BadInput:
        return BadInput(
            f"the kept copy of the rows is missing or damaged in {self._folder}",
            reason="batch-copy-missing",
            hint="run the command again with the file: hospitals that are already there are found",
        )

    def sweep(self, wanted: set[str]) -> None:
        """Remove the copies of runs that are pruned. Young ones stay: their journal may have been lost."""
        oldest = time.time() - _KEEP_AT_LEAST_SECONDS
        for path in self._folder.glob("*.json"):
            with suppress(OSError):
                if path.stem not in wanted and path.stat().st_mtime < oldest:
                    path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
