"""The Hospital Directory: each call sent once and its answer put into our terms.

What was measured there is on the spec page hospitals: no idempotency, creates that land after their client has gone,
404 for an empty batch. Nothing the far side writes is repeated, only statuses and the names of our own fields.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from dataflows.errors import AccessRefused, DataflowsError, Interrupted, ServiceDown, SettingUnusable
from dataflows.flows.hospitals.records import (
    NO_TEXT,
    SERVICE,
    Created,
    CreateOutcome,
    DirectoryRecord,
    HospitalRefused,
    Inventory,
    NotSent,
    Unknown,
    is_outage,
)
from dataflows.flows.hospitals.rows import Hospital, directory_address
from dataflows.hints import RESUME
from dataflows.remote.connections import Stopped
from dataflows.remote.retry import RetryPolicy, raise_for_service
from dataflows.remote.session import MAX_ANSWER, Reply, Session, make_session, send
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

_HEADERS = {"Accept": "application/json"}
_JSON = {**_HEADERS, "Content-Type": "application/json"}
_FIELDS = ("name", "address", "phone")

_MAX_LIST = 48 * 1024 * 1024  # bytes: so many records of the longest texts, every character escaped


class DirectoryApi:
    """One Directory. May be called from any thread; ``policy`` repeats looks, and nothing else."""

    def __init__(self, address: str, session: Session, policy: RetryPolicy) -> None:
        self._address = address
        self._session = session
        self._policy = policy

    def wake(self, seconds: float, stop: threading.Event) -> None:
        """Ask whether it is there, with ``seconds`` of patience: one that sleeps needs up to a minute.

        Raises:
            ServiceDown: it is not, after all attempts.
            SettingUnusable: what answers there is no Hospital Directory.
            AccessRefused: it lets nobody in.
            Interrupted: ``stop`` was set meanwhile.
        """
        self._policy.call(lambda: self._greet(seconds, stop), SERVICE)

    def _greet(self, seconds: float, stop: threading.Event) -> None:
        timeout, until = (self._session.timeout[0], seconds), time.monotonic() + seconds
        try:
            reply = send(
                self._session, "GET", f"{self._address}/", headers=_HEADERS, timeout=timeout, broken_off=stop.is_set
            )
        except Stopped:
            raise Interrupted(
                "stopped while the Directory was waking up",
                reason="interrupted",
                hint=f"continue with: {RESUME}",
            ) from None
        except ServiceDown:
            if time.monotonic() < until:
                raise
            raise ServiceDown(
                f"{SERVICE} did not wake up within {seconds:g} s", reason="hospitals-down", hint="try again later"
            ) from None
        _refuse_strange(reply, (200,))
        if not isinstance(_parsed(reply), dict):
            raise _not_a_directory("its answers are not those of the Directory")

    def create(self, batch_id: str, hospital: Hospital) -> CreateOutcome:
        """Ask once for one hospital in a batch.

        Raises DataflowsError: nothing was created, and no other row would fare better (address, access, certificate).
        """
        body = orjson.dumps({**_written(hospital), "creation_batch_id": batch_id})
        try:
            reply = send(self._session, "POST", f"{self._address}/hospitals/", headers=_JSON, body=body)
        except ServiceDown as error:
            if not is_outage(error):
                raise
            return Unknown("no_answer", error=error) if error.sent else NotSent("not_reached", error=error)
        return _outcome(reply, batch_id, hospital)

    def look(self, batch_id: str) -> list[DirectoryRecord]:
        """The records of a batch, in order of arrival; none when the Directory answers 404.

        Raises:
            ServiceDown: no usable answer, after all attempts.
            DataflowsError: address or access is wrong.
            Interrupted: the run is stopping.
        """
        return self._policy.call(lambda: self._look(batch_id), SERVICE)

    def _look(self, batch_id: str) -> list[DirectoryRecord]:
        reply = self._send("GET", f"hospitals/batch/{batch_id}")
        _refuse_strange(reply, (200, 404))
        parsed = _parsed(reply)
        if reply.status == 404 and isinstance(parsed, dict):
            return []
        if reply.status != 200 or not isinstance(parsed, list):
            raise _unreadable()
        return [_record(one, batch_id) for one in parsed]

    def list_all(self) -> Inventory:
        """Everything that the Directory holds, whoever created it. Raises as ``look`` does."""
        started = time.monotonic()
        return Inventory(self._policy.call(self._list_all, SERVICE), started)

    def _list_all(self) -> list[DirectoryRecord]:
        reply = self._send("GET", "hospitals/", max_bytes=_MAX_LIST)
        _refuse_strange(reply, (200,))
        parsed = _parsed(reply)
        if not isinstance(parsed, list):
            raise _unreadable()
        return [_listed(one) for one in parsed]

    def activate(self, batch_id: str) -> int | None:
        """Ask once that a batch becomes active; returns the status, or None without an answer: a look shows the rest.

        Raises DataflowsError: address or access is wrong.
        """
        return self._status_of("PATCH", f"hospitals/batch/{batch_id}/activate")

    def delete(self, record_id: int) -> int | None:
        """Ask once that one record goes, one just seen in our own batch. Returns and raises as ``activate``."""
        return self._status_of("DELETE", f"hospitals/{record_id}")

    def delete_batch(self, batch_id: str) -> int | None:
        """Ask once that all records of a batch go. Returns and raises as ``activate`` does."""
        return self._status_of("DELETE", f"hospitals/batch/{batch_id}")

    def _status_of(self, method: str, path: str) -> int | None:
        try:
            reply = self._send(method, path)
        except ServiceDown as error:
            if not is_outage(error):
                raise
            return None
        if reply.status in (401, 403):
            raise _no_access(reply.status)
        return reply.status

    def _send(self, method: str, path: str, max_bytes: int = MAX_ANSWER) -> Reply:
        return send(self._session, method, f"{self._address}/{path}", headers=_HEADERS, max_bytes=max_bytes)


def _written(hospital: Hospital) -> dict[str, str]:
    return {name: text for name, text in zip(_FIELDS, hospital, strict=True) if text is not None}


def _outcome(reply: Reply, batch_id: str, hospital: Hospital) -> CreateOutcome:
    status = reply.status
    if 200 <= status < 300:
        record = _made(reply, batch_id)
        if record is None or record.hospital != hospital:
            return Unknown("unreadable_answer")
        return Created(record.id, reply.seconds)
    if status == 422:
        return HospitalRefused(_refusal(reply))
    if status == 429:
        return NotSent("rate_limit", limited=True)
    if status == 400:
        return Unknown("batch_full", lasting=False)
    if status == 408 or status >= 500:
        return Unknown(
            f"answered_{status}", error=ServiceDown(f"{SERVICE} answered {status}", reason="hospitals-down", hint="")
        )
    raise _no_access(status) if status in (401, 403) else _not_a_directory(f"it answered a create with {status}")


def _made(reply: Reply, batch_id: str) -> DirectoryRecord | None:
    try:
        return _record(_parsed(reply), batch_id)
    except ServiceDown:
        return None


def _record(value: Any, batch_id: str) -> DirectoryRecord:
    """One record of our own batch. Raises ServiceDown for anything else: nothing may be concluded from it."""
    try:
        hospital = Hospital(value["name"], value["address"], value["phone"])
        own = str(value["creation_batch_id"]).lower() == batch_id
        record_id, active = value["id"], value["active"]
    except (TypeError, KeyError):
        raise _unreadable() from None
    phone = "" if hospital.phone is None else hospital.phone
    texts = all(isinstance(one, str) for one in (hospital.name, hospital.address, phone))
    if not own or not texts or type(record_id) is not int or not isinstance(active, bool):
        raise _unreadable()
    return DirectoryRecord(record_id, hospital, active)


def _listed(value: Any) -> DirectoryRecord:
    """One record of anybody's. Raises ServiceDown for what is none."""
    try:
        number, active, batch_id = value["id"], value["active"], value.get("creation_batch_id")
        hospital = Hospital(value["name"], value["address"], value.get("phone"))
    except (TypeError, KeyError, AttributeError):
        raise _unreadable() from None
    if type(number) is not int or type(active) is not bool:
        raise _unreadable()
    name, address, phone = hospital
    written = type(name) is type(address) is str and (phone is None or type(phone) is str)
    batch = batch_id.lower() if type(batch_id) is str else None
    return DirectoryRecord(number, hospital if written else NO_TEXT, active, batch)


def _refusal(reply: Reply) -> str:
    """Which of our fields it does not like; its own words are not repeated."""
    parsed = _parsed(reply)
    details = parsed.get("detail") if isinstance(parsed, dict) else None
    places = [one.get("loc") for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    named = [name for name in _FIELDS if any(isinstance(place, list) and name in place for place in places)]
    return f"{SERVICE} refuses {' and '.join(named) or 'this row'} (422)"


def _parsed(reply: Reply) -> Any:
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None


def _refuse_strange(reply: Reply, usual: Sequence[int]) -> None:
    raise_for_service(reply, SERVICE)
    if reply.status in (401, 403):
        raise _no_access(reply.status)
    if reply.status not in usual:
        if reply.status >= 500:
            raise ServiceDown(f"{SERVICE} answered {reply.status}", reason="hospitals-down", hint="try again later")
        raise _not_a_directory(f"it answered {reply.status}")


def _unreadable() -> ServiceDown:
    return ServiceDown(
        f"{SERVICE} gave an unreadable answer",
        reason="hospitals-down",
        hint="try again later; check EXTERNAL_API_BASE_URL",
    )


def _no_access(status: int) -> AccessRefused:
    return AccessRefused(
        f"{SERVICE} refuses access ({status})",
        reason="hospitals-access",
        hint="it needs no login: is there a proxy or a firewall in between?",
    )


def _not_a_directory(what: str) -> DataflowsError:
    return SettingUnusable(
        f"EXTERNAL_API_BASE_URL does not lead to the Hospital Directory: {what}",
        reason="hospitals-address",
        hint="check the address, including its path",
    )


@contextmanager
def open_directory(settings: Settings, run: Run, connections: int) -> Iterator[DirectoryApi]:
    """The Directory of the settings, for a run; so many connections at a time."""
    session = make_session(settings, connections, run.stop.grace_is_over)
    try:
        yield DirectoryApi(_base_url(settings), session, RetryPolicy.of(settings, run.stop, run.notify))
    finally:
        session.close()


def ask_once(settings: Settings, address: str, patience: float) -> Inventory:
    """Everything that the Directory at ``address`` holds, for somebody who waits ``patience`` seconds and no longer.

    Raises DataflowsError: it does not say, or the settings name another one.
    """
    refuse_another_directory(settings, address)
    session = make_session(settings)
    session.adapter.timeout = (min(patience, session.timeout[0]), min(patience, session.timeout[1]))
    once = RetryPolicy(attempts=1, deadline=patience, max_wait=0)
    try:
        return DirectoryApi(_base_url(settings), session, once).list_all()
    finally:
        session.close()


def refuse_another_directory(settings: Settings, address: str) -> None:
    """Raise SettingUnusable when what a run carried was for another Directory than that of the settings."""
    settings.require("EXTERNAL_API_BASE_URL")
    if directory_address(address) != directory_address(str(settings.external_api_base_url)):
        raise SettingUnusable(
            f"that run was for the Directory at {address}",
            reason="hospitals-other-directory",
            hint="set EXTERNAL_API_BASE_URL to that address",
        )


def _base_url(settings: Settings) -> str:
    return str(settings.external_api_base_url).strip().rstrip("/")
