"""A server to call: ``dataflows serve`` as a process of its own, or its app in a thread of the test's process."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from dataflows.settings import Settings, load
from dataflows.web import server
from dataflows.web.access import Access
from dataflows.web.application import make_app
from dataflows.web.context import ServerContext
from tests.processes import PATIENCE, Program, until

TOKEN = "made-up-token-of-the-tests-7f3a"
HEADER = "X-Auth-Token"
CSV = "name,address,phone\nSynthetic Hospital {0},{0} Example Street,0117 496 0000\n"
_BOUNDARY = "boundary-of-the-tests"
_FAMILY = "CQC_URL_"
_ADDRESS = re.compile(r"serving on http://([\d.]+|\[[\d:]+\]):(\d+)")


@dataclass(frozen=True)
class Answer:
    """One answer: status, headers, body."""

    status: int
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Which error of ours it is."""
        return str(self.document["error"]["code"])


@dataclass
class Caller:
    """Calls a server on loopback. Paths go out as they are: nothing is encoded or resolved on the way."""

    port: int
    token: str | None = TOKEN
    host: str = "127.0.0.1"
    seen: set[tuple[str, str, int]] = field(default_factory=set)
    """Method, path and status of every answer."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}:{self.port}"

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request, with the token unless the headers have another (an empty one: none)."""
        sent = {HEADER: self.token} if self.token else {}
        sent = {name: value for name, value in {**sent, **(headers or {})}.items() if value}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
        self.seen.add((method, path.partition("?")[0], answer.status))
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """GET; headers as ``X_Auth_Token="..."``."""
        return self.call("GET", path, headers=_named(headers))

    def post(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """POST."""
        return self.call("POST", path, body, _named(headers))

    def upload(self, path: str, csv: str | bytes, name: str = "hospitals.csv", **headers: str) -> Answer:
        """POST a file as a form of a browser does."""
        body, kind = form(csv, name)
        return self.post(path, body, content_type=kind, **headers)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        with self.connected() as one:
            one.sendall(sent)
            return rest_of(one)

    def connected(self) -> socket.socket:
        """An open connection."""
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)


def rest_of(one: socket.socket) -> bytes:
    """All that comes on a connection until the server closes it, cleanly or not."""
    got = b""
    try:
        while part := one.recv(65_536):
            got += part
    except ConnectionError:
        pass
    return got


def form(csv: str | bytes, name: str = "hospitals.csv", field_name: str = "file") -> tuple[bytes, str]:
    """A multipart body with one file, and its content type."""
    content = csv.encode() if isinstance(csv, str) else csv
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field_name}"; filename="{name}"\r\n'
    head += "Content-Type: text/csv\r\n\r\n"
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# --- as a process -----------------------------------------------------------------------------------------------------


class Serving(Caller):
    """``dataflows serve`` as a process."""

    def __init__(self, popen: subprocess.Popen[bytes], folder: Path, token: str | None) -> None:
        super().__init__(0, token)
        self.popen = popen
        self.folder = folder
        self.data_dir = folder / "data"

    @property
    def output(self) -> str:
        """What it has printed so far on stderr."""
        return (self.folder / "stderr.txt").read_text(encoding="utf-8")

    def listens(self) -> bool:
        """Whether it has said where it listens; remembers that."""
        found = _ADDRESS.search(self.output)
        assert found or self.popen.poll() is None, self.output
        self.port = int(found[2]) if found else 0
        return found is not None

    def terminate(self) -> int:
        """Do what a service manager does, and return its exit code."""
        name = "CTRL_BREAK_EVENT" if sys.platform == "win32" else "SIGTERM"
        self.popen.send_signal(getattr(signal, name))
        return self.popen.wait(PATIENCE)

    def kill(self) -> None:
        """End it without a word, and wait until it is gone."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[Serving]:
    """Start ``dataflows serve`` on a free port; it never outlives the block.

    Args:
        folder: is made; holds DATA_DIR as ``data``, and what the process prints. May be served again later.
        arguments: further ones of ``serve``.
        settings: by environment name; RUN_TOKEN is ``TOKEN`` unless given (an empty one: none).
    """
    token = settings.setdefault("RUN_TOKEN", TOKEN)
    settings.setdefault("DATA_DIR", str(folder / "data"))
    program = Program(folder, settings)
    with (folder / "stderr.txt").open("wb") as err, (folder / "stdout.txt").open("wb") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", "dataflows", "serve", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=program.environment,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )  # fmt: skip
    process = Serving(popen, folder, token or None)
    try:
        until(process.listens, "the address of the server")
        yield process
    finally:
        process.kill()


# --- in a thread ------------------------------------------------------------------------------------------------------


@dataclass
class Within(Caller):
    """The app in a thread of this process."""

    app: FastAPI = field(default_factory=FastAPI)

    @property
    def context(self) -> ServerContext:
        """Its place of work."""
        context = self.app.state.context
        assert isinstance(context, ServerContext)
        return context


@contextmanager
def within(
    folder: Path,
    settings: Mapping[str, object] | None = None,
    *,
    local: bool = True,
    anonymous: bool = False,
    watch: Mapping[str, float] | None = None,
    change: Callable[[FastAPI], object] = lambda _: None,
) -> Iterator[Within]:
    """Serve the app, by the server of ``dataflows serve``, in a thread of this process.

    Args:
        folder: is made; holds DATA_DIR as ``data``.
        settings: by environment name; RUN_TOKEN is ``TOKEN`` unless given (None: none).
        local: whether it takes its address for one of this machine alone.
        anonymous: as ``--allow-anonymous``.
        watch: as ``--watch``, with the seconds from pass to pass.
        change: is given the app before it starts.
    """
    made = settings_of(folder, settings or {})
    token = made.run_token.reveal() if made.run_token else None
    app = make_app(ServerContext(made, Access(made.run_token, local or anonymous, anonymous=anonymous)), watch=watch)
    change(app)
    sockets = server.listen("127.0.0.1", 0)
    runner = server.server_of(app)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": sockets}, name="server of a test", daemon=True)
    thread.start()
    try:
        until(lambda: runner.started or not thread.is_alive(), "the start of the server")
        assert runner.started
        yield Within(sockets[0].getsockname()[1], token, app=app)
    finally:
        runner.should_exit = True
        thread.join(PATIENCE)
        for one in sockets:
            one.close()
    assert not thread.is_alive()


def settings_of(folder: Path, settings: Mapping[str, object]) -> Settings:
    """Settings of a test, whatever env file lies about."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "test.env"  # for those that are a family of names, which no flag can set
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items() if name.startswith(_FAMILY)))
    flags = {name.lower(): value for name, value in settings.items() if not name.startswith(_FAMILY)}
    return load(file, overrides={"data_dir": str(folder / "data"), "run_token": TOKEN, **flags})
