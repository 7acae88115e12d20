"""Measures hospitals-bulk: wall time against the bound, CPU per row and memory, beside three other ways to send rows.

    python benchmarks/hospitals.py [--cases 20x600x20 1000x50x20 10000x5x32] [--runs 3]

A case is rows x latency in ms x workers. The server keeps batches as the Directory does (404 on empty, activation) and
answers every call after the latency, in a process of its own on one event loop. The ways:

- ``raw sockets``: the floor. One connection per worker, ready-made bytes, the creates alone: no journal, no look.
- ``requests``: what a careful script does: a shared session, its pool as large as the workers, the creates alone.
- ``requests.post``: what most scripts do.
- ``hospitals-bulk``: the real program: CSV, journal, looks, activation of every batch, check of what is there.

``bound`` is ceil(rows / workers) x latency for the creates; for hospitals-bulk plus five single calls (spec page
``hospitals``). ``job s`` is the run itself, ``process s`` adds the start of Python. CPU and peak memory are the
operating system's figures of the finished process; what starting and importing costs is taken off the CPU, a bare
interpreter off the memory. Ways take turns, medians are shown.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = """
import asyncio, json, sys
latency = float(sys.argv[1]) / 1000
batches, number = {}, 0

def created(body):
    global number
    record = json.loads(body)
    number += 1
    record = {"id": number, "phone": None, **record, "active": False, "created_at": "2026-03-01"}
    batches.setdefault(record["creation_batch_id"], []).append(record)
    return 200, record

def answer(method, path, body):
    if method == "POST":
        return created(body)
    if path.count("/") == 1:
        return 200, {"status": "OK"}
    if path == "/hospitals/":
        return 200, [record for batch in batches.values() for record in batch]
    records = batches.get(path.split("/")[3], [])
    if not records:
        return 404, {"detail": "none"}
    if method == "PATCH":
        for record in records:
            record["active"] = True
        return 200, {"activated_count": len(records)}
    return 200, records

class Line(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        head, end, rest = self.data.partition(b"\\r\\n\\r\\n")
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\\r\\n")[0]) if at >= 0 else 0
        if end and len(rest) >= length:
            self.data = b""
            method, path, _ = head.decode("latin-1").split(" ", 2)
            loop.call_later(latency, self.reply, method, path, rest)
    def reply(self, method, path, body):
        status, value = answer(method, path, body)
        text = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(text)}\\r\\n\\r\\n"
        self.transport.write(head.encode() + text)

async def main():
    global loop
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Line, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""

CLIENT = """
import csv, json, queue, socket, sys, threading
way, port, workers, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(path, encoding="utf-8", newline="") as file:
    rows = [{**row, "creation_batch_id": f"b{n // 20}"} for n, row in enumerate(csv.DictReader(file))]
todo = queue.SimpleQueue()
for row in rows:
    todo.put(row)
url = f"http://127.0.0.1:{port}/hospitals/"

def raw():
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    def send(row):
        body = json.dumps(row).encode()
        head = f"POST /hospitals/ HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        line.sendall(head.encode() + body)
        got = line.recv(65536)
        while b"}" not in got:
            got += line.recv(65536)
    return send

def shared():
    return lambda row: session.post(url, json=row, timeout=30).json()["id"]

def single():
    return lambda row: requests.post(url, json=row, timeout=30).json()["id"]

if way != "raw":
    import requests
    session = requests.Session()
    session.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=workers)
    session.mount("http://", adapter)

def labour():
    send = {"raw": raw, "shared": shared, "single": single}[way]()
    while True:
        try:
            row = todo.get_nowait()
        except queue.Empty:
            return
        send(row)

threads = [threading.Thread(target=labour) for _ in range(workers if rows else 0)]
import time
began = time.monotonic()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(time.monotonic() - began)
"""

WAYS = {"raw": "raw sockets", "shared": "requests", "single": "requests.post", "ours": "hospitals-bulk"}


@dataclass(frozen=True)
class Case:
    """One load: so many rows, so long an answer, so many workers."""

    rows: int
    latency_ms: float
    workers: int

    @classmethod
    def of(cls, text: str) -> Case:
        """Read ``rows x latency x workers``."""
        rows, latency, workers = text.split("x")
        return cls(int(rows), float(latency), int(workers))

    def bound(self, way: str) -> float:
        """Seconds that no client can be faster than."""
        rounds = math.ceil(self.rows / self.workers) + (5 if way == "ours" else 0)
        return rounds * self.latency_ms / 1000

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.latency_ms:g} ms, {self.workers} workers"


@dataclass(frozen=True)
class Measured:
    """One finished process; ``job`` is what it says of itself, in seconds."""

    job: float
    wall: float
    cpu: float
    peak_mb: float


@contextmanager
def server(latency_ms: float) -> Iterator[int]:
    """The port of a fresh server."""
    command = [sys.executable, "-c", SERVER, str(latency_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()


def finished(command: list[str], environment: dict[str, str]) -> tuple[str, Measured]:
    """Run a process to its end; returns what it printed."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    out, said = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:4])} failed: {out[-2000:]} {said[-2000:]}")
    return out, Measured(0, time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def run(way: str, case: Case, file: Path, folder: Path) -> Measured:
    """Send the rows of the file in one way, to a server that knows none of them."""
    with server(case.latency_ms) as port:
        environment = {**os.environ, "DATA_DIR": str(folder / f"data-{port}"), "HOSPITALS_CREATES_PER_MINUTE": "0"}
        environment["EXTERNAL_API_BASE_URL"] = f"http://127.0.0.1:{port}"
        if way == "ours":
            command = [sys.executable, "-m", "dataflows", "--quiet", "hospitals-bulk", str(file), "--json"]
            command += ["--max-rows", "0", "--workers", str(case.workers)]
        else:
            command = [sys.executable, "-c", CLIENT, way, str(port), str(case.workers), str(file)]
        out, measured = finished(command, environment)
    job = float(out) if way != "ours" else _seconds_of(json.loads(out), case)
    return Measured(job, measured.wall, measured.cpu, measured.peak_mb)


def _seconds_of(document: dict[str, Any], case: Case) -> float:
    if document["processed_hospitals"] != case.rows or not document["batch_activated"]:
        sys.exit(f"not all rows are active: {document['processed_hospitals']} of {case.rows}")
    return float(document["processing_time_seconds"])


def write_rows(file: Path, count: int) -> None:
    """A CSV of synthetic hospitals."""
    lines = [f"Synthetic Hospital {n},{n} Synthetic Road Example Town,01632 {960000 + n % 1000}" for n in range(count)]
    file.write_text("\n".join(["name,address,phone", *lines, ""]), encoding="utf-8")


def started(way: str, folder: Path) -> float:
    """CPU seconds of a process that does everything but send: no rows, or rows that are only checked."""
    file = folder / "one.csv"
    write_rows(file, 1 if way == "ours" else 0)
    command = [sys.executable, "-c", CLIENT, way, "0", "1", str(file)]
    if way == "ours":
        command = [sys.executable, "-m", "dataflows", "--quiet", "hospitals-bulk", str(file), "--json", "--dry-run"]
    return finished(command, {**os.environ, "DATA_DIR": str(folder / "data-idle")})[1].cpu


def compare(case: Case, ways: list[str], runs: int, folder: Path) -> None:
    """Measure one case and print its lines."""
    file = folder / "hospitals.csv"
    write_rows(file, case.rows)
    taken: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            taken[way].append(run(way, case, file, folder))
    bare = finished([sys.executable, "-c", "pass"], dict(os.environ))[1].peak_mb
    for way in ways:
        _report(way, case, taken[way], started(way, folder), bare)


def _report(way: str, case: Case, all_runs: list[Measured], idle: float, bare: float) -> None:
    def median(name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in all_runs))

    bound, job = case.bound(way), median("job")
    cpu = (median("cpu") - idle) / case.rows * 1e6
    figures = f"{bound:.2f} | {job:.2f} | {job / bound:.2f} | {median('wall'):.2f} | {cpu:.0f}"
    print(f"| {case} | {WAYS[way]} | {figures} | {median('peak_mb') - bare:.0f} |", flush=True)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=["20x600x20", "1000x50x20", "10000x5x32"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    print("| load | way | bound s | job s | of bound | process s | CPU µs/row | peak MB over a bare interpreter |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as place:
        for text in asked.cases:
            compare(Case.of(text), asked.ways, asked.runs, Path(place))


if __name__ == "__main__":
    main()
