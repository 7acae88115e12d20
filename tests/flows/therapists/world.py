"""A folder of the scraper, a database of either kind, and the real program between them.

All therapists here are made up; their phone numbers are reserved for stories.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.cli.wording import outcome_document
from dataflows.events import Event
from dataflows.flows.practice.therapists import job
from dataflows.runs.runner import Order, run_job
from dataflows.settings import Secret, Settings, load
from dataflows.store.database import connect
from dataflows.store.practice.tables import (
    import_tracking,
    outbox,
    therapist_changes,
    therapist_locations,
    therapists,
)

TABLES = (therapist_changes, therapist_locations, therapists, import_tracking, outbox)
OLD = 2 * 3600.0
"""Seconds since a file was changed: whole or not, it is not on its way any more."""
COUNTS = ("new", "updated", "unchanged", "deleted", "revived", "refused")

Raw = dict[str, Any]


def therapist(
    first: str = "Thomas",
    last: str = "Muster",
    *,
    source_id: str | None = "praxis67",
    status: str | None = "new",
    **fields: Any,
) -> Raw:
    """An entry as the scraper writes it; a field of None is left out."""
    texts = {
        "basic_info": {"salutation": "Herr", "title": "Dr.", "first_name": first, "last_name": last},
        "location": {"street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen"},
        "contact": {"phone": "030 23125 101", "email": f"{first}.{last}@example.org".lower()},
    }
    for section in texts.values():
        section.update({name: fields.pop(name) for name in list(section) if name in fields})
    rest = {"languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], **fields}
    head = {"id": source_id, "status": status}
    return {
        **{name: value for name, value in head.items() if value is not None},
        **{
            name: {field: text for field, text in section.items() if text is not None}
            for name, section in texts.items()
        },
        **{name: value for name, value in rest.items() if value is not None},
    }


def scrape(*entries: Any, date: str = "2025-07-02T03:13:24.425211", area: str = "52XXX", **counts: int) -> Raw:
    """A file as the scraper writes it."""
    metadata = {"scrape_id": f"{area}_{date[:10]}", "scrape_date": date, "postcode_area": area, **counts}
    return {"metadata": metadata, "therapists": list(entries)}


def older_scrape(*entries: Any, date: str = "2025-07-02T03:13:24") -> Raw:
    """A file of the other layout."""
    metadata = {"timestamp": date, "scrape_id": "52074", "source": "example.org", "version": "1.0"}
    return {"metadata": metadata, "statistics": {"total": len(entries)}, "therapists": list(entries)}


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended; ``document`` is what it printed with --json."""

    code: int
    document: dict[str, Any]
    err: str
    out: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def files(self, *names: str) -> list[int]:
        """Counts of files."""
        return [self.document["files"][name] for name in names]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of therapists, those of nought left out."""
        return {name: count for name, count in self.document["therapists"].items() if count}


@cache
def defaults() -> Settings:
    """The settings when nothing is set."""
    return load(None, None, {})


class World:
    """Runs ``therapist-import`` with settings of its own, and looks into its database."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self.folder = folder
        self.dir = folder / "scräper files"
        self.dir.mkdir()
        self.data = folder / "data"
        self.capsys = capsys
        self.url = url
        self.environment = {
            "IMPORT_DATABASE_URL": url,
            "THERAPIST_IMPORT_DIR": str(self.dir),
            "THERAPIST_SETTLE_SECONDS": "0.2",
            "DATA_DIR": str(self.data),
        }
        self.engine = connect(url)
        self.settings = replace(
            defaults(),
            import_database_url=Secret(url),
            therapist_import_dir=self.dir,
            therapist_settle_seconds=0.2,
            data_dir=self.data,
        )

    # --- the scraper ------------------------------------------------------------------------------------------

    def put(self, name: str, content: Mapping[str, Any] | bytes | str, *, age: float = OLD) -> Path:
        """Write a file that was changed ``age`` seconds ago."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)).encode()
        path.write_bytes(content)
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return path

    # --- the program ------------------------------------------------------------------------------------------

    def bring_in(self, *paths: Path, **options: bool) -> Ran:
        """Run one pass: the job in its run, without the command line, which ``call`` has too."""
        events: list[Event] = []
        asked = job.Options(paths, **options)
        order = Order(job.COMMAND, job.target(self.settings), job.options_to_json(asked), self.data)
        outcome = run_job(order, job.bring_in(self.settings, asked), events.append)
        err = "\n".join(str(event) for event in events)
        return Ran(int(outcome.exit_code), outcome_document(outcome), err)

    def bring(self, *entries: Any, file: str = "52074.json", **metadata: Any) -> Ran:
        """Write a file of these entries, and run one pass."""
        self.put(file, scrape(*entries, **metadata))
        return self.bring_in()

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program inside this process with the settings of this world."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        out, err = self.capsys.readouterr()
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err, out)

    # --- the database -----------------------------------------------------------------------------------------

    def rows(self, table: sa.Table) -> list[Any]:
        """All rows of a table, in order."""
        with self.engine.connect() as connection:
            return list(connection.execute(table.select().order_by(*table.primary_key.columns)))

    @property
    def therapists(self) -> list[Any]:
        """The therapists."""
        return self.rows(therapists)

    @property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """What changed: field, old, new."""
        return [(row.field, row.old_value, row.new_value) for row in self.rows(therapist_changes)]

    @property
    def changes_by_file(self) -> list[tuple[str, str]]:
        """What changed: file, field."""
        return [(row.file_name, row.field) for row in self.rows(therapist_changes)]

    @property
    def tracked(self) -> list[tuple[Any, ...]]:
        """What is known of files: name, status, error."""
        return [(row.file_name, row.status, row.error) for row in self.rows(import_tracking)]

    @property
    def events(self) -> list[str]:
        """The types of the events."""
        return [row.event_type for row in self.rows(outbox)]

    @property
    def names(self) -> list[str]:
        """First and last names of the active therapists."""
        return sorted(f"{row.first_name} {row.last_name}" for row in self.therapists if row.active)

    def later(self, **passed: float) -> None:
        """Let time pass since files were tried."""
        with self.engine.begin() as connection:
            for row in connection.execute(import_tracking.select()).all():
                moment = row.processed_at - timedelta(**passed)
                connection.execute(
                    import_tracking.update().where(import_tracking.c.id == row.id).values(processed_at=moment)
                )

    def double(self, **columns: Any) -> None:
        """Add another therapist with the columns of the first one, but for these."""
        first = {**self.therapists[0]._mapping, "id": 1_000_000, **columns}
        with self.engine.begin() as connection:
            connection.execute(therapists.insert().values(first))

    def change(self, **columns: Any) -> None:
        """Change columns of all therapists, as the operator's own program does."""
        with self.engine.begin() as connection:
            connection.execute(therapists.update().values(**columns))

    def mails(self) -> list[str]:
        """The texts of the mails, subjects first."""
        files = sorted((self.data / "outbox").glob("*.eml"))
        found = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        return [f"{mail['Subject']}\n{mail.get_content()}" for mail in found]

    def empty(self) -> None:
        """Take out what a test has put into a database that others share."""
        with self.engine.begin() as connection:
            for table in TABLES:
                connection.execute(table.delete())
        self.engine.dispose()


def moment(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
