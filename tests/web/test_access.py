"""Nobody gets in without the token, and the token gets out nowhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from dataflows.errors import SettingUnusable
from dataflows.flows.cqc.folder import target
from dataflows.flows.cqc.history import Fetch, History
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Secret
from dataflows.web import access
from dataflows.web.access import COOKIE, Access
from dataflows.web.bounds import Bounds
from tests.flows.hospitals.world import QUICK
from tests.processes import PATIENCE, Program, until
from tests.web.served import CSV, HEADER, TOKEN, Caller, Within, form, rest_of, serving, within

NAME, UNNAMED = "cqc_homecare_20260101_000000Z.csv", "cqc_homecare_20260102_000000Z.csv"
WITHOUT = {"GET /health", "POST /runs/leave"}  # the second one only takes the cookie away
ASKED_AT = ("GET /files/" + NAME, "POST /run", "GET /")


@pytest.fixture(scope="module")
def guarded(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    """A server that other machines can reach, with files of its own and of others in DATA_DIR."""
    folder = tmp_path_factory.mktemp("guarded")
    with within(folder, {**QUICK, **box.settings()}, local=False) as running:
        data = folder / "data"
        (data / NAME).write_bytes(b"Name\nSynthetic Care\n")
        (data / UNNAMED).write_bytes(b"Name\nSynthetic Care\n")
        fetched(running, NAME)
        (data / ".env").write_text("SECRET=1")
        (data / "batches").mkdir(exist_ok=True)
        (data / "batches" / NAME).write_bytes(b"other")
        yield running


@pytest.fixture(scope="module")
def loopback(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    """A server on loopback without a token."""
    with within(tmp_path_factory.mktemp("open"), {"RUN_TOKEN": None, **QUICK, **box.settings()}) as running:
        yield running


def fetched(server: Within, *names: str) -> None:
    """Let the journal say that runs have fetched these files."""
    history = History(server.context.journal, target(server.context.settings.data_dir))
    for name in names:
        history.add("a run", Fetch("homecare", "https://x", name, 20, 1, "0", None, None, 0.1, 1, True))


def routes(server: Within) -> list[str]:
    """Every route as method and path, also those of another kind than ours."""
    found = list(iter_route_contexts(server.app.routes))
    assert all(route.methods for route in found), "a mount: does it ask for the token?"
    return sorted(f"{method} {route.path}" for route in found for method in route.methods or ())


def call(server: Caller, route: str, **headers: str) -> int:
    method, path = route.replace("{", "").replace("}", "").split()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.call(method, path, headers=named).status


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper()])
def test_every_route_but_health_wants_the_token(guarded: Within, token: str) -> None:
    let_in = {route for route in routes(guarded) if call(guarded, route, X_Auth_Token=token) != 401}
    assert let_in == WITHOUT


@pytest.mark.parametrize("token", [" ", "\xfc\xdf", "\udcff\udcfe", "x" * 65_000, "x" * 1_000_000])
def test_a_strange_token_is_refused(guarded: Within, token: str) -> None:
    raw = token.encode("utf-8", "surrogateescape")
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: " + raw + b"\r\n\r\n"
    answered = guarded.raw(head)
    assert answered.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 ")) or (answered == b"" and len(token) > 500_000)
    assert guarded.get("/health").status == 200


def test_the_token_may_be_no_ascii(tmp_path: Path) -> None:
    with within(tmp_path, {"RUN_TOKEN": "schl\xfcssel-\u5bc6\u5319"}, local=False) as server:
        sent = "schl\xfcssel-\u5bc6\u5319".encode().decode("latin-1")
        assert server.get("/", X_Auth_Token=sent).status == 200
        assert server.get("/", X_Auth_Token=sent[:-1]).status == 401


def test_of_two_tokens_both_must_be_right(guarded: Within) -> None:
    head = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: {TOKEN}\r\n"
    assert guarded.raw(f"{head}\r\n".encode()).startswith(b"HTTP/1.1 200")
    assert guarded.raw(f"{head}X-Auth-Token: wrong\r\n\r\n".encode()).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        (f"token={TOKEN}", "", 200),
        (f"token={TOKEN}", TOKEN, 200),
        ("token=wrong", TOKEN, 401),
        (f"token={TOKEN}", "wrong", 401),
        (f"token={TOKEN}&token=wrong", "", 401),
        ("token=", TOKEN, 401),
        ("token=%ff%00", "", 401),
        ("", "", 401),
    ],
)
def test_files_take_the_token_in_the_address_too(guarded: Within, query: str, header: str, status: int) -> None:
    assert guarded.get(f"/files/{NAME}?{query}", X_Auth_Token=header).status == status


def test_no_other_route_takes_the_token_in_the_address(guarded: Within) -> None:
    taken = [
        route
        for route in routes(guarded)
        if route not in WITHOUT and call(guarded, f"{route}?token={TOKEN}", X_Auth_Token="") != 401
    ]
    assert taken == [route for route in routes(guarded) if route.startswith("GET /files/")]


def test_without_a_token_run_and_files_answer_500(loopback: Within) -> None:
    assert [call(loopback, route) for route in ASKED_AT] == [500, 500, 200]


@pytest.mark.parametrize("token", ["", " ", "seven77", "seven77 ", "\u2003" * 20])
def test_a_token_of_next_to_nothing_is_refused(token: str) -> None:
    with pytest.raises(SettingUnusable, match="RUN_TOKEN has fewer than 8 characters"):
        Access(Secret(token))


@pytest.mark.parametrize("given", [b"", b" ", b"\xc2\xa0"])
def test_nothing_is_no_token(given: bytes) -> None:
    blank = Access(Secret("long enough to be made"))
    object.__setattr__(blank, "token", Secret(given.decode()))
    assert not blank.is_token(given)
    assert not Access(None).is_token(given)


@pytest.mark.parametrize(("token", "why"), [(" ", "is not set"), ("\t", "is not set"), ("seven77", "has fewer than 8")])
def test_a_server_with_a_token_of_next_to_nothing_does_not_start(tmp_path: Path, token: str, why: str) -> None:
    settings = {"APP_HOST": "0.0.0.0", "DATA_DIR": str(tmp_path), "RUN_TOKEN": token}
    ended = Program(tmp_path / "x", settings).run("serve", "--port", "0")
    assert (ended.code, f"RUN_TOKEN {why}" in ended.err) == (10, True)


def test_a_token_that_can_be_guessed_is_a_warning(tmp_path: Path) -> None:
    with serving(tmp_path / "x", RUN_TOKEN="of-12-signs.") as server:
        assert "RUN_TOKEN has fewer than 16 characters" in server.output
        assert server.get("/runs", X_Auth_Token="of-12-signs.").status == 200


# --- guesses ----------------------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[Caller, str], int]] = {
    "header": lambda server, token: server.get("/", X_Auth_Token=token).status,
    "address": lambda server, token: server.get(f"/files/{NAME}?token={token}", X_Auth_Token="").status,
    "form": lambda server, token: 200 if cookie_of(server, token) else 401,
}


class Gate:
    """Where a guess waits: until the test opens it, however long it was to be."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.asked: list[float] = []

    async def wait(self, seconds: float) -> None:
        """Stand in for ``asyncio.sleep``."""
        self.asked.append(seconds)
        while not self.opened.is_set():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", WAYS)
def test_guesses_wait_for_each_other_and_are_not_looked_at_when_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    gate = Gate()
    monkeypatch.setattr(access, "FREE_GUESSES", 3)
    monkeypatch.setattr(access, "pause", gate.wait)
    with within(tmp_path, local=False) as server, ExitStack() as closing:
        assert [WAYS[way](server, "wrong") for _ in range(3)] == [401] * 3
        head = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{HEADER}: wrong\r\n\r\n".encode()
        line = [closing.enter_context(server.connected()) for _ in range(access.MOST_IN_LINE)]
        closing.callback(gate.opened.set)  # whatever fails
        for one in line:
            one.sendall(head)
        until(lambda: bounds_of(server)._guesses._guessers["127.0.0.1"].waiting == len(line), "the line")
        refused = server.get("/", X_Auth_Token=TOKEN)
        assert (refused.status, refused.code) == (429, "too_many_guesses")
        assert int(refused.headers["Retry-After"]) > 0
        assert server.get("/health", X_Auth_Token="").status == 200, "who shows no token waits for nothing"
        assert gate.asked == [access.WAIT_SECONDS], "one at a time"
        gate.opened.set()
        assert {rest_of(one)[:12] for one in line} == {b"HTTP/1.1 401"}
        assert gate.asked == [access.WAIT_SECONDS] * len(line)


def test_after_some_guesses_the_token_still_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "FREE_GUESSES", 3)
    monkeypatch.setattr(access, "WAIT_SECONDS", 0.01)
    with within(tmp_path, local=False) as server:
        assert [WAYS["header"](server, "wrong") for _ in range(9)] == [401] * 9
        assert WAYS["header"](server, TOKEN) == 200


def test_guesses_from_everywhere_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_ADDRESSES", 10)
    held = access.Guesses()
    for number in range(1000):
        held.note_wrong({"client": (f"2001:db8:0:{number // 2:x}::{number:x}", 1)})
    assert len(held._guessers) == 10
    assert {one.wrong for one in held._guessers.values()} == {2}, "a network guesses as one"


def bounds_of(server: Within) -> Bounds:
    found = server.app.middleware_stack
    while not isinstance(found, Bounds):
        found = found.app  # type: ignore[union-attr]
    return found


# --- the cookie of the run page -----------------------------------------------------------------------------------


def cookie_of(server: Caller, token: str = TOKEN) -> str:
    kind = "application/x-www-form-urlencoded"
    answer = server.post("/runs/enter", f"token={token}".encode(), content_type=kind, X_Auth_Token="")
    return answer.headers.get("Set-Cookie", "").partition(";")[0]


def test_the_cookie_opens_the_run_page_and_the_documentation_only(guarded: Within) -> None:
    cookie = cookie_of(guarded)
    opened = {route for route in routes(guarded) if call(guarded, route, X_Auth_Token="", Cookie=cookie) != 401}
    pages = {"GET /runs", "GET /runs/history", "GET /runs/{run_id}", "GET /docs", "GET /redoc", "GET /openapi.json"}
    pages |= {"GET /runs/{run_id}/log", "GET /runs/{run_id}/failed.csv"}
    assert opened - WITHOUT == pages | {"GET /documentation/{name}"}


def test_the_cookie_is_out_of_reach_of_other_sites_and_scripts(guarded: Within) -> None:
    kind = "application/x-www-form-urlencoded"
    answer = guarded.post("/runs/enter", f"token={TOKEN}".encode(), content_type=kind, X_Auth_Token="")
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in answer.headers["Set-Cookie"].split(";")}
    assert TOKEN not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("forged", ["", "visitor", TOKEN, "\xff", "." * 4000], ids=range(5))
def test_a_forged_cookie_opens_nothing(guarded: Within, forged: str) -> None:
    assert guarded.get("/runs", X_Auth_Token="", Cookie=f"{COOKIE}={forged}").status == 401


@pytest.mark.parametrize("change", [lambda value: value[:-1], str.swapcase, lambda value: value + "x"])
def test_a_cookie_that_was_changed_opens_nothing(guarded: Within, change: Callable[[str], str]) -> None:
    value = cookie_of(guarded).partition("=")[2]
    assert guarded.get("/runs", X_Auth_Token="", Cookie=f"{COOKIE}={value}").status == 200
    assert guarded.get("/runs", X_Auth_Token="", Cookie=f"{COOKIE}={change(value)}").status == 401


def test_a_cookie_that_somebody_kept_opens_nothing_after_leave(guarded: Within) -> None:
    mine, other = cookie_of(guarded), cookie_of(guarded)
    assert guarded.post("/runs/leave", X_Auth_Token="", Cookie=mine).status == 303
    opened = [guarded.get("/runs", X_Auth_Token="", Cookie=one).status for one in (mine, other)]
    assert opened == [401, 200]


def test_so_many_sessions_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_SESSIONS", 3)
    held = access.Sessions()
    cookies = [held.begin() for _ in range(5)]
    assert [held.holds(one) for one in cookies] == [False, False, True, True, True]


def test_a_cookie_expires(guarded: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = cookie_of(guarded)
    monkeypatch.setattr(access, "COOKIE_SECONDS", -1)
    assert guarded.get("/runs", X_Auth_Token="", Cookie=cookie).status == 401


def test_a_cookie_ends_with_its_token(guarded: Within, tmp_path: Path) -> None:
    cookie = cookie_of(guarded)
    with within(tmp_path, {"RUN_TOKEN": "another-token-of-the-tests"}) as later:
        assert later.get("/runs", X_Auth_Token="", Cookie=cookie).status == 401


@pytest.mark.parametrize("charset", ["utf-8", "undefined", "unicode_escape", "raw_unicode_escape", "punycode", "utf-7"])
def test_a_wrong_token_in_any_character_set_gets_no_cookie(guarded: Within, charset: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n\\ud800\xff\r\n--b--\r\n'
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    answer = guarded.post("/runs/enter", body, content_type=kind, X_Auth_Token="")
    assert answer.status in (400, 401)
    assert "Set-Cookie" not in answer.headers


# --- files ------------------------------------------------------------------------------------------------------------

OUTSIDE = r"""
..%2fjournal.db %2e%2e/journal.db ../data/journal.db ..%252fjournal.db ..%5cjournal.db ..\journal.db %2fetc%2fpasswd
//etc/passwd C:%5cWindows%5cwin.ini C:/Windows/win.ini %5c%5chost%5cshare%5cNAME \\host\share\NAME NAME%00 NAME%00.txt
NAME::$DATA NAME:stream NAME. NAME... NAME%20 NAME%0a ./NAME batches/NAME batches%2fNAME batches%5cNAME journal.db
journal.db-wal journal.key .env locks logs . .. %00 %ff cqc_%EF%BC%8E_20260101_000000Z.csv CON NUL.csv latest/..%2fNAME
latest/%00 CQC_homecare_20260101_000000Z.csv
""".replace("NAME", NAME).split()


LONG = ["x" * 5_000, "x" * 60_000, f"cqc_{'x' * 5_000}_20260101_000000Z.csv", f"cqc_{'x' * 240}_20260101_000000Z.csv"]


@pytest.mark.parametrize("name", [*OUTSIDE, "", UNNAMED, *LONG], ids=[*OUTSIDE, "none", "unnamed", *map(len, LONG)])
def test_no_other_file_is_given_out(guarded: Within, name: str) -> None:
    answer = guarded.get(f"/files/{name}", X_Auth_Token=TOKEN)
    assert (answer.status, answer.code) == (404, "not_found")


def test_a_file_that_was_made_from_downloads_is_given_out(guarded: Within) -> None:
    context, name = guarded.context, "changes_homecare_20260101_000000Z.csv"
    data = context.settings.data_dir
    (data / name).write_bytes(b"what,Name\n")
    assert guarded.get(f"/files/{name}").status == 404
    run_id = context.journal.start("cqc-fetch", target(data), options={})
    context.journal.finish(run_id, "done", 0, {}, None, {"results": {"homecare": {"changes": {"file": name}}}})
    assert guarded.get(f"/files/{name}").body == b"what,Name\n"


@pytest.mark.parametrize("path", ["/runs/", "/health/", f"/files/{NAME}/", "/docs/"])
def test_a_slash_at_the_end_makes_no_redirect_to_where_the_caller_says(guarded: Within, path: str) -> None:
    answer = guarded.get(path, Host="evil.example")
    assert (answer.status in (200, 401), answer.headers.get("Location")) == (True, None)
    assert "evil.example" not in str(answer.headers)


@pytest.mark.skipif(sys.platform == "win32", reason="making a link takes a privilege there")
def test_a_link_is_no_file(guarded: Within) -> None:
    data = guarded.context.settings.data_dir
    (data / "cqc_carehomes_20260101_000000Z.csv").symlink_to(data / "journal.db")
    (data / "cqc_carehomes_20260102_000000Z.csv").symlink_to(data / NAME)
    (data / "cqc_carehomes_20260103_000000Z.csv").mkdir()
    fetched(guarded, *(f"cqc_carehomes_202601{day}_000000Z.csv" for day in ("01", "02", "03")))
    days = ("01", "02", "03")
    assert [guarded.get(f"/files/cqc_carehomes_202601{day}_000000Z.csv").status for day in days] == [404] * 3


def test_a_file_is_an_attachment_of_one_piece(guarded: Within) -> None:
    answers = [
        guarded.get(f"/files/{NAME}", Range=part) for part in ("bytes=0-3", "lines=1", "bytes=999-", "bytes=4-1")
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"Name\nSynthetic Care\n")}
    assert {answer.headers["Content-Disposition"] for answer in answers} == {f'attachment; filename="{NAME}"'}


# --- browsers of this machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://site.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "site.example"},
        {"Host": "127.0.0.1.site.example"},
        {"Host": "localhost.site.example:80"},
        {"Host": "site.example:80@127.0.0.1"},
        {"Host": "[::1"},
    ],
)
def test_a_page_of_another_site_can_start_nothing(loopback: Within, headers: dict[str, str]) -> None:
    body, kind = form(CSV.format("of another site"))
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items())
    head = f"POST /hospitals/bulk HTTP/1.1\r\n{lines}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    assert loopback.raw(head.encode() + b"Connection: close\r\n\r\n" + body).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "127.0.0.2:9", "[::1]:9"])
def test_programs_of_this_machine_are_served(loopback: Within, host: str) -> None:
    assert loopback.call("POST", "/hospitals/progress/cleanup", headers={"Host": host}).status == 200
    assert loopback.call("POST", "/hospitals/progress/cleanup", headers={"Host": host, "Origin": f"http://{host}"}).body


# --- where the server listens -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_a_proxy_has_passed_on_needs_the_token(name: str, box: Sandbox, tmp_path: Path) -> None:
    with within(tmp_path, box.settings()) as server:
        passed_on = {name: "192.0.2.7"}
        assert server.call("GET", "/hospitals/resumable", headers={HEADER: ""}).status == 200
        assert server.call("GET", "/hospitals/resumable", headers={HEADER: "", **passed_on}).status == 401
        assert server.call("GET", "/hospitals/resumable", headers=passed_on).status == 200


def test_an_open_address_needs_a_token(tmp_path: Path) -> None:
    ended = Program(tmp_path / "x", {"APP_HOST": "0.0.0.0", "DATA_DIR": str(tmp_path)}).run("serve", "--port", "0")
    assert ended.code == 10
    assert "RUN_TOKEN is not set" in ended.err


def test_an_open_address_with_leave_for_everyone(tmp_path: Path) -> None:
    arguments = ("--host", "0.0.0.0", "--allow-anonymous")
    with serving(tmp_path / "x", *arguments, RUN_TOKEN="") as server:
        assert (server.get("/", Host="site.example").status, server.post("/run").status) == (200, 500)


def test_the_token_is_in_no_log_and_no_output(tmp_path: Path) -> None:
    with serving(tmp_path / "x", LOG_LEVEL="debug") as server:
        scatter_the_token(server)
        server.terminate()
    texts = {path: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}
    assert [path.name for path, text in texts.items() if TOKEN.encode() in text] == []
    assert sum("GET /files/***" in text.decode(errors="replace") for text in texts.values()) == 1


def test_uvicorn_shows_no_token_either(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data"), "RUN_TOKEN": TOKEN, "LOG_LEVEL": "debug"}
    environment = Program(tmp_path / "x", settings).environment
    printed = tmp_path / "printed.txt"
    command = [sys.executable, "-m", "uvicorn", "dataflows.web:app", "--port", "0", "--log-level", "trace"]
    with printed.open("wb") as out:
        popen = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path / "x", env=environment)
    try:
        marker = "running on http://127.0.0.1:"
        until(lambda: marker in printed.read_text() or popen.poll() is not None, "uvicorn")
        server = Caller(int(printed.read_text().partition(marker)[2].split()[0]))
        scatter_the_token(server)
        assert server.get("/", X_Auth_Token="").status == 200, "it listens on loopback"
    finally:
        popen.terminate()
        popen.wait(PATIENCE)
    assert TOKEN not in printed.read_text()
    assert "GET /files/***" in printed.read_text()
    logs = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert TOKEN.encode() not in logs


def scatter_the_token(server: Caller) -> None:
    """Send the token wherever a caller may put it by mistake."""
    seen = [
        server.get(f"/files/{NAME}?token={TOKEN}"),
        server.get(f"/files/{TOKEN}"),
        server.get("/files/" + "".join(f"%{ord(letter):02x}" for letter in TOKEN)),
        server.get("/" + "x" * (200 - len(TOKEN) // 2) + TOKEN),
        server.get(f"/hospitals/progress/{TOKEN}?again={TOKEN}"),
        server.post(f"/run?wait={TOKEN}"),
        server.call(TOKEN, "/health"),
        server.upload("/hospitals/validate", f"name,address\n{TOKEN},{TOKEN}\n", name=TOKEN, X_Auth_Token=TOKEN),
        server.get("/runs", Cookie=f"{COOKIE}={TOKEN}"),
        server.get("/health", User_Agent=TOKEN, Referer=f"http://127.0.0.1/files/x?token={TOKEN}"),
    ]
    shown = [answer for answer in seen if TOKEN in str(answer.headers).replace(f"/{TOKEN}", "")]
    assert shown == []
    shown = [answer for answer in seen if TOKEN.encode() in answer.body]
    assert [answer.document["is_valid"] for answer in shown] == [True], "the preview of the upload, and nothing else"
    server.raw(f"GET / HTTP/1.1\r\nHost: x\r\n{HEADER}: {TOKEN}\r\nbroken {TOKEN}\r\n\r\n".encode())
