"""Measures how soon ``serve`` answers /health while it is at work, against the same server that has nothing to do.

    python benchmarks/serve.py [--seconds 6] [--rows 400]

Sandbox and server are processes of their own. At work: three uploads of different hospitals, one POST /run, and ten
callers that fetch a CQC file again and again. /health is asked by curl, a new process and connection each time, so that
no interpreter of this script is in the way; what is shown is curl's own ``time_total``.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOKEN = "synthetic-token-0123456789"
CALLERS = 10
BATCHES = "abc"


def main() -> int:
    """Measure both, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rows", type=int, default=400)
    wish = parser.parse_args()
    print("| server | asked | median ms | 99 % ms | longest ms | CPU s of the server |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox(Path(name)) as env_file,
        serving(Path(name), env_file) as server,
    ):
        server.row("idle", wish.seconds)
        with server.at_work(wish.rows):
            server.row("at work", wish.seconds)
    return 0


class Server:
    """The running server."""

    def __init__(self, address: str, pid: int) -> None:
        self.address = address
        self.pid = pid

    def row(self, name: str, seconds: float) -> None:
        """Ask for /health so long, and print what came of it."""
        before = self._cpu()
        times = sorted(self._asked(seconds))
        share = times[int(len(times) * 0.99)]
        print(
            f"| {name} | {len(times)} | {statistics.median(times):.1f} | {share:.1f} | {times[-1]:.1f}"
            f" | {self._cpu() - before:.1f} |"
        )

    def _asked(self, seconds: float) -> Iterator[float]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            command = ["curl", "-sf", "-o", os.devnull, "-w", "%{time_total}", f"{self.address}/health"]
            yield 1000 * float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def _cpu(self) -> float:
        import psutil

        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    @contextmanager
    def at_work(self, rows: int) -> Iterator[None]:
        """Give it work for the length of the block."""
        done = threading.Event()
        threads = [threading.Thread(target=self._uploaded, args=(tag, rows)) for tag in BATCHES]
        threads += [threading.Thread(target=self._fetched, args=(done,)) for _ in range(CALLERS)]
        self._call("POST", "/run")  # else there is no file to fetch
        threads.append(threading.Thread(target=self._call, args=("POST", "/run")))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _uploaded(self, tag: str, rows: int) -> None:
        lines = "".join(f"Synthetic Clinic {tag} {row},{row} Example Road,020 7946 0123\n" for row in range(rows))
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="h.csv"\r\n\r\nname,address,phone\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        self._call("POST", "/batch/upload-csv", f"{head}{lines}\r\n--x--\r\n".encode(), kind)

    def _fetched(self, done: threading.Event) -> None:
        while not done.is_set():
            self._call("GET", "/files/latest/homecare")

    def _call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> None:
        request = urllib.request.Request(self.address + path, body, {"X-Auth-Token": TOKEN, **(headers or {})})
        request.method = method
        with urllib.request.urlopen(request) as answer:
            answer.read()


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """Run both."""
    with sandbox(folder) as env_file, serving(folder, env_file) as server:
        yield server


@contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """Run the stand-ins; gives the env file that points at them."""
    env_file = folder / "sandbox.env"
    limits = ["--create-ms", "300", "--creates-per-minute", "0", "--calls-per-minute", "0"]
    command = [sys.executable, "-m", "dataflows", "sandbox", *limits, "--write-env", str(env_file)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not env_file.exists():
            time.sleep(0.05)
        try:
            yield env_file
        finally:
            process.terminate()


@contextmanager
def serving(folder: Path, env_file: Path) -> Iterator[Server]:
    """Run the server."""
    settings = {"RUN_TOKEN": TOKEN, "DATA_DIR": str(folder / "data"), "HOSPITALS_CREATES_PER_MINUTE": "0"}
    command = [sys.executable, "-m", "dataflows", "--env-file", str(env_file), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}) as process:
        assert process.stderr is not None
        address = next(found[1] for line in process.stderr if (found := re.search(r"serving on (http://\S+),", line)))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield Server(address, process.pid)
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
