"""The CSC API: a batch is one request, taken apart where it is refused."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dataflows.errors import AccessRefused, AlreadyRunning, DataflowsError, Interrupted, ServiceDown, SettingUnusable
from dataflows.flows.csc.answers import BatchAnswer, RecordAnswer, RecordVerdict, receipts, refusal, stopping, suspects
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.remote.retry import RetryPolicy, raise_for_service
from dataflows.remote.session import Reply, Session, send

if TYPE_CHECKING:
    from dataflows.settings import Settings

SERVICE = "the CSC API"


def children_url(settings: Settings) -> str:
    """Return the address that children are posted to (csc.md: an API_ENDPOINT that ends in /children is used as is).

    Raises:
        SettingUnusable: API_ENDPOINT or LA_CODE is missing or malformed.
    """
    settings.require("API_ENDPOINT")
    base = str(settings.api_endpoint).rstrip("/")
    if base.endswith("/children"):
        return base
    settings.require("LA_CODE")
    if not re.fullmatch(r"[0-9]{3}", str(settings.la_code)):
        raise SettingUnusable(
            "LA_CODE must be three digits", reason="setting-form", hint="the DfE code of your authority, such as 846"
        )
    return f"{base}/children_social_care_data/{settings.la_code}/children"


def headers(token: str, supplier_key: str) -> dict[str, str]:
    """Return what every request to the API carries."""
    return {
        "Authorization": f"Bearer {token}",
        "SupplierKey": supplier_key,
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


class Tokens(Protocol):
    """Where bearer tokens come from."""

    def token(self) -> str:
        """Return a valid token."""

    def renew(self, stale: str) -> str:
        """Return another token than the one that was refused."""


@dataclass
class RequestCounts:
    """What the client did, for the report."""

    requests: int = 0
    retries: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Count a request that leaves."""
        with self.lock:
            self.requests += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self, seconds: float) -> None:
        """Count its end."""
        with self.lock:
            self.in_flight -= 1
            self.seconds += seconds

    def report(self) -> dict[str, int]:
        """Return the figures that the report of a run shows."""
        return {"requests": self.requests, "retries": self.retries, "most_in_flight": self.most_in_flight}


class RequestPacer:
    """Keeps requests of all threads at least ``interval`` seconds apart."""

    def __init__(self, interval: float, stop: threading.Event) -> None:
        self._interval = interval
        self._stop = stop
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for this thread's turn."""
        if self._interval <= 0:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        self._stop.wait(max(0.0, turn - time.monotonic()))


@dataclass
class _Left:
    """Whether any attempt of one request may have reached the service; a ``probe`` carries nothing that could."""

    probe: bool = False
    ever: bool = False

    def note(self, *, arrived: bool) -> None:
        self.ever = self.ever or (arrived and not self.probe)

    def answer(self, code: str) -> RecordAnswer:
        return RecordAnswer(RecordVerdict.UNANSWERED if self.ever else RecordVerdict.NOT_SENT, code=code)


class _Unanswered(Exception):
    """A POST that got no usable answer."""

    def __init__(self, answer: RecordAnswer, stop: DataflowsError | None = None) -> None:
        super().__init__(answer.code)
        self.answer = answer
        self.stop = stop


@dataclass
class CscApi:
    """Sends batches of children. ``may_send`` is asked before every request, retries included, and raises if not."""

    url: str
    supplier_key: str
    session: Session
    tokens: Tokens
    policy: RetryPolicy
    timeout: tuple[float, float]
    pace: RequestPacer
    may_send: Callable[[], None] = lambda: None
    figures: RequestCounts = field(default_factory=RequestCounts)
    schema: ChildSchema = field(default_factory=built_in)
    last_failure: str = ""

    def deliver(self, bodies: Sequence[bytes]) -> BatchAnswer:
        """Send records (each the JSON of one child) and return an answer for each.

        A refused batch is taken apart: first by the indexes the API names, then by halves. Never raises for what the
        service does; ``BatchAnswer.stop`` says when the run must end.
        """
        delivery = BatchAnswer([RecordAnswer(RecordVerdict.NOT_SENT)] * len(bodies))
        self._deliver(list(enumerate(bodies)), delivery, trust_names=True)
        return delivery

    def _deliver(self, records: list[tuple[int, bytes]], delivery: BatchAnswer, *, trust_names: bool) -> None:
        if not records or delivery.stop is not None:
            return
        try:
            reply = self._post([body for _, body in records])
        except _Unanswered as nothing:
            delivery.stop = nothing.stop
            self._enter(delivery, records, nothing.answer)
            return
        if reply.status in (200, 201, 202, 204):
            for (index, _), answer in zip(records, receipts(reply, len(records)), strict=True):
                delivery.answers[index] = answer
            return
        self._take_apart(reply, records, delivery, trust_names=trust_names)

    def _take_apart(
        self, reply: Reply, records: list[tuple[int, bytes]], delivery: BatchAnswer, *, trust_names: bool
    ) -> None:
        if len(records) == 1:
            self._enter(delivery, records, refusal(reply, self.schema))
            return
        named = suspects(reply, len(records)) if trust_names and reply.status == 400 else set()
        if named:
            others = [record for number, record in enumerate(records) if number not in named]
            self._deliver(others, delivery, trust_names=False)
            for number in sorted(named):
                self._deliver([records[number]], delivery, trust_names=False)
            return
        middle = len(records) // 2
        self._deliver(records[:middle], delivery, trust_names=trust_names)
        self._deliver(records[middle:], delivery, trust_names=trust_names)

    @staticmethod
    def _enter(delivery: BatchAnswer, records: list[tuple[int, bytes]], answer: RecordAnswer) -> None:
        for index, _ in records:
            delivery.answers[index] = answer

    # --- one request ------------------------------------------------------------------------------------------

    def _post(self, bodies: Sequence[bytes]) -> Reply:
        """Post one batch until it is answered.

        Raises:
            _Unanswered: it was not, or the answer forbids to go on.
        """
        left = _Left()
        reply = self._answered(b"[" + b",".join(bodies) + b"]", left)
        if reply.status == 403:
            self._firewall_or_refused()
        if stop := stopping(reply.status):
            raise _Unanswered(left.answer(stop.code), stop)
        return reply

    def _answered(self, body: bytes, left: _Left) -> Reply:
        try:
            return self.policy.call(lambda: self._attempt(body, left), SERVICE)
        except ServiceDown as error:
            self.last_failure = error.message
            raise _Unanswered(left.answer("no_answer")) from error
        except Interrupted as error:
            raise _Unanswered(left.answer("interrupted")) from error
        except (AccessRefused, AlreadyRunning, SettingUnusable) as error:
            raise _Unanswered(left.answer(error.code), error) from error

    def _attempt(self, body: bytes, left: _Left) -> Reply:
        token = self._token(self.tokens.token, left)
        reply = self._once(body, token, left)
        if reply.status == 401:
            reply = self._once(body, self._token(lambda: self.tokens.renew(token), left), left)
        if reply.status == 401:
            raise AccessRefused(
                f"{SERVICE} does not accept our token",
                reason="csc-access",
                hint="check SCOPE, SUPPLIER_KEY, LA_CODE: dataflows test-endpoint",
            )
        raise_for_service(reply, SERVICE)
        return reply

    def _token(self, fetch: Callable[[], str], left: _Left) -> str:
        try:
            return fetch()
        except ServiceDown as error:  # it was tried often enough: trying this request again would multiply that
            self.last_failure = error.message
            raise _Unanswered(left.answer("no_answer")) from error

    def _once(self, body: bytes, token: str, left: _Left) -> Reply:
        self.pace.wait()
        self.may_send()
        began = time.monotonic()
        self.figures.begin()
        try:
            reply = send(
                self.session,
                "POST",
                self.url,
                headers=headers(token, self.supplier_key),
                body=body,
                timeout=self.timeout,
            )
        except ServiceDown as error:
            left.note(arrived=error.sent)
            raise
        finally:
            self.figures.end(time.monotonic() - began)
        left.note(arrived=reply.status >= 500 or reply.status == 408)
        return reply

    def _firewall_or_refused(self) -> None:
        """Find out what a 403 means: an empty batch passes a firewall, but not a closed door.

        Raises:
            _Unanswered: access is refused, or the question got no answer.
        """
        left = _Left(probe=True)
        probe = self._answered(b"[]", left)
        if probe.status == 403:
            refused = AccessRefused(
                f"{SERVICE} refuses access (403)",
                reason="csc-access",
                hint="check SUPPLIER_KEY, LA_CODE and that DfE has admitted this supplier: dataflows test-endpoint",
            )
            raise _Unanswered(left.answer(refused.code), refused)
