"""A run that is under way: a second one is refused, and a stop or a kill leaves nothing behind that blocks the next."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import PATIENCE, Process, until
from tests.smoke.program import Installed

FETCH = ("cqc-fetch", "--source", "homecare", "--json", "--output")


@contextmanager
def under_way(here: Installed) -> Iterator[Process]:
    """A fetch from a server that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/homecare.csv"
        with here.start(*FETCH, str(here.folder / "out"), CQC_URL_HOMECARE=address) as process:
            connection, _ = silent.accept()
            with connection:
                yield process


def fetched(here: Installed, addresses: dict[str, str]) -> Path:
    """Fetch from the sandbox, with success."""
    ended = here.run(*FETCH, str(here.folder / "out"), CQC_URL_HOMECARE=addresses["CQC_URL_HOMECARE"])
    assert ended.code == 0, ended.err
    return here.folder / "out" / str(ended["results"]["homecare"]["file"])


def noticed(folder: Path) -> bool:
    """Whether the log of the run says that it was asked to stop."""
    return any("stopping once" in log.read_text(encoding="utf-8") for log in (folder / "data" / "logs").glob("*.log"))


def test_a_second_instance_is_refused_and_a_killed_one_is_not_in_the_way(
    here: Installed, addresses: dict[str, str]
) -> None:
    with under_way(here) as first:
        second = here.run(*FETCH, str(here.folder / "out"), CQC_URL_HOMECARE=addresses["CQC_URL_HOMECARE"])
        assert (second.code, second["error"]["code"]) == (11, "already_running")
        assert f"process {first.pid}, since 20" in second["error"]["message"]
        first.kill()
    saved = fetched(here, addresses)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_stopped_twice_it_ends_at_once_with_130(here: Installed, addresses: dict[str, str]) -> None:
    with under_way(here) as process:
        process.interrupt()
        until(lambda: noticed(here.folder), "the first one is noticed")
        process.interrupt()
        ended = process.ended()
    assert ended.code == 130, ended.err
    assert fetched(here, addresses).exists()
