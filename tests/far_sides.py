"""Far sides that never end, or send what should not be read: the program as a process against each of them.

Each cell is one far side with one behaviour. What counts is measured from outside: the exit code, the seconds from the
first request to the end of the process, and the most memory that it ever had.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dataflows.sandbox.faults import ENDLESS, endless
from dataflows.sandbox.server import Sandbox
from tests.flows.csc.children import child
from tests.flows.csc.world import Loader
from tests.flows.patients.world import registration
from tests.processes import Program

DEADLINE = 3.0
"""Seconds that a request may take in these tests, all its attempts included."""
MEGABYTES = 150
GUARD = 150.0  # seconds until a process is killed, whatever it does
WAITS = ("interim", "slow headers", "drip", "silence")
"""The behaviours that would last for ever without a deadline: those that a signal has to end."""
MAIL = ("greeting", "lines", "one line", "drip")
KAFKA = ("silence", "drip", "large", "flood", "wrong")

_QUICK = {
    "HTTP_ATTEMPTS": "1",
    "HTTP_TIMEOUT_SECONDS": "2",
    "HTTP_CONNECT_TIMEOUT_SECONDS": "1",
    "HTTP_DEADLINE_SECONDS": str(DEADLINE),
    "HTTP_MAX_WAIT_SECONDS": "0.05",
    "CQC_DEADLINE_SECONDS": str(DEADLINE),
    "CQC_RETRIES": "0",
    "CQC_MAX_BYTES": "20000000",
    "HOSPITALS_WAKE_SECONDS": "2",
    "HOSPITALS_SETTLE_SECONDS": "0.2",
    "HOSPITALS_LOOK_EVERY_SECONDS": "0.1",
    "LOG_LEVEL": "warning",
}
_LONG = ("HTTP_TIMEOUT_SECONDS", "HTTP_DEADLINE_SECONDS", "CQC_DEADLINE_SECONDS", "HOSPITALS_WAKE_SECONDS")
_PATIENT = dict.fromkeys(_LONG, "300")


@dataclass
class Place:
    """What a cell has of its own: a folder, the sandbox, settings, and when the far side first heard of the program."""

    folder: Path
    box: Sandbox
    settings: dict[str, str]
    first: list[float] = field(default_factory=list)

    def heard(self) -> None:
        """The program has arrived."""
        self.first.append(time.monotonic())


@dataclass(frozen=True)
class FarSide:
    """One far side: the command that asks it, the exit codes that it may end with, and how it is made to misbehave."""

    name: str
    arguments: tuple[str, ...]
    codes: frozenset[int]
    behaviours: tuple[str, ...]
    misbehave: Callable[[Place, str], object]
    deadline: float = DEADLINE


@dataclass(frozen=True)
class Measured:
    """How one cell ended."""

    far_side: FarSide
    behaviour: str
    code: int
    seconds: float
    megabytes: float
    err: str

    def wrong(self) -> str:
        """What is not as it must be; empty when all is."""
        far = self.far_side
        faults = [
            f"exit {self.code}" if self.code not in far.codes else "",
            f"{self.seconds:.1f} s" if self.seconds > far.deadline + 5 else "",
            f"{self.megabytes:.0f} MB" if self.megabytes > MEGABYTES else "",
            "a traceback" if "Traceback" in self.err else "",
        ]
        found = ", ".join(one for one in faults if one)
        return f"{far.name} / {self.behaviour}: {found}\n{self.err[-400:]}" if found else ""

    def row(self) -> str:
        """One line of the table."""
        told = (self.far_side.name, self.behaviour, self.code, f"{self.seconds:.1f} s", f"{self.megabytes:.0f} MB")
        return "| " + " | ".join(map(str, told)) + " |"


def _fault(name: str, **more: object) -> Callable[[Place, str], object]:
    def misbehave(place: Place, behaviour: str) -> None:
        service = place.box.faults[name]
        service.set(endless_share=1.0, endless_by=behaviour, **more)
        judge = service.judge

        def judged() -> object:
            verdict = judge()
            if verdict.endless:
                place.heard()
            return verdict

        service.judge = judged  # type: ignore[method-assign,assignment]

    return misbehave


def _lists(place: Place, _: str) -> None:
    faults = place.box.bucket.faults
    faults.set(endless_list=True, page_size=1000)
    judge = faults.judge

    def judged() -> object:
        place.heard()
        return judge()

    faults.judge = judged  # type: ignore[method-assign,assignment]


def _pings(place: Place, behaviour: str) -> None:
    port = _listening(place, lambda connection: _http(connection, behaviour))
    place.settings["HEALTHCHECK_URL_PATIENT_IMPORT"] = f"http://127.0.0.1:{port}/synthetic"


def _metadata(place: Place, behaviour: str) -> None:
    """Where a machine of Google's would answer who it is; no other credentials are there."""
    port = _listening(place, lambda connection: _http(connection, behaviour))
    place.settings |= {"STORAGE_EMULATOR_HOST": "", "GCE_METADATA_IP": f"127.0.0.1:{port}"}
    place.settings |= {"GCE_METADATA_HOST": f"127.0.0.1:{port}", "CLOUDSDK_CONFIG": str(place.folder)}


def _mails(place: Place, behaviour: str) -> None:
    port = _listening(place, lambda connection: _smtp(connection, behaviour))
    place.settings["SMTP_PORT"] = str(port)


def _brokers(place: Place, behaviour: str) -> None:
    port = _listening(place, lambda connection: _kafka(connection, behaviour))
    place.settings["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{port}"


def _listening(place: Place, talk: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            talk(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                place.heard()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def _http(connection: socket.socket, behaviour: str) -> None:
    path = connection.recv(10_000).split(b" ", 2)[1].decode()
    _write(connection, endless(behaviour, path))


def _smtp(connection: socket.socket, behaviour: str) -> None:
    if behaviour == "greeting":
        _write(connection, iter(lambda: (b"220-synthetic\r\n" * 1000, 0.0), None))
    connection.sendall(b"220 synthetic\r\n")
    connection.recv(1000)
    if behaviour == "drip":
        _write(connection, iter(lambda: (b"2", 0.2), None))
    line = b"250-synthetic\r\n" * 1000 if behaviour == "lines" else b"2" * 10_000
    _write(connection, iter(lambda: (line, 0.0), None))


def _kafka(connection: socket.socket, behaviour: str) -> None:
    """What answers a broker's client: a length of four bytes, then so many; nothing after which it would go on."""
    connection.recv(1000)
    gigabyte, megabytes = (1 << 30).to_bytes(4, "big"), (8_000_000).to_bytes(4, "big")
    if behaviour == "silence":
        connection.recv(1 << 20)
    elif behaviour == "drip":
        connection.sendall(megabytes)
        _write(connection, iter(lambda: (b"\0", 0.2), None))
    elif behaviour == "wrong":
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    else:
        connection.sendall(gigabyte if behaviour == "large" else megabytes)
        _write(connection, iter(lambda: (bytes(100_000), 0.0), None))


def _write(connection: socket.socket, pieces: Iterator[tuple[bytes, float]]) -> None:
    pause = threading.Event()
    for piece, seconds in pieces:
        connection.sendall(piece)
        pause.wait(seconds)


_ANY_FAILURE = frozenset({3, 4, 10, 12, 13, 14})
FAR_SIDES = (
    FarSide("token", ("csc-submit",), frozenset({10, 12, 13}), ENDLESS, _fault("token")),
    FarSide("csc", ("csc-submit",), _ANY_FAILURE, ENDLESS, _fault("receiver")),
    FarSide("directory", ("hospitals-bulk", "hospitals.csv"), frozenset({10, 13}), ENDLESS, _fault("directory")),
    FarSide(  # what was committed before the answer is found there, and is done
        "directory create",
        ("hospitals-bulk", "hospitals.csv"),
        _ANY_FAILURE | {0},
        ENDLESS,
        _fault("directory/create"),
        deadline=3 * DEADLINE,
    ),
    FarSide("cqc", ("cqc-fetch", "--output", "out"), _ANY_FAILURE, ENDLESS, _fault("cqc"), deadline=2 * DEADLINE),
    FarSide("bucket", ("patient-import",), frozenset({10, 13}), ENDLESS, _fault("bucket")),
    FarSide("bucket download", ("patient-import",), _ANY_FAILURE, ENDLESS, _fault("bucket", only="download")),
    FarSide("bucket list", ("patient-import",), frozenset({13}), ("pages",), _lists, deadline=DEADLINE + 5),
    FarSide("metadata", ("patient-import",), frozenset({10, 12, 13}), ENDLESS, _metadata, deadline=25),
    FarSide("mail", ("test-endpoint", "--target", "mail"), frozenset({13}), MAIL, _mails, deadline=60),
    FarSide("kafka", ("test-endpoint", "--target", "kafka"), frozenset({13}), KAFKA, _brokers, deadline=15),
    FarSide("kafka events", ("patient-import",), frozenset({0}), KAFKA, _brokers, deadline=35),  # which wait
    FarSide("ping", ("patient-import",), frozenset({0}), ENDLESS, _pings, deadline=30),
)


@contextmanager
def _running(folder: Path, far: FarSide, behaviour: str, more: Mapping[str, str]) -> Iterator[tuple[Place, int, Path]]:
    folder.mkdir(parents=True)
    with Sandbox(seed=1) as box:
        url = f"sqlite:///{folder / 'staging.db'}"
        loader = Loader(url)
        loader.stage(child(1))
        loader.engine.dispose()
        (folder / "hospitals.csv").write_text("name,address\nSynthetic Clinic,1 Example Road\n", encoding="utf-8")
        box.directory.faults.set(create_ms=10.0, creates_per_minute=0, calls_per_minute=0)
        box.bucket.put("mustermann_max_20250705_0b1ab67b.json", json.dumps(registration()).encode())
        settings = {**box.settings(), **_QUICK, **more, "DB_CONNECTION_STRING": url, "DATA_DIR": str(folder / "data")}
        place = Place(folder, box, settings)
        far.misbehave(place, behaviour)
        said = folder / "said.txt"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dataflows", *far.arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=folder,
                env=Program(folder, place.settings).environment,
            )
        try:
            yield place, process.pid, said
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.returncode = 0  # it has been waited for


def measured(folder: Path, far: FarSide, behaviour: str, *, terminate: bool = False) -> Measured:
    """Run one cell; with ``terminate`` there is no deadline worth the name, and SIGTERM comes after the first byte."""
    with _running(folder, far, behaviour, _PATIENT if terminate else {}) as (place, pid, said):
        began = time.monotonic()
        guard, memory = threading.Timer(GUARD, lambda: _kill(pid)), Memory(pid)
        guard.start()
        memory.start()
        if terminate:
            while not place.first and time.monotonic() < began + 60:
                time.sleep(0.05)
            time.sleep(0.5)
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        ended = time.monotonic()
        guard.cancel()
        memory.join()
        since = began if terminate else (place.first or [began])[0]
        text = said.read_text(encoding="utf-8", errors="replace")
        return Measured(far, behaviour, os.waitstatus_to_exitcode(status), ended - since, memory.megabytes, text)


class Memory(threading.Thread):
    """The most memory that a process ever had. What wait4 says of it counts the process that it was forked from."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.megabytes = 0.0

    def run(self) -> None:
        pause = threading.Event()
        with suppress(OSError, StopIteration):  # when it has ended
            while True:
                lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
                high = next(line for line in lines if line.startswith("VmHWM"))
                self.megabytes = int(high.split()[1]) / 1024
                pause.wait(0.02)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
