"""A small practice: the sandbox's bucket, a database of either kind, and the real program between them.

All people here are made up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.sandbox.server import Sandbox
from dataflows.store.database import connect
from dataflows.store.practice.migrate import VERSION_TABLE, migrate
from dataflows.store.practice.tables import (
    metadata,
    outbox,
    patient_consents,
    patient_registrations,
    patient_tracking,
    patients,
)

QUICK = {
    "HTTP_ATTEMPTS": "2",
    "HTTP_MAX_WAIT_SECONDS": "0.01",
    "HTTP_TIMEOUT_SECONDS": "5",
    "HTTP_CONNECT_TIMEOUT_SECONDS": "2",
}
TABLES = (patient_tracking, patient_consents, patient_registrations, patients, outbox)
BEGAN = datetime(2025, 7, 5, 14, 33, 55, tzinfo=UTC)
TOKEN = "0b1ab67b"


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended; ``document`` is what it printed with --json."""

    code: int
    document: dict[str, Any]
    err: str
    out: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.document[name]

    def figures(self, *names: str) -> list[int]:
        """Figures of the report."""
        return [self.document[name] for name in names]


def registration(
    vorname: str = "Max", nachname: str = "Mustermann", *, after: float = 0.0, token: str = TOKEN, **data: Any
) -> dict[str, Any]:
    """The body of a synthetic registration, made ``after`` seconds from the first; None takes a field out."""
    moment = BEGAN + timedelta(seconds=after)
    fields = {
        "anrede": "Herr",
        "geschlecht": "männlich",
        "vorname": vorname,
        "nachname": nachname,
        "email": f"{vorname.strip()}.{nachname.strip()}@example.org".lower(),
        "geburtsdatum": "2000-01-01",
        **data,
    }
    return {
        "patient_data": {name: value for name, value in fields.items() if value is not None},
        "consent_metadata": {
            "ip_address": "192.0.2.7",
            "user_agent": "a browser",
            "timestamp_utc": moment.isoformat().replace("+00:00", "Z"),
        },
        "registration_timestamp": moment.strftime("%Y-%m-%d %H:%M:%S"),
        "registration_token": token,
    }


def written(body: Mapping[str, Any]) -> bytes:
    """A body as the form writes it."""
    return json.dumps(body, ensure_ascii=False, indent=4).encode()


def name_of(body: Mapping[str, Any], day: str = "2025-07-05") -> str:
    """The object's name that belongs to a body."""
    data = body["patient_data"]
    return f"{data['nachname']}_{data['vorname']}_{day}_{body['registration_token']}.json"


class World:
    """Runs ``patient-import`` with settings of its own, and looks into bucket, database, folder and mails."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.copies = self.data / "patient_imports"
        self.box = box
        self.bucket = box.bucket
        self.capsys = capsys
        self.url = url
        self.engine = connect(url)
        settings = {name: box.settings()[name] for name in ("STORAGE_EMULATOR_HOST", "GCS_BUCKET")}
        self.environment = {**settings, **QUICK, "IMPORT_DATABASE_URL": url, "DATA_DIR": str(self.data)}

    # --- what happens -------------------------------------------------------------------------------------------------

    def arrive(self, body: Mapping[str, Any], name: str | None = None, *, after: float | None = None) -> str:
        """Let a registration arrive in the bucket; returns the object's name."""
        name = name or name_of(body)
        updated = None if after is None else BEGAN + timedelta(seconds=after)
        self.bucket.put(name, written(body), updated=updated)
        return name

    def bring_in(self, *arguments: str, **environment: str) -> Ran:
        """Run ``patient-import --json`` inside this process."""
        return self.call("patient-import", *arguments, "--json", **environment)

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program inside this process with the settings of this world."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        out, err = self.capsys.readouterr()
        return Ran(code, json.loads(out) if out.startswith("{") and out.count("\n") == 1 else {}, err, out)

    # --- what is there ------------------------------------------------------------------------------------------------

    def rows(self, table: sa.Table) -> list[sa.Row[Any]]:
        """All rows of a table, in order."""
        key = next(iter(table.primary_key))
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(key)))

    @property
    def patients(self) -> list[sa.Row[Any]]:
        """The patients."""
        return self.rows(patients)

    @property
    def registrations(self) -> list[sa.Row[Any]]:
        """Their registrations."""
        return self.rows(patient_registrations)

    @property
    def consents(self) -> list[sa.Row[Any]]:
        """Their consents."""
        return self.rows(patient_consents)

    @property
    def tracked(self) -> list[sa.Row[Any]]:
        """What is known of objects."""
        return self.rows(patient_tracking)

    @property
    def events(self) -> list[sa.Row[Any]]:
        """The outbox."""
        return self.rows(outbox)

    def files(self) -> dict[str, bytes]:
        """The local copies by their path below the folder; quarantine too."""
        found = (path for path in self.copies.rglob("*") if path.is_file())
        return {path.relative_to(self.copies).as_posix(): path.read_bytes() for path in found}

    def mails(self) -> list[str]:
        """The texts of the mails written so far, oldest first."""
        texts = []
        for path in sorted((self.data / "outbox").glob("*.eml")):
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            texts.append(f"{mail['Subject']}\n{mail.get_content()}")
        return texts

    def full_environment(self) -> dict[str, str]:
        """The environment for a process of its own."""
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**clean, **self.environment}

    def forget(self) -> None:
        """Take the tables away, as if the database had never been used."""
        with self.engine.begin() as connection:
            metadata.drop_all(connection)
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")

    def empty(self) -> None:
        """Leave the database as it was found."""
        migrate(self.engine)
        with self.engine.begin() as connection:
            for table in TABLES:
                connection.execute(sa.delete(table))
        self.engine.dispose()
