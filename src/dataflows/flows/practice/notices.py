"""What leaves a pass at its end: one mail about what is new, and the events of the outbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataflows.events import Event, Warned
from dataflows.remote import kafka, mail
from dataflows.remote.kafka import require_kafka
from dataflows.remote.mail import MailResult, Message
from dataflows.runs.runner import Run
from dataflows.store.practice import outbox
from dataflows.store.practice.database import translated

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings

__all__ = ["Message", "Notice", "mailed", "post", "published", "require_kafka", "section", "summary"]

_MOST = 200  # lines of one kind; the rest is counted


class Notice(NamedTuple):
    """A mail, and what notes that it was sent or kept, so that nobody is told twice."""

    message: Message
    sent: Callable[[], None]


def post(settings: Settings, run: Run, message: Message) -> MailResult:
    """Mail a message now; one that cannot be sent is kept for the next run."""
    return mail.post(settings, message, run.data_dir, stop=run.stop)


def mailed(settings: Settings, run: Run, news: Callable[[], Notice | None]) -> Iterator[Event]:
    """Send one mail at most; one that cannot be sent never fails the run, and is tried again by the next one."""
    notice = news()
    if notice is None:
        result = mail.deliver(settings, run.data_dir, stop=run.stop)
    else:
        result = post(settings, run, notice.message)
        if result.is_safe:
            notice.sent()
    if result.why:
        yield Warned(f"a mail was not sent: {result.why}", reason="news-not-sent", hint="the next run tries again")


def published(
    settings: Settings, run: Run, engine: sa.Engine, topic: str, may_publish: Callable[[], None]
) -> Iterator[Event]:
    """Publish what the outbox holds for a topic; brokers that are away never fail the run."""
    with translated():
        clock = run.clock
        clock.shows_without_journal(outbox.newest(engine))
        drained = kafka.drain(settings, engine, topic, run.stop, may_publish=may_publish, forget=not clock.jumped)
    run.report["events"] = {"published": drained.published, "waiting": drained.waiting}
    if drained.refused:
        what = "patients" if topic == "patient-events" else "therapists"
        yield Warned(
            f"the brokers refuse {drained.refused} events; later ones of the same {what} have to wait",
            reason="news-not-sent",
        )
    if drained.why and not run.stop.is_set():
        yield Warned(
            f"events were not published: {drained.why}",
            reason="news-not-sent",
            hint="the next run tries again",
        )


def summary(states: Sequence[str], news: Sequence[str]) -> str:
    """How many there are of each state, such as ``2 dead, 1 failed``, in the order of ``states``."""
    return ", ".join(f"{news.count(state)} {state}" for state in states if state in news)


def section(title: str, lines: Sequence[str], more: str = "") -> list[str]:
    """The lines of a mail about one kind of news; of very many the first ones, and how many ``more`` there are."""
    if not lines:
        return []
    rest = [f"  and {len(lines) - _MOST} more{more}"] if len(lines) > _MOST else []
    return ["", title, "", *(f"  {line}" for line in lines[:_MOST]), *rest]
