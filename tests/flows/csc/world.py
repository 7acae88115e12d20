"""A small authority: its staging table and loader, the sandbox as receiver, and the real program between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.flows.csc.table import create_table, staging_table
from dataflows.sandbox.model import normal
from dataflows.sandbox.server import Sandbox
from dataflows.store.database import connect

TABLE = "ssd_api_data_staging"
QUICK = {
    "HTTP_ATTEMPTS": "3",
    "HTTP_MAX_WAIT_SECONDS": "0.01",
    "HTTP_TIMEOUT_SECONDS": "5",
    "HTTP_CONNECT_TIMEOUT_SECONDS": "2",
}


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended; ``document`` is what it printed with --json."""

    code: int
    document: dict[str, Any]
    err: str

    def __getitem__(self, name: str) -> Any:
        return self.document[name]


class Loader:
    """The authority's job that fills the staging table. It may run at any moment."""

    def __init__(self, url: str) -> None:
        self.engine = connect(url)
        self.table = staging_table(TABLE)
        self._all = self.table.select().order_by(self.table.c.id)
        self._begun: sa.Connection | None = None
        if self.engine.dialect.name == "mssql":  # the program makes none there
            self.table.create(self.engine, checkfirst=True)
        else:
            create_table(self.engine, TABLE)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All changes of the block in one transaction."""
        with self.engine.begin() as connection:
            self._begun = connection
            try:
                yield
            finally:
                self._begun = None

    def stage(self, *payloads: Mapping[str, Any] | str, **columns: Any) -> list[int]:
        """Insert new rows; returns their ids."""
        with self.engine.begin() as connection:
            return [self._insert(connection, payload, columns) for payload in payloads]

    def _insert(self, connection: sa.Connection, payload: Mapping[str, Any] | str, columns: Mapping[str, Any]) -> int:
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        identifier = "" if isinstance(payload, str) else str(payload.get("la_child_id", ""))
        values = {"person_id": f"p{identifier}", "submission_status": "Pending", "row_state": "New", **columns}
        done = connection.execute(self.table.insert().values(json_payload=text, **values))
        assert done.inserted_primary_key is not None
        return int(done.inserted_primary_key[0])

    def restage(self, row_id: int, payload: Mapping[str, Any] | str, *, overwrite_previous: bool = False) -> None:
        """Load another payload into a row. Some loaders move the old payload to ``previous`` whether sent or not."""
        text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
        changed: dict[str, Any] = {"json_payload": text, "submission_status": "Pending", "row_state": "Updated"}
        if overwrite_previous:
            changed["previous_json_payload"] = self.table.c.json_payload
        self.change(row_id, **changed)

    def delete(self, *row_ids: int) -> None:
        """Mark rows deleted; as the real loader does, their status stays what it is."""
        for row_id in row_ids:
            self.change(row_id, row_state="Deleted")

    def change(self, row_id: int, **columns: Any) -> None:
        """Change columns of a row."""
        with nullcontext(self._begun) if self._begun else self.engine.begin() as connection:
            connection.execute(self.table.update().where(self.table.c.id == row_id).values(**columns))

    def row(self, row_id: int) -> sa.Row[Any]:
        """Return a row as it is now."""
        with self.engine.connect() as connection:
            return connection.execute(self.table.select().where(self.table.c.id == row_id)).one()

    def rows(self) -> Sequence[sa.Row[Any]]:
        """Return all rows."""
        with self.engine.connect() as connection:
            return connection.execute(self._all).all()

    def statuses(self) -> list[str]:
        """Return the status of all rows, in order."""
        return [row.submission_status for row in self.rows()]


class World(Loader):
    """A loader with the program and the receiver beside it."""

    def __init__(self, folder: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'staging.db'}"
        super().__init__(self.url)
        self.box = box
        self.capsys = capsys
        self.environment = {
            **box.settings(),
            **QUICK,
            "DB_CONNECTION_STRING": self.url,
            "DATA_DIR": str(folder / "data"),
        }

    def submit(self, *arguments: str, **environment: str) -> Ran:
        """Run ``csc-submit`` inside this process."""
        return self.call("csc-submit", *arguments, "--json", **environment)

    def call(self, *arguments: str, **environment: str) -> Ran:
        """Run the program inside this process with the settings of this world."""
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            code = main(list(arguments))
        out, err = self.capsys.readouterr()
        return Ran(code, json.loads(out) if out.startswith("{") else {}, err)

    def held(self, payload: Mapping[str, Any]) -> bool:
        """Tell whether the receiver holds exactly this payload."""
        return self.box.receiver.child(str(payload["la_child_id"])) == normal(payload)

    def requests(self) -> list[Any]:
        """Return the bodies that were posted with children in them, in order of arrival."""
        return [exchange.body for exchange in self.box.receiver.requests if exchange.records]
