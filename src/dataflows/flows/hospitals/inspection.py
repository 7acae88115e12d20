"""What changes nothing: the report on a file, and the comparison of a run with the Directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.errors import BadInput, WrongUsage
from dataflows.events import Event, Failed, Planned
from dataflows.flows.hospitals.abandon import opened
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.records import DirectoryRecord
from dataflows.flows.hospitals.table import Validation
from dataflows.flows.hospitals.uploads import UploadStore
from dataflows.runs.journal import ABANDONED, Journal, RunRecord
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings


def check_file(validation: Validation, *, skip_invalid: bool = False) -> Callable[[Run], Iterator[Event]]:
    """Return the job that only reports on a file (a dry run, or a bad file).

    It raises BadInput for any error, unless wrong rows are left out (``skip_invalid``) and the file as a whole is
    right.
    """
    return lambda run: _checked(validation, run, skip_invalid=skip_invalid)


def _checked(validation: Validation, run: Run, *, skip_invalid: bool) -> Iterator[Event]:
    run.report.update(validation.document())
    yield Planned(validation.total_rows, "rows")
    for one in validation.left_out():
        yield Failed(str(one.row) if one.row else "file", one.code, one.message)
    if not validation.is_valid and (validation.refused or not skip_invalid):
        count = validation.problem_count
        raise BadInput(
            f"the file has {count} error{'s' * (count != 1)}, so none of its rows is sent", hint=_hint(validation)
        )


def _hint(validation: Validation) -> str:
    if any(one.code == "too_many_rows" for one in validation.problems):
        return "split it, or say how many rows it may have: --max-rows N"
    if validation.refused or not validation.rows:
        return "correct the file"
    return "correct them; if rows may be left out: --skip-invalid"


@dataclass(frozen=True)
class BatchFinding:
    """What is not as it should be in one batch of a run."""

    batch_id: str
    late: list[int]
    """Ids of records that should not be there: creates that landed late."""
    missing: list[int]
    """Rows of the file that have no record, or none that is active although the batch is."""
    foreign: list[int]
    """Ids of records that equal no row."""
    inactive: bool
    """Nothing of the batch is active, and it should be."""
    left_over: bool
    """The batch was abandoned, so it should be empty."""

    @property
    def says(self) -> str:
        """What is not as it should be, in words."""
        parts = [
            f"{len(self.late)} surplus cop{'y' if len(self.late) == 1 else 'ies'}" if self.late else "",
            f"{len(self.missing)} missing row{'s' * (len(self.missing) != 1)}" if self.missing else "",
            f"{len(self.foreign)} record(s) that are no row of the file" if self.foreign else "",
            "nothing of it is active" if self.inactive else "",
        ]
        return ", ".join(part for part in parts if part)

    def advice(self, run: str) -> str:
        """What to do about it."""
        if self.foreign:
            return "find out who created them; this program touches nothing there as long as they are in the batch"
        if self.left_over:
            return f"dataflows runs abandon {run}, once more"
        return "run the same command with the same file again: it removes what is surplus and creates what is missing"


def _left_over(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    ids = [record.id for record in records]
    return BatchFinding(batch.batch_id, ids, [], [], inactive=False, left_over=True) if ids else None


def _finding(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    found = batch.match_all(records)
    live = any(record.active for record in records)
    unlike = {place for place, record in found.kept.items() if live and not record.active}
    refused = {place for place, entry in enumerate(batch.entries) if entry.code == "refused"}
    finding = BatchFinding(
        batch.batch_id,
        [*(record.id for record in found.surplus), *(found.kept[place].id for place in sorted(unlike))],
        [batch.entries[place].row.number for place in sorted({*found.absent, *unlike} - refused)],
        [record.id for record in found.foreign],
        inactive=not live and len(refused) < len(batch.entries),
        left_over=False,
    )
    clean = not (finding.late or finding.missing or finding.inactive or finding.foreign)
    return None if clean else finding


def check(
    settings: Settings, journal: Journal, record: RunRecord, notify: Callable[[Event], None]
) -> list[BatchFinding]:
    """Compare the Directory with a run; returns the batches that are not as they should be.

    Raises:
        WrongUsage: the run carried nothing, or is still running.
        DataflowsError: the Directory does not answer, or what the run carried cannot be found out.
    """
    if record.state == "running":
        raise WrongUsage("the run is still at work", hint=f"dataflows runs show {record.run_id[:8]} --follow")
    run = Run(record.run_id, journal, settings.data_dir, notify)
    upload = UploadStore(journal, settings.data_dir).upload_of(record.run_id)
    judge = _left_over if record.state == ABANDONED else _finding
    with opened(settings, run, upload) as earlier:
        looked = earlier.looks(earlier.batches())
    return [found for batch, records in looked if (found := judge(batch, records))]
