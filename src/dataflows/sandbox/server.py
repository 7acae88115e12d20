"""The sandbox: all stand-ins behind one address on loopback, and the faults between them and the client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from dataflows.flows.csc.schema import ChildSchema
from dataflows.sandbox.bucket import BUCKET, SandboxBucket
from dataflows.sandbox.cqc import SOURCES, Cqc
from dataflows.sandbox.directory import SandboxDirectory
from dataflows.sandbox.faults import Fate, Faults, FaultVerdict
from dataflows.sandbox.mailbox import RECIPIENT, SENDER, Mailbox
from dataflows.sandbox.model import CLIENT_ID, CLIENT_SECRET, SCOPE, TENANT, Model, TokenIssuer
from dataflows.sandbox.receiver import LA_CODE, SUPPLIER_KEY, SandboxReceiver
from dataflows.sandbox.service import Answer, Control, Exchange, Request, Route, Service
from dataflows.sandbox.wire import HOST, LoopbackServer, RequestHandler

_Answered = TypeVar("_Answered", Answer, Answer | None)
_ANSWERED = (Fate.ANSWERED, Fate.ERROR, Fate.CUT)  # the client gets an answer, or half of one


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
        self._services: tuple[Service, ...] = (
            *(self.token, self.receiver, self.cqc, self.directory),
            *(self.bucket, self.mailbox),
        )
        for name, changes in (faults or {}).items():
            self.faults[name].begin_with(**changes)
        self._router = RequestRouter(self._services)
        self._port = port
        self._server: LoopbackServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def faults(self) -> Mapping[str, Faults]:
        """The faults of each stand-in, by their names."""
        return {name: faults for service in self._services for name, faults in service.all_faults().items()}

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


class RequestRouter:
    """Finds who answers a request, and lets the faults of that service have their way."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.bugs: list[BaseException] = []
        self._control = Control(services)
        self._routes = [(route, service) for service in services for route in service.routes()]

    def serve(self, request: Request, line: RequestHandler) -> None:
        """Answer one request on its line, or do not."""
        if request.path.startswith("/_sandbox"):
            line.send(self._worked(self._control.answer, request))
            return
        status = 404
        for route, service in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == request.method:
                self._through_faults(service, route, replace(request, parts=match.groupdict()), line)
                return
            status = 405 if match else status
        line.send(Answer.json(status, {"status": status}))

    def _through_faults(self, service: Service, route: Route, request: Request, line: RequestHandler) -> None:
        exchange = service.arrived(request)
        verdict = service.judge(request, route.kind)
        refused = self._at_arrival(verdict, route, request, exchange)
        if refused is None:
            line.wait(verdict.wait)
        answer = refused or self._answered(verdict, route, request, exchange)
        answered = verdict.fate in _ANSWERED
        service.leaves(request, exchange, verdict.fate.value, answer.status if answer and answered else None)
        if answer and answered:
            line.send(answer, cut=verdict.fate is Fate.CUT)
        elif verdict.endless:
            line.never_end(verdict.endless)
        elif verdict.silently or verdict.fate is Fate.SILENT:
            line.keep_silent()
        else:
            line.drop()
        if verdict.fate is Fate.LATE and refused is None:
            line.wait(verdict.late)
            self._commit(route, request, exchange)

    def _at_arrival(self, verdict: FaultVerdict, route: Route, request: Request, exchange: Exchange) -> Answer | None:
        """What is clear before any latency. An error strikes all the same, but the request has been counted."""
        if route.admit is None or verdict.fate in (Fate.DROPPED, Fate.SILENT):
            return None
        answer = self._worked(route.admit, request)
        if answer is None or verdict.fate is Fate.ERROR:
            return None
        exchange.committed = True
        return answer

    def _answered(self, verdict: FaultVerdict, route: Route, request: Request, exchange: Exchange) -> Answer | None:
        if verdict.fate is Fate.ERROR:
            headers = {"Retry-After": verdict.retry_after} if verdict.retry_after else {}
            return Answer(verdict.status, b"<html><body>A synthetic error.</body></html>", "text/html", headers)
        if verdict.fate in (Fate.ANSWERED, Fate.LOST, Fate.CUT, Fate.ENDLESS):
            return self._commit(route, request, exchange)
        return None

    def _commit(self, route: Route, request: Request, exchange: Exchange) -> Answer:
        exchange.committed = True
        return self._worked(route.answer, request)

    def _worked(self, answer: Callable[[Request], _Answered], request: Request) -> _Answered | Answer:
        try:
            return answer(request)
        except Exception as error:  # a bug of ours: stop() raises it
            self.bugs.append(error)
            return Answer.json(500, {"status": 500, "errors": ["the sandbox itself failed"]})
