"""What one HTTP request costs the client: our session beside urllib3, requests, and the `send` of another version.

Each way runs in a process of its own against one server in another; CPU is the client's, user and system, per request.
All ways bound the answer's time and size but the last two, which are what most people write.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

ANSWER = b'["' + b"20260101_00000000-0000-4000-8000-000000000000.json" * 20 + b'"]'
HEADERS = {"Authorization": "Bearer synthetic", "SupplierKey": "synthetic", "Content-Type": "application/json"}
SECONDS, SIZE = 30.0, 8 * 1024 * 1024
SOURCE = Path(__file__).resolve().parent.parent / "src"

Post = Callable[[bytes], int]


# --- the ways ---------------------------------------------------------------------------------------------------------


def ours(url: str, bundle: str | None, workers: int) -> Post:
    """`send` of the version on the path."""
    from dataflows.remote.session import make_session, send
    from dataflows.settings import Settings

    session = make_session(Settings(requests_ca_bundle=Path(bundle) if bundle else None), workers)
    return lambda body: send(session, "POST", url, headers=HEADERS, body=body).status


def urllib3_bounded(url: str, bundle: str | None, workers: int) -> Post:
    """urllib3's pool, the answer read part by part under one deadline and one size."""
    import urllib3

    context = ssl.create_default_context(cafile=bundle) if bundle else None
    pool = urllib3.PoolManager(maxsize=workers, ssl_context=context).connection_from_url(url)
    path = "/" + url.split("/", 3)[3]
    timeout, once = urllib3.Timeout(connect=10, read=SECONDS), urllib3.Retry(total=False, redirect=False)

    def post(body: bytes) -> int:
        until = time.monotonic() + SECONDS
        answer = pool.urlopen(
            "POST", path, body=body, headers=HEADERS, timeout=timeout, retries=once, redirect=False,
            assert_same_host=False, preload_content=False,
        )  # fmt: skip
        size, parts = 0, []
        while part := answer.read1(65_536):
            size += len(part)
            if size > SIZE or time.monotonic() > until:
                raise ValueError
            parts.append(part)
        answer.release_conn()
        return answer.status

    return post


def requests_session(url: str, bundle: str | None, workers: int) -> Post:
    """A shared session, as most people write it."""
    import requests

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=workers)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return lambda body: session.post(url, data=body, headers=HEADERS, timeout=(10, 30), verify=bundle).status_code


def requests_quiet(url: str, bundle: str | None, workers: int) -> Post:
    """The same without the environment."""
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = bundle or True
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=workers)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return lambda body: session.post(url, data=body, headers=HEADERS, timeout=(10, 30)).status_code


WAYS: dict[str, Callable[[str, str | None, int], Post]] = {
    "urllib3, bounded": urllib3_bounded,
    "send": ours,
    "requests, session without environment": requests_quiet,
    "requests, session": requests_session,
}


def measure(way: str, url: str, bundle: str | None, threads: int, size: int, count: int) -> float:
    """CPU of this process per request, in microseconds."""
    post, body = WAYS[way](url, bundle, threads), b"[" + b"x" * (size - 2) + b"]"

    def several(number: int) -> None:
        for _ in range(number):
            assert post(body) == 200

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(several, [count // 10] * threads))
        began = time.process_time()
        list(pool.map(several, [count // threads] * threads))
        return (time.process_time() - began) / (count // threads * threads) * 1e6


# --- the server -------------------------------------------------------------------------------------------------------


class Server(asyncio.Protocol):
    """Answers each request at once, and looks at nothing but its length."""

    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n".encode()

    def __init__(self) -> None:
        self._left, self._seen = 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._seen += data
            head, end, data = self._seen.partition(b"\r\n\r\n")
            if not end:
                return
            self._seen = b""
            self._left = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self._out.write(self.head + ANSWER)  # type: ignore[attr-defined]


@contextmanager
def serving(tls: ssl.SSLContext | None):  # type: ignore[no-untyped-def]
    """A server in a process of its own; its port."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        asyncio.run(_serve(tls, writing))
        os._exit(0)
    port = int(os.read(reading, 100))
    try:
        yield port
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


async def _serve(tls: ssl.SSLContext | None, writing: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, ssl=tls)
    os.write(writing, str(server.sockets[0].getsockname()[1]).encode())
    with suppress(asyncio.CancelledError):
        await server.serve_forever()


# --- the table --------------------------------------------------------------------------------------------------------


def in_a_process(way: str, arguments: list[str], source: Path) -> float:
    """Measure a way in a process whose dataflows is that of ``source``."""
    done = subprocess.run(
        [sys.executable, __file__, "--way", way, *arguments],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def table(rounds: int, count: int, former: Path | None) -> None:
    """Measure all ways in turn, several times, and print the medians."""
    import trustme

    authority, folder = trustme.CA(), Path(tempfile.mkdtemp())
    authority.cert_pem.write_to_path(folder / "authority.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    ways = [(way, way, SOURCE) for way in WAYS]
    if former is not None:
        ways.insert(2, ("send of the other version", "send", former))
    cases = [(secure, threads, size) for secure in (False, True) for threads in (1, 4) for size in (300, 300_000)]
    print("| way | " + " | ".join(_title(*case) for case in cases) + " |")
    print("| --- |" + " --- |" * len(cases))
    found: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for secure, threads, size in cases:
        with serving(tls if secure else None) as port:
            url = f"{'https' if secure else 'http'}://localhost:{port}/children"
            given = [url, str(folder / "authority.pem") if secure else "", str(threads), str(size)]
            number = str(count if size < 1000 else count // 4)
            seen: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(rounds):  # in turn, so that a busy moment of the machine meets all
                for name, way, source in ways:
                    seen[name].append(in_a_process(way, [*given, number], source))
            for name, values in seen.items():
                found[name].append(statistics.median(values))
    floor = found["urllib3, bounded"]
    for name, values in found.items():
        shown = (f"{value:.0f} µs, {value / least:.2f} ×" for value, least in zip(values, floor, strict=True))
        print(f"| {name} | " + " | ".join(shown) + " |")


def _title(secure: bool, threads: int, size: int) -> str:
    return (
        f"{'TLS, ' if secure else ''}{size // 1000} KB, {threads} thr."
        if size >= 1000
        else (f"{'TLS, ' if secure else ''}{size} B, {threads} thr.")
    )


def main() -> None:
    """Print the table, or (with ``--way``) one figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="requests of 300 B per measurement")
    parser.add_argument("--other", type=Path, help="the src folder of another version, whose `send` is measured too")
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("given", nargs="*")
    options = parser.parse_args()
    if options.way is None:
        table(options.rounds, options.count, options.other)
        return
    url, bundle, threads, size, count = options.given
    threading.stack_size(512 * 1024)
    print(measure(options.way, url, bundle or None, int(threads), int(size), int(count)))


if __name__ == "__main__":
    main()
