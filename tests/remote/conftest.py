"""What every test of the wire needs: sessions, and a certificate authority that they may trust."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from dataflows.remote.session import Session, make_session
from tests.remote.loopback import settings


@pytest.fixture
def ca_bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return bundle


@pytest.fixture
def new_session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Make sessions of changed settings; they are closed at the end."""
    made: list[Session] = []

    def new(workers: int = 1, **changed: object) -> Session:
        made.append(make_session(settings(tmp_path, **changed), workers))
        return made[-1]

    yield new
    for session in made:
        session.close()


@pytest.fixture
def session(new_session: Callable[..., Session]) -> Session:
    return new_session()


@pytest.fixture
def full_queue() -> Iterator[int]:
    """A port whose queue of waiting connections is full, so that connecting to it takes for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()
