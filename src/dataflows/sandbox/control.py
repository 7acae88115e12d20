"""The back door: ``/_sandbox`` shows what arrived and what is stored, and changes the faults while the sandbox runs.

GET /_sandbox                  every service, its figures, and what else can be looked at
GET /_sandbox/<name>/<view>    such as receiver/children, receiver/requests, token/figures
GET /_sandbox/faults           all faults as they are
PUT /_sandbox/faults           {"receiver": {"error_next": 3}}: changes those that are named
PUT /_sandbox/<name>/faults    {"error_next": 3}: the same for one name, such as receiver or directory/create
POST /_sandbox/<name>/<door>   does what a service offers, such as directory/restart
POST /_sandbox/reset           forgets children, tokens and requests; faults go back to those at the start
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from dataflows.sandbox.service import Answer, Request, Service

_LOOPBACK: Final = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")


class Control:
    """Answers what is under ``/_sandbox``. Faults do not touch it."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = {service.name: service for service in services}
        self._all_faults = {name: one for service in services for name, one in service.all_faults().items()}
        self._doors: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", ""): lambda _: Answer.json(200, self._overview()),
            ("GET", "/faults"): lambda _: Answer.json(200, self._faults()),
            ("PUT", "/faults"): self._set,
            ("POST", "/reset"): self._reset,
        }

    def answer(self, request: Request) -> Answer:
        """Answer one request to the back door."""
        if not _LOOPBACK.fullmatch(request.headers.get("Host", "")):
            return _told(403, "by a loopback name only")  # else a web page could have a name of its own point here
        path = request.path.removeprefix("/_sandbox").rstrip("/")
        door = self._doors.get((request.method, path))
        if door:
            return door(request)
        name, _, view = path.removeprefix("/").rpartition("/")
        if request.method == "PUT" and view == "faults" and name in self._all_faults:
            return self._set_those({name: request.parsed})
        service = self._services.get(name)
        if service and request.method == "GET" and view in service.views():
            return Answer.json(200, service.views()[view]())
        if service and request.method == "POST" and view in service.doors():
            service.doors()[view]()
            return Answer.json(200, service.figures())
        return _told(404, "nothing here; see GET /_sandbox")

    def _overview(self) -> dict[str, Any]:
        return {
            name: {"figures": service.figures(), "views": [f"/_sandbox/{name}/{view}" for view in service.views()]}
            for name, service in self._services.items()
        }

    def _faults(self) -> dict[str, Any]:
        return {name: faults.as_dict() for name, faults in self._all_faults.items()}

    def _set(self, request: Request) -> Answer:
        return self._set_those(request.parsed)

    def _set_those(self, wanted: Any) -> Answer:
        if not isinstance(wanted, dict) or not all(isinstance(changes, dict) for changes in wanted.values()):
            return _told(400, 'the body is an object such as {"receiver": {"error_next": 3}}')
        if not wanted.keys() <= self._all_faults.keys():
            return _told(400, f"there are faults of {', '.join(self._all_faults)}")
        try:
            for name, changes in wanted.items():
                self._all_faults[name].set(**changes)
        except ValueError as error:
            return _told(400, str(error))
        return Answer.json(200, self._faults())

    def _reset(self, request: Request) -> Answer:
        for service in self._services.values():
            service.reset()
        return Answer.json(200, self._overview())


def _told(status: int, words: str) -> Answer:
    return Answer.json(status, {"status": status, "errors": [words]})
