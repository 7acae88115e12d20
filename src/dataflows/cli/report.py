"""``report``: one mail, or one call of a webhook, for all jobs of the night."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from dataflows.cli.options import DryRun, Json, epilog, invocation
from dataflows.cli.spans import age
from dataflows.cli.status import Since, document, exit_code, lines, standing
from dataflows.errors import AccessRefused, ExitCode, ServiceDown, SettingUnusable
from dataflows.hints import pasteable
from dataflows.runs.wording import summary

if TYPE_CHECKING:
    from dataflows.events import Event
    from dataflows.runs.nights import JobStatus
    from dataflows.runs.runner import Job, Run
    from dataflows.settings import Settings

COMMAND = "report"
_CODES = (
    *(ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS),
    *(ExitCode.ALREADY_RUNNING, ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN),
)
_ATTEMPTS, _SECONDS, _WAIT = 3, 60.0, 10.0
_WEBHOOK = "the webhook of the report"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog("dataflows schedule report --daily 07:30 --install", "dataflows report --dry-run", codes=_CODES),
    )(report)


def report(context: typer.Context, since: Since = "24h", dry_run: DryRun = False, as_json: Json = False) -> None:
    """Send one report on all jobs of the night: to REPORT_EMAIL, REPORT_URL, or both.

    What it says is what `status` shows. REPORT_WHEN=problems sends it only when something needs a person; a machine
    that is switched off is noticed only by the report that does not come (always), or from outside. Exit code 0 means
    that the report was sent, whatever it says.
    """
    call = invocation(context).begin(COMMAND, as_json)
    settings = call.settings()
    if not (settings.report_email or settings.report_url or dry_run):
        raise SettingUnusable(
            "no recipient is set for the report",
            reason="report-no-recipient",
            hint="set REPORT_EMAIL, or REPORT_URL for a webhook",
        )
    jobs = standing(settings, age(since, "--since"))
    if dry_run:
        call.output.say(f"Subject: {subject(jobs)}\n\n{text(settings, jobs)}")
        raise typer.Exit(call.output.ended("nothing is sent: a dry run"))
    order = call.order(settings, COMMAND, {}, resumable=False)
    raise typer.Exit(call.run(order, _job(settings, jobs)))


def subject(jobs: Sequence[JobStatus]) -> str:
    """Say it all in the subject."""
    return f"dataflows on {socket.gethostname()}: {summary(jobs)}"


def text(settings: Settings, jobs: Sequence[JobStatus]) -> str:
    """Return the body: a line for each job, what happened and what to do below it."""
    parts = ["\n".join(lines(jobs)) or summary(jobs)]
    parts += [f"Console: {settings.console_url}"] if settings.console_url else []
    parts += [f"All jobs: {pasteable('dataflows status')}, on {socket.gethostname()}; data {settings.data_dir}"]
    return "\n\n".join(parts) + "\n"


def _job(settings: Settings, jobs: Sequence[JobStatus]) -> Job:
    def job(run: Run) -> Iterator[Event]:
        from dataflows.events import Done, Skipped

        run.report.update(jobs=len(jobs), need_a_person=sum(one.verdict.needs_a_person for one in jobs))
        if not _is_wanted(settings.report_when, jobs):
            yield Skipped(COMMAND, f"REPORT_WHEN={settings.report_when}")
            return
        if settings.report_email:
            _mail(settings, run, jobs)
            yield Done("mail")
        if settings.report_url:
            _call(settings, run, jobs)
            yield Done("webhook")

    return job


def _is_wanted(when: str, jobs: Sequence[JobStatus]) -> bool:
    return when == "always" or (when == "problems" and exit_code(jobs) is not ExitCode.OK)


def _mail(settings: Settings, run: Run, jobs: Sequence[JobStatus]) -> None:
    from dataflows.remote import mail

    message = mail.Message(subject(jobs), text(settings, jobs), is_report=True)
    result = mail.post(settings, message, settings.data_dir, stop=run.stop)
    if result.why and not result.sent:
        raise ServiceDown(
            f"the report could not be sent: {result.why}",
            reason="report-not-sent",
            hint="dataflows test-endpoint --target mail",
        )


def _call(settings: Settings, run: Run, jobs: Sequence[JobStatus]) -> None:
    """POST the report as JSON, with a ``text`` that chat programs show.

    Raises:
        ServiceDown, AccessRefused, SettingUnusable: it was not taken.
    """
    import json

    from dataflows.remote.retry import RetryPolicy, raise_for_service
    from dataflows.remote.session import make_session, send

    url = settings.report_url.reveal() if settings.report_url else ""
    body = json.dumps({"subject": subject(jobs), "text": text(settings, jobs), **document(jobs)}).encode()
    session = make_session(settings)

    def once() -> None:
        reply = send(session, "POST", url, headers={"Content-Type": "application/json"}, body=body)
        raise_for_service(reply, _WEBHOOK)
        if reply.status in (401, 403):
            raise AccessRefused(f"{_WEBHOOK} answered {reply.status}", reason="report-webhook", hint="check REPORT_URL")
        if not 200 <= reply.status < 300:
            raise SettingUnusable(
                f"{_WEBHOOK} answered {reply.status}", reason="report-webhook", hint="check REPORT_URL"
            )

    try:
        RetryPolicy(_ATTEMPTS, _SECONDS, _WAIT, run.stop).call(once, _WEBHOOK)
    finally:
        session.close()
