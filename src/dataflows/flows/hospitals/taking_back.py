"""What an operator does about a run that ended: look whether the Directory still agrees with it, or take it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import SettingUnusable, WrongUsage
from dataflows.events import Event
from dataflows.flows.hospitals import abandon as steps
from dataflows.flows.hospitals.abandon import Abandoned, BatchFinding, CarriedWork
from dataflows.flows.hospitals.batch import BatchPolicy
from dataflows.flows.hospitals.copies import CopyFolder, FileContent
from dataflows.flows.hospitals.directory import DirectoryApi
from dataflows.flows.hospitals.identity import directory_address
from dataflows.flows.hospitals.ledger import COMMAND, BatchStore
from dataflows.flows.hospitals.uploads import Upload, UploadStore
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import Session, make_session
from dataflows.runs.journal import ABANDONED, DONE, PARTIAL, Journal, RunRecord
from dataflows.runs.lock import only_one
from dataflows.runs.pool import Stop
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

Listener = Callable[[Event], None]


def work_of(settings: Settings, run: Run, upload: Upload, session: Session) -> CarriedWork:
    """Return what an earlier run carried, and the way to its Directory.

    Raises:
        BadInput: the kept copy of its rows is gone.
        SettingUnusable: it was for another Directory.
    """
    content = CopyFolder(run.data_dir).read(upload.key)
    refuse_another_directory(settings, content)
    policy = RetryPolicy.of(settings, run.stop, run.notify)
    ledger = BatchStore(run.journal, run.data_dir)
    plan = UploadStore(run.journal, run.data_dir, ledger).plan(upload)
    settle = max(settings.hospitals_settle_seconds, 2 * ledger.slowest(plan.portions(content.rows)))
    return CarriedWork(
        DirectoryApi(base_url(settings), session, policy),
        ledger,
        content,
        plan,
        BatchPolicy(lambda: settle, settings.hospitals_look_every_seconds),
        settings.max_concurrent_requests,
        run.stop,
        run.notify,
    )


def base_url(settings: Settings) -> str:
    """The address that requests go to."""
    return str(settings.external_api_base_url).strip().rstrip("/")


def refuse_another_directory(settings: Settings, content: FileContent) -> None:
    """Raise SettingUnusable when what a run carried was for another Directory than that of the settings."""
    settings.require("EXTERNAL_API_BASE_URL")
    if directory_address(content.address) != directory_address(str(settings.external_api_base_url)):
        raise SettingUnusable(
            f"that run was for the Directory at {content.address}", hint="set EXTERNAL_API_BASE_URL to that address"
        )


def abandon(
    settings: Settings,
    journal: Journal,
    record: RunRecord,
    notify: Listener,
    *,
    delete_active: bool,
    stop: Stop | None = None,
) -> Abandoned:
    """Remove what a run created, and close the run.

    A run of which anything is active is closed as done (or partly done) and that is left alone, unless
    ``delete_active``.

    Raises:
        AlreadyRunning: a living run has one of its batches.
        WrongUsage: the run carried nothing.
        DataflowsError: as ``abandon.abandon`` and ``work_of``; the run stays as it was.
    """
    with only_one(settings.data_dir, COMMAND, record.target):
        run = Run(record.run_id, journal, settings.data_dir, notify, stop or Stop())
        uploads = UploadStore(journal, settings.data_dir, BatchStore(journal, settings.data_dir))
        upload = uploads.upload_of(record.run_id)
        if upload is None and record.state == "resumable":
            upload = uploads.revived(record.run_id, str(record.options.get("key", "")))
        if upload is None and record.state == "resumable":  # it did not come as far as creating anything
            uploads.close(record.run_id, ABANDONED)
            return Abandoned()
        with _work(settings, run, upload) as work:
            work.directory.wake(settings.hospitals_wake_seconds, run.stop)
            work.claim(record.run_id)
            done = steps.abandon(work, delete_active=delete_active)
            uploads.close(record.run_id, _state(done))
    return done


def _state(done: Abandoned) -> str:
    if not done.live:
        return ABANDONED
    return PARTIAL if done.gone else DONE


def check(settings: Settings, journal: Journal, record: RunRecord, notify: Listener) -> list[BatchFinding]:
    """Compare the Directory with a run; returns the batches that differ.

    Raises:
        WrongUsage: the run carried nothing, or is still running.
        DataflowsError: as ``abandon.look_over`` and ``work_of``.
    """
    if record.state == "running":
        raise WrongUsage("the run is still at work", hint=f"dataflows runs show {record.run_id[:8]} --follow")
    run = Run(record.run_id, journal, settings.data_dir, notify)
    upload = UploadStore(journal, settings.data_dir, BatchStore(journal, settings.data_dir)).upload_of(record.run_id)
    with _work(settings, run, upload) as work:
        work.directory.wake(settings.hospitals_wake_seconds, run.stop)
        return steps.look_over(work, abandoned=record.state == ABANDONED)


def sweep(journal: Journal, data_dir: Path) -> None:
    """Remove what was kept for runs that are pruned."""
    CopyFolder(data_dir).sweep(UploadStore(journal, data_dir, BatchStore(journal, data_dir)).sweep())


@contextmanager
def _work(settings: Settings, run: Run, upload: Upload | None) -> Iterator[CarriedWork]:
    if upload is None:
        raise WrongUsage("that run did not come as far as creating anything", hint="dataflows runs list")
    session = make_session(settings, settings.max_concurrent_requests, run.stop.grace_is_over)
    try:
        yield work_of(settings, run, upload, session)
    finally:
        session.close()
