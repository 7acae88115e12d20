"""Measures cqc-fetch against curl: wall time, CPU and memory for one large export, verification included.

    python benchmarks/cqc.py [--megabytes 200] [--rates 100 0] [--runs 3]

A server in a process of its own sends a synthetic export from memory, as fast as it can (rate 0) or limited to so many
MB/s. curl writes it to a file; then the real program fetches it: asks, checks every record, hashes, writes, flushes to
the disk, and names the file. ``fetch s`` is its own figure, from asking to the final name; ``process s`` includes
starting Python and opening the journal. CPU and peak memory are the operating system's figures of the finished process;
what a run without download costs (``--dry-run``) is taken off the CPU, a bare interpreter off the memory. Runs take
turns and the medians are shown. A last table compares two files of 57,000 records (``--changes``) and merges them.
"""

from __future__ import annotations

import argparse
import json
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
import socket, sys, threading, time
path, rate = sys.argv[1], float(sys.argv[2]) * 1e6
body = open(path, "rb").read()
lines = ["HTTP/1.1 200 OK", "Content-Type: text/csv", f"Content-Length: {len(body)}", "Connection: close", "", ""]
head = "\\r\\n".join(lines).encode()
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), listener.shutdown(2)), daemon=True).start()
STEP = 64 * 1024
def answer(line):
    with line:
        while not line.recv(65536).endswith(b"\\r\\n\\r\\n"):
            pass
        line.sendall(head)
        view, began = memoryview(body), time.monotonic()
        if not rate:
            return line.sendall(view)
        for start in range(0, len(body), STEP):
            ahead = start / rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
            line.sendall(view[start : start + STEP])
while True:
    try:
        answer(listener.accept()[0])
    except ConnectionError:
        pass
    except OSError:
        break
"""


@dataclass(frozen=True)
class Measured:
    """One finished process."""

    wall: float
    cpu: float
    peak_mb: float
    out: str

    @property
    def document(self) -> dict[str, Any]:
        """What it printed, as JSON."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@contextmanager
def server(body: Path, rate: float) -> Iterator[str]:
    """The address of a server that sends this file at ``rate`` MB/s (0: unlimited)."""
    command = [sys.executable, "-c", SERVER, str(body), str(rate)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/export.csv"
        process.stdin.close()


def measure(*command: str, environment: dict[str, str] | None = None) -> Measured:
    """Run a command to its end."""
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    if status:
        sys.exit(f"{command[0]} failed: {out}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out)


EXPORT = """
import sys
from dataflows.sandbox.cqc import text_of
path, source, records, edition, megabytes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
text = text_of(source, records, edition).encode()
size = 0
with open(path, "wb") as file:
    size += file.write(text)
    while size < megabytes * 1e6:
        size += file.write(text.split(b"\\n", 1)[1])
"""


def export(path: Path, source: str, records: int, edition: int, megabytes: int = 0) -> None:
    """Write a synthetic export, its records over again until it has this size.

    In a process of its own, since Linux counts the memory of a parent as a peak of its children.
    """
    numbers = [str(number) for number in (records, edition, megabytes)]
    subprocess.run([sys.executable, "-c", EXPORT, str(path), source, *numbers], check=True)


def fetch(url: str, folder: Path, *arguments: str) -> Measured:
    """Run the real program for one source."""
    environment = {
        **os.environ,
        "CQC_URL_HOMECARE": url,
        "DATA_DIR": str(folder / "data"),
        "CQC_MAX_BYTES": "2000000000",
    }
    command = [sys.executable, "-m", "dataflows", "--quiet", "cqc-fetch", "--source", "homecare", "--json"]
    return measure(*command, "--output", str(folder / "out"), *arguments, environment=environment)


LIBRARIES = "import typer, typer._adapters, pydantic_settings, rich.console, urllib3, tenacity"


def downloads(megabytes: int, rates: list[float], runs: int) -> None:
    """Compare with curl at every rate."""
    print("| link | way | fetch s | process s | of curl | CPU ms/MB | peak MB over a bare interpreter |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    bare = measure(sys.executable, "-c", "pass").peak_mb
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        body = folder / "export.csv"
        export(body, "homecare", 20_000, 1, megabytes)
        size = body.stat().st_size / 1e6
        for rate in rates:
            with server(body, rate) as url:
                curls, ours = [], []
                for _ in range(runs):
                    curls.append(measure("curl", "-s", "-o", str(folder / "curl.csv"), url))
                    ours.append(fetch(url, folder))
                    for file in (folder / "out").glob("*.csv"):
                        file.unlink()
                idle = statistics.median(fetch(url, folder, "--dry-run").cpu for _ in range(runs))
            _report(f"{rate:g} MB/s" if rate else "unlimited", size, curls, ours, idle, bare)
    loaded = statistics.median(measure(sys.executable, "-c", LIBRARIES).wall for _ in range(runs))
    print(f"\nPython with the libraries loaded and nothing done: {loaded:.2f} s of every process")


def _report(link: str, size: float, curls: list[Measured], ours: list[Measured], idle: float, bare: float) -> None:
    curl = statistics.median(one.wall for one in curls)
    cpu = statistics.median(one.cpu for one in curls)
    print(f"| {link} | curl | {curl:.2f} | {curl:.2f} | 1.00 | {cpu * 1e3 / size:.1f} | |")
    own = statistics.median(one.document["results"]["homecare"]["seconds"] for one in ours)
    wall = statistics.median(one.wall for one in ours)
    cpu = (statistics.median(one.cpu for one in ours) - idle) * 1e3 / size
    peak = max(one.peak_mb for one in ours) - bare
    print(f"| {link} | cqc-fetch | {own:.2f} | {wall:.2f} | {own / curl:.2f} | {cpu:.1f} | {peak:.0f} |", flush=True)


COMPARE = """
import json, sys, time
from pathlib import Path
from dataflows.flows.cqc.derived import write_changes, write_merged
folder = Path(sys.argv[1])
before, after = folder / "before.csv", folder / "after.csv"
began = time.monotonic()
totals = write_changes(before, after, folder / "changes.csv")
compared = time.monotonic() - began
began = time.monotonic()
rows = write_merged([("a", before), ("b", after)], folder / "merged.csv")
merged = time.monotonic() - began
print(json.dumps([compared, totals.new, totals.gone, totals.changed, merged, rows]))
"""


def comparisons(records: int) -> None:
    """Compare and merge two editions of the weekly directory."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for edition, name in ((1, "before"), (2, "after")):
            export(folder / f"{name}.csv", "directory", records, edition)
        size = (folder / "after.csv").stat().st_size / 1e6
        idle = measure(sys.executable, "-c", COMPARE.partition("folder =")[0], "x").peak_mb
        done = measure(sys.executable, "-c", COMPARE, place)
    compared, new, gone, changed, merged, rows = json.loads(done.out)
    print(f"\ntwo files of {records} records, {size:.1f} MB each:", end=" ")
    print(f"{new} new, {gone} gone, {changed} changed, {rows} merged\n")
    print("| what | s | peak MB over the loaded program |\n| --- | ---: | ---: |")
    print(f"| --changes | {compared:.2f} | {done.peak_mb - idle:.0f} (both) |\n| --merged | {merged:.2f} | |")


def main() -> None:
    """Measure and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rates", type=float, nargs="+", default=[100, 0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--records", type=int, default=57_000)
    asked = parser.parse_args()
    downloads(asked.megabytes, asked.rates, asked.runs)
    comparisons(asked.records)


if __name__ == "__main__":
    main()
