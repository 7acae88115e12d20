"""Where it is handed over: the real program in this process, the sandbox, and a server that answers what it is told."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from dataflows.cli.main import main
from dataflows.sandbox.server import Sandbox
from dataflows.settings import table

MOST_MEGABYTES = 300
QUICK = {
    **dict.fromkeys(("HTTP_ATTEMPTS", "HTTP_TIMEOUT_SECONDS", "HTTP_CONNECT_TIMEOUT_SECONDS"), "1"),
    **dict.fromkeys(("HTTP_DEADLINE_SECONDS", "CQC_DEADLINE_SECONDS"), "2"),
    **dict.fromkeys(("HTTP_MAX_WAIT_SECONDS", "CQC_RETRIES", "THERAPIST_SETTLE_SECONDS"), "0"),
    **dict.fromkeys(("HOSPITALS_WAKE_SECONDS", "HOSPITALS_SETTLE_SECONDS", "HOSPITALS_WINDOW_SECONDS"), "0.1"),
    "HOSPITALS_LOOK_EVERY_SECONDS": "0.05",
}


class Workshop:
    """One folder for everything; each example begins with an empty data folder."""

    def __init__(self, folder: Path, box: Sandbox, fake: FarSide, settings: Mapping[str, str] | None = None) -> None:
        self.folder, self.box, self.fake = folder, box, fake
        self.data = folder / "data"
        self.most = 0.0
        """The most memory (MB) of all runs so far."""
        self.between = 0.0
        """The most (MB) between two runs, when examples are made up: this belongs to the fuzzing alone."""
        self.settings: Mapping[str, str] = settings if settings is not None else {
            **box.settings(), **QUICK, "DATA_DIR": str(self.data), "SMTP_HOST": "",
            "DB_CONNECTION_STRING": f"sqlite:///{folder / 'data' / 'staging.db'}",
        }  # fmt: skip

    def empty(self) -> None:
        """Forget earlier examples."""
        shutil.rmtree(self.data, ignore_errors=True)

    def run(self, *arguments: str, **settings: str) -> int:
        """Run a command, and check what holds whatever it was given."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        self.between = max(self.between, megabytes())
        count_anew()
        with redirect_stdout(out), redirect_stderr(err), environment({**self.settings, **settings}):
            code = main(arguments)
        said = _written(out) + _written(err)
        assert code != 1, f"a bug: {said}{self.logs()}"
        assert "Traceback" not in said, said
        self.most = max(self.most, most := megabytes())
        assert most < MOST_MEGABYTES, f"{most:.0f} MB"
        return code

    def logs(self) -> str:
        """The logs of the last run, to be shown with a bug."""
        return "".join(path.read_text(encoding="utf-8") for path in sorted((self.data / "logs").glob("*.log")))


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def count_anew() -> None:
    """Let ``megabytes`` begin with what is held now, so that an example has to answer for its own memory alone."""
    with suppress(OSError):  # not every kernel lets one
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def megabytes() -> float:
    """The most memory that this process has had (on Linux: since ``count_anew``); nought on Windows, uncounted."""
    if sys.platform == "win32":
        return 0.0
    if sys.platform == "linux":  # what getrusage says there begins with what the starting process had
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)  # macOS counts bytes


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """These settings and no others of the program."""
    before = dict(os.environ)
    for name in [*(spec.name for spec in table()), *(name for name in before if name.lower().endswith("_proxy"))]:
        os.environ.pop(name, None)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class FarSide:
    """Answers every request with the same bytes, and closes."""

    def __init__(self) -> None:
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        with suppress(OSError), one:
            one.settimeout(2)
            one.recv(65_536)
            one.sendall(self.answer)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65_536):
                pass

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """A workshop for the length of the block."""
    quick = {"create_ms": 0.0, "creates_per_minute": 0, "calls_per_minute": 0}
    fake = FarSide()
    with Sandbox(seed=1, faults={"directory": quick}) as box:
        try:
            yield Workshop(folder, box, fake)
        finally:
            fake.close()
