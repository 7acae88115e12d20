"""The sandbox: all stand-ins behind one address on loopback, and the faults between them and the client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from dataflows.flows.csc.schema import ChildSchema
from dataflows.sandbox.bucket import BUCKET, SandboxBucket
from dataflows.sandbox.cqc import SOURCES, Cqc
from dataflows.sandbox.directory import SandboxDirectory
from dataflows.sandbox.mailbox import RECIPIENT, SENDER, Mailbox
from dataflows.sandbox.model import CLIENT_ID, CLIENT_SECRET, SCOPE, TENANT, Model, TokenIssuer
from dataflows.sandbox.receiver import LA_CODE, SUPPLIER_KEY, SandboxReceiver
from dataflows.sandbox.wire import HOST, LoopbackServer, RequestRouter


class Sandbox:
    """All stand-ins behind one address. A context manager; ``start`` and ``stop`` keep address and state.

    Attributes:
        token, receiver, cqc, directory, bucket, mailbox: the stand-ins, with their faults, state and history.
        faults: the faults of every stand-in by its name, and those of one kind of call as ``directory/create``; what
            is given at the start is what ``reset`` goes back to.
    """

    def __init__(
        self,
        seed: int = 0,
        port: int = 0,
        *,
        mail_port: int = 0,
        model: Model = "merge",
        lean: bool = False,
        schema: ChildSchema | None = None,
        faults: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.token = TokenIssuer(seed=seed, lean=lean)
        self.receiver = SandboxReceiver(self.token, seed=seed, model=model, lean=lean, schema=schema)
        self.cqc = Cqc(seed=seed, lean=lean)
        self.directory = SandboxDirectory(seed=seed, lean=lean)
        self.bucket = SandboxBucket(seed=seed, lean=lean)
        self.mailbox = Mailbox(mail_port, seed=seed, lean=lean)
        self._services = (self.token, self.receiver, self.cqc, self.directory, self.bucket, self.mailbox)
        self._router = RequestRouter(self._services)
        self.faults = self._router.faults
        for name, changes in (faults or {}).items():
            self.faults[name].begin_with(**changes)
        self._port = port
        self._server: LoopbackServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:8500``."""
        return f"http://{HOST}:{self._port}"

    def settings(self) -> dict[str, str]:
        """The settings that point the commands at this sandbox, by environment name."""
        return {
            "TOKEN_ENDPOINT": f"{self.url}/{TENANT}/oauth2/v2.0/token",
            "API_ENDPOINT": self.url,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            "SCOPE": SCOPE,
            "SUPPLIER_KEY": SUPPLIER_KEY,
            "LA_CODE": LA_CODE,
            "EXTERNAL_API_BASE_URL": f"{self.url}/directory",
            "STORAGE_EMULATOR_HOST": self.url,
            "GCS_BUCKET": BUCKET,
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.mailbox.port),
            "SMTP_STARTTLS": "false",
            "MAIL_FROM": SENDER,
            "NOTIFY_EMAIL": RECIPIENT,
            **{f"CQC_URL_{source.upper()}": f"{self.url}/cqc/{source}.csv?display=csv" for source in SOURCES},
        }

    def start(self) -> Sandbox:
        """Listen (again at the same port after ``stop``).

        Raises:
            OSError: the port is taken.
        """
        server = LoopbackServer(self._port, self._router.serve, self._router.bugs)
        try:
            self.mailbox.start()
        except OSError:
            server.server_close()
            raise
        self._server = server
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every connection; what is stored stays.

        Raises:
            Exception: the sandbox itself failed on some request; the first such error.
        """
        self.mailbox.stop()
        if self._server is None or self._thread is None:
            return
        self._server.stop()
        self._thread.join()
        self._server = self._thread = None
        if self._router.bugs:
            raise self._router.bugs[0]

    def reset(self) -> None:
        """Forget what is stored and what arrived; faults go back to those at the start."""
        for service in self._services:
            service.reset()

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
