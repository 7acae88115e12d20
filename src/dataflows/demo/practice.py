"""What the two scenes of the practice share: a look at its database, and at the mails that came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from dataflows.demo.stage import Stage
from dataflows.settings import Settings
from dataflows.store.practice.database import open_engine, writing


def rows(settings: Settings, table: sa.Table) -> list[sa.Row[Any]]:
    """All rows of a table as they are now, oldest first."""
    engine = open_engine(settings)
    try:
        with engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key)))
    finally:
        engine.dispose()  # Windows removes no file that is open


def write(settings: Settings, statement: sa.Update) -> None:
    """Write into the database as somebody of the practice does."""
    engine = open_engine(settings)
    try:
        with writing(engine) as connection:
            connection.execute(statement)
    finally:
        engine.dispose()


def judge_mails(
    stage: Stage, flow: str, subjects: Sequence[str], named: Sequence[str], personal: Iterable[str]
) -> None:
    """Compare all mails of a flow so far: subjects, what the last one has to name, and no word of a person in any."""
    mails = [mail.described() for mail in stage.box.mailbox.messages]
    mine = [mail for mail in mails if mail["subject"].startswith(f"{flow}:")]
    stage.findings.must(f"{flow}: mails", [mail["subject"] for mail in mine], list(subjects))
    last = mine[-1]["text"] if mine else ""
    stage.findings.must(f"{flow}: what the mail names", [word for word in named if word in last], list(named))
    said = "\n".join(f"{mail['subject']}\n{mail['text']}" for mail in mine).casefold()
    told = sum(word.casefold() in said for word in personal)
    stage.findings.must(f"{flow}: personal words in the mails", told, 0)
