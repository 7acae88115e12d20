"""The CSC API: one request for a batch, the answers to it, and what both mean."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import orjson

from dataflows.errors import AccessRefused, AlreadyRunning, DataflowsError, Interrupted, ServiceDown, SettingUnusable
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.remote.retry import RetryPolicy, raise_for_service
from dataflows.remote.session import Reply, Session, send

if TYPE_CHECKING:
    from dataflows.settings import Settings


_INDEX = re.compile(r"\[(\d{1,3})\]")
# as DfE's service was seen to write them: a moment and a UUID, or the UUID alone
_RECEIPT = re.compile(r"(?:[0-9][0-9T_:.-]{5,30}_)?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(?:\.json)?")


class RecordVerdict(StrEnum):
    """What became of one record."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the API says no to this very record
    UNANSWERED = "unanswered"  # it may have arrived
    NOT_SENT = "not sent"  # it is known that nothing changed


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """The verdict on one record: ``detail`` is its receipt, or our own words for the refusal; ``code`` names it."""

    verdict: RecordVerdict
    detail: str = ""
    code: str = ""


@dataclass(slots=True)
class BatchAnswer:
    """The answers to a batch, in its order; ``stop`` is what forbids to go on with the run."""

    answers: list[RecordAnswer]
    stop: DataflowsError | None = None


def receipts(reply: Reply, count: int) -> list[RecordAnswer]:
    """Read the receipts of an accepted batch (csc.md: one per record, or one for all, or none with 204)."""
    if reply.status == 204:
        return [RecordAnswer(RecordVerdict.ACCEPTED, f"accepted without receipt {uuid.uuid4()}")] * count
    try:
        document = orjson.loads(reply.body)
    except ValueError:
        document = None
    if isinstance(document, str) and document:
        return [RecordAnswer(RecordVerdict.ACCEPTED, _kept_receipt(document))] * count
    if isinstance(document, list) and len(document) == count and all(isinstance(one, str) and one for one in document):
        return [RecordAnswer(RecordVerdict.ACCEPTED, _kept_receipt(one)) for one in document]
    words = f"API error ({reply.status}): {_kept(document)} for {count} records"
    return [RecordAnswer(RecordVerdict.UNANSWERED, words, code="bad_receipts")] * count


def _kept_receipt(text: str) -> str:
    """Return a receipt as it is; of a text in another form, which may repeat a record, only that there was one."""
    return text if _RECEIPT.fullmatch(text) else f"accepted with a receipt of unknown form {uuid.uuid4()}"


def _kept(document: object) -> str:
    """Describe receipts of the wrong count; they are kept where they look like receipts and nothing else."""
    if not isinstance(document, list):
        return "no list of receipts"
    kept = [one for one in document if isinstance(one, str) and _RECEIPT.fullmatch(one)][:5]
    listed = ", ".join(kept)
    return f"{len(document)} receipts ({listed})" if kept else f"{len(document)} receipts"


def refusal(reply: Reply, schema: ChildSchema) -> RecordAnswer:
    """Put the refusal of a single record into our own words; of the far side's text only attribute paths are kept."""
    words = {
        403: "a firewall in front of the API refuses the record (ids that contain 0x are known to do this)",
        413: "the record is too large",
    }.get(reply.status, "the record is refused")
    text = reply.body[:20_000].decode("utf-8", "replace") if reply.status != 403 else ""
    paths = schema.attribute_paths(text)
    about = f": {', '.join(paths[:5])}" if paths else ""
    return RecordAnswer(
        RecordVerdict.REFUSED, f"API error ({reply.status}): {words}{about}", code=f"api_{reply.status}"
    )


def suspects(reply: Reply, count: int) -> set[int]:
    """Return the indexes that a refusal names, when they are some but not all of the batch."""
    text = reply.body[:200_000].decode("utf-8", "replace")
    named = {int(number) for number in _INDEX.findall(text)}
    return named if named and max(named) < count and len(named) < count else set()


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
        raise SettingUnusable("LA_CODE must be three digits", hint="the DfE code of your authority, such as 846")
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
        body = b"[" + b",".join(bodies) + b"]"
        left = _Left()
        try:
            reply = self.policy.call(lambda: self._attempt(body, left), SERVICE)
        except ServiceDown as error:
            self.last_failure = error.message
            raise _Unanswered(left.answer("no_answer")) from error
        except Interrupted as error:
            raise _Unanswered(left.answer("interrupted")) from error
        except (AccessRefused, AlreadyRunning, SettingUnusable) as error:
            raise _Unanswered(left.answer(error.code), error) from error
        if reply.status == 403:
            self._firewall_or_refused()
        if stop := _stopping(reply.status):
            raise _Unanswered(left.answer(stop.code), stop)
        return reply

    def _attempt(self, body: bytes, left: _Left) -> Reply:
        token = self._token(self.tokens.token, left)
        reply = self._once(body, token, left)
        if reply.status == 401:
            reply = self._once(body, self._token(lambda: self.tokens.renew(token), left), left)
        if reply.status == 401:
            raise AccessRefused(
                f"{SERVICE} does not accept our token",
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
        left = _Left()
        try:
            probe = self.policy.call(lambda: self._attempt(b"[]", left), SERVICE)
        except ServiceDown as error:
            raise _Unanswered(RecordAnswer(RecordVerdict.NOT_SENT, code="no_answer")) from error
        except Interrupted as error:
            raise _Unanswered(RecordAnswer(RecordVerdict.NOT_SENT, code="interrupted")) from error
        except DataflowsError as error:
            raise _Unanswered(RecordAnswer(RecordVerdict.NOT_SENT, code=error.code), error) from error
        if probe.status == 403:
            refused = AccessRefused(
                f"{SERVICE} refuses access (403)",
                hint="check SUPPLIER_KEY, LA_CODE and that DfE has admitted this supplier: dataflows test-endpoint",
            )
            raise _Unanswered(RecordAnswer(RecordVerdict.NOT_SENT, code=refused.code), refused)


@dataclass
class _Left:
    """Whether any attempt of one request may have reached the service."""

    ever: bool = False

    def note(self, *, arrived: bool) -> None:
        self.ever = self.ever or arrived

    def answer(self, code: str) -> RecordAnswer:
        return RecordAnswer(RecordVerdict.UNANSWERED if self.ever else RecordVerdict.NOT_SENT, code=code)


def _stopping(status: int) -> DataflowsError | None:
    """Return what ends the run: a status that no other batch would escape."""
    if 300 <= status < 400:
        return SettingUnusable(f"{SERVICE} redirects ({status})", hint="put the final address into API_ENDPOINT")
    if status in (404, 405, 410, 415):
        return SettingUnusable(
            f"{SERVICE} does not know this address or method ({status})", hint="check API_ENDPOINT and LA_CODE"
        )
    return None
