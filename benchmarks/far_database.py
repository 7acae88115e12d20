"""A database that is far away: a relay on loopback that hands every byte on half a round trip later.

Used by csc.py (``--round-trip-ms``); it runs in a process of its own, and forwards PostgreSQL and SQL Server alike.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

_SERVER = re.compile(r"(?<=server=)(?:tcp:)?([^,;]+),(\d+)", re.IGNORECASE)


@contextmanager
def far(url: str, round_trip_ms: float) -> Iterator[str]:
    """Yield the address of the same database behind a relay; without a delay, or of a file, as it is."""
    parsed = sa.make_url(url)
    if not round_trip_ms or parsed.get_backend_name() == "sqlite":
        yield url
        return
    command = [sys.executable, __file__, _place(parsed), str(round_trip_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield _moved(parsed, int(process.stdout.readline())).render_as_string(hide_password=False)
        process.stdin.close()


def _place(url: sa.URL) -> str:
    """Return host:port, or the path of a socket."""
    if "odbc_connect" in url.query:
        found = _SERVER.search(str(url.query["odbc_connect"]))
        assert found, "write Server=host,port"
        return f"{found[1]}:{found[2]}"
    host = str(url.query.get("host", url.host or "127.0.0.1"))
    port = url.port or (1433 if url.get_backend_name() == "mssql" else 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"


def _moved(url: sa.URL, port: int) -> sa.URL:
    if "odbc_connect" in url.query:
        words = _SERVER.sub(f"127.0.0.1,{port}", str(url.query["odbc_connect"]))
        return url.set(query={**url.query, "odbc_connect": words})
    return url.set(host="127.0.0.1", port=port, query={k: v for k, v in url.query.items() if k != "host"})


async def _serve(place: str, delay: float) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = asyncio.open_unix_connection(place) if place.startswith("/") else _connected(place)
        there_reader, there_writer = await opened
        await asyncio.gather(_hand_on(reader, there_writer, delay), _hand_on(there_reader, writer, delay))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


async def _connected(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = place.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Write what comes, each piece ``delay`` seconds after it came, however many are under way."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                under_way.put_nowait((clock() + delay, piece))
        under_way.put_nowait((clock() + delay, b""))

    async def write() -> None:
        with suppress(ConnectionError):
            while True:
                due, piece = await under_way.get()
                await asyncio.sleep(due - clock())
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()

    await asyncio.gather(read(), write())


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2]) / 2000))
