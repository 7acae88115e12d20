"""One token for all threads: fetched once, renewed early, renewed once after a refusal; failures are shared too."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
import trustme

from dataflows.errors import AccessRefused, ServiceDown, SettingUnusable
from dataflows.remote import oauth
from dataflows.remote.oauth import Grant, MicrosoftGrants, TokenSource
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import Session
from tests.remote.loopback import (
    Answer,
    Loopback,
    Request,
    hang_up,
    in_turn,
    raw,
    reply,
    server_tls,
    serving,
    settings,
)

NewSession = Callable[..., Session]
POLICY = RetryPolicy(attempts=3, deadline=10, max_wait=0)


def token(name: str = "token-1", life: object = 3600) -> Answer:
    return reply(200, json.dumps({"access_token": name, "token_type": "Bearer", "expires_in": life}).encode())


def refusal(status: int = 401, **document: object) -> Answer:
    return reply(status, json.dumps({"error_description": "secret words of theirs", **document}).encode())


@pytest.fixture
def source_at(tmp_path: Path, session: Session) -> Callable[..., TokenSource]:
    def make(server: Loopback, policy: RetryPolicy = POLICY) -> TokenSource:
        return TokenSource(settings(tmp_path, token_endpoint=f"{server.url}/token"), session, policy)

    return make


Make = Callable[..., TokenSource]


def test_the_credentials_are_sent_as_a_form(source_at: Make) -> None:
    with serving(token()) as server:
        assert source_at(server).token() == "token-1"
    assert server.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(server.requests[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["synthetic-client"],
        "client_secret": ["synthetic-secret"],
        "scope": ["api://example.org/.default"],
    }


def test_a_token_is_used_as_long_as_it_lives(source_at: Make) -> None:
    with serving(token()) as server:
        source = source_at(server)
        assert [source.token() for _ in range(5)] == ["token-1"] * 5
    assert len(server.requests) == 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("dataflows.remote.oauth.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def with_grants(source: TokenSource, *outcomes: Grant | Exception) -> list[Grant | Exception]:
    """Let the source get these, one after the other, instead of asking a server. Returns what is left of them."""
    left = list(outcomes)

    class Fake:
        def fetch(self) -> Grant:
            outcome = left.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

    source._grants = Fake()  # type: ignore[assignment]
    return left


@pytest.fixture
def source(tmp_path: Path, session: Session) -> TokenSource:
    return TokenSource(settings(tmp_path, token_endpoint="https://login.example.org/token"), session, POLICY)


def test_a_token_is_renewed_before_its_end(source: TokenSource, clock: list[float]) -> None:
    with_grants(source, Grant("old", 4600, 3600), Grant("new", 9000, 3600))
    assert source.token() == "old"
    clock[0] = 4600 - 301
    assert source.token() == "old"
    clock[0] = 4600 - 299
    assert source.token() == "new"


def test_an_early_renewal_that_fails_leaves_the_good_token(source: TokenSource, clock: list[float]) -> None:
    left = with_grants(source, Grant("old", 4600, 3600), ServiceDown("503", reason="test"), Grant("new", 9000, 3600))
    source.token()
    clock[0] = 4400
    assert [source.token() for _ in range(3)] == ["old"] * 3
    assert len(left) == 1
    clock[0] = 4431
    assert source.token() == "new"


def test_a_token_that_ended_is_not_used(source: TokenSource, clock: list[float]) -> None:
    with_grants(source, Grant("old", 1060, 60), ServiceDown("503", reason="test"), Grant("new", 9000, 3600))
    source.token()
    clock[0] = 1061
    assert source.token() == "new"


def test_a_short_life_does_not_mean_a_token_per_call(source: TokenSource, clock: list[float]) -> None:
    left = with_grants(source, Grant("short", 1010, 10), Grant("next", 1020, 10))
    source.token()
    clock[0] = 1007
    assert source.token() == "short"
    assert len(left) == 1


def test_a_refused_token_is_replaced_once(source_at: Make) -> None:
    with serving(in_turn(token("old"), token("new"))) as server:
        source = source_at(server)
        stale = source.token()
        assert [source.renew(stale) for _ in range(3)] == ["new"] * 3
    assert len(server.requests) == 2


def gathered(count: int, call: Callable[[], str]) -> list[str | Exception]:
    """The outcome of a call in so many threads that begin together."""
    together = threading.Barrier(count)

    def one(_: int) -> str | Exception:
        together.wait(10)
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def slowly(answer: Answer, until: threading.Event) -> Answer:
    def send(connection: socket.socket, request: Request) -> None:
        until.wait(0.2)
        answer(connection, request)

    return send


def test_eight_threads_make_one_request(source_at: Make) -> None:
    with serving(slowly(token(), threading.Event())) as server:
        assert gathered(8, source_at(server).token) == ["token-1"] * 8
    assert len(server.requests) == 1


def test_eight_threads_renew_once(source_at: Make) -> None:
    with serving(in_turn(token("old"), slowly(token("new"), threading.Event()))) as server:
        source = source_at(server)
        stale = source.token()
        assert gathered(8, lambda: source.renew(stale)) == ["new"] * 8
    assert len(server.requests) == 2


def test_threads_that_waited_share_a_failure(source_at: Make) -> None:
    with serving(slowly(refusal(401, error="invalid_client"), threading.Event())) as server:
        outcomes = gathered(8, source_at(server).token)
    assert {type(outcome) for outcome in outcomes} == {AccessRefused}
    assert len(server.requests) == 1


# --- what the endpoint may answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [reply(503), reply(429, Retry_After="0"), reply(500), hang_up])
def test_trouble_at_the_endpoint_is_tried_again(source_at: Make, trouble: Answer) -> None:
    with serving(in_turn(trouble, trouble, token())) as server:
        assert source_at(server).token() == "token-1"
    assert len(server.requests) == 3


def test_an_endpoint_that_stays_down_has_sent_nothing_for_us(source_at: Make) -> None:
    with serving(reply(503)) as server, pytest.raises(ServiceDown, match="the token endpoint answered 503") as raised:
        source_at(server).token()
    assert not raised.value.sent


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(401, error="invalid_client"), "CLIENT_ID or CLIENT_SECRET is not accepted"),
        (refusal(400, error="invalid_scope"), "SCOPE is not accepted"),
        (refusal(401, error="invalid_client", error_codes=[7000222]), r"has expired.*\(AADSTS7000222\)"),
        (refusal(400, error="no such name, secret"), "the credentials are not accepted"),
        (refusal(400, error=["secret"], error_codes="secret"), "no reason given"),
        (reply(403, b"<html>secret</html>"), "no reason given"),
    ],
)
def test_a_refusal_is_told_in_our_words_and_not_tried_again(source_at: Make, answer: Answer, words: str) -> None:
    with serving(answer) as server, pytest.raises(AccessRefused, match=words) as raised:
        source_at(server).token()
    assert len(server.requests) == 1
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html>please sign in</html>"),
        reply(200, b"[]"),
        reply(200, b'{"access_token": ""}'),
        reply(200, b'{"access_token": 5}'),
        reply(204),
        reply(302, Location="https://example.org/"),
        reply(404),
        reply(405),
    ],
)
def test_what_is_no_token_endpoint_is_a_setting_to_correct(source_at: Make, answer: Answer) -> None:
    with serving(answer) as server, pytest.raises(SettingUnusable, match="TOKEN_ENDPOINT"):
        source_at(server).token()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("life", "left"),
    [(3600, 3600), ("1800", 1800), (None, 3600), ("soon", 3600), (-5, 0), ("nan", 0), (1e300, 86_400)],
)
def test_a_life_is_understood_or_taken_as_an_hour(life: object, left: int) -> None:
    assert oauth._seconds(life) == left


def test_what_may_be_said_of_a_token(source_at: Make) -> None:
    with serving(token()) as server:
        facts = source_at(server).describe()
    assert (facts.tenant, facts.scope) == ("localhost", "api://example.org/.default")
    assert 3590 <= facts.expires_in <= 3600


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Grant("secret", 1, 1))


def test_all_missing_settings_are_named_at_once(tmp_path: Path, session: Session) -> None:
    with pytest.raises(SettingUnusable, match="TOKEN_ENDPOINT and CLIENT_ID are not set"):
        TokenSource(settings(tmp_path, client_id=None), session, POLICY)


def test_a_secret_does_not_leave_over_open_http(tmp_path: Path, session: Session) -> None:
    with pytest.raises(SettingUnusable, match="not https"):
        TokenSource(settings(tmp_path, token_endpoint="http://login.example.org/token"), session, POLICY)


# --- MSAL ---------------------------------------------------------------------------------------------------------

TENANT = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("endpoint", "microsoft"),
    [
        (f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token", True),
        (f"https://login.microsoftonline.us/{TENANT}/oauth2/v2.0/token", True),
        ("https://login.microsoftonline.com.example.org/token", False),
        ("https://login.example.org/token", False),
    ],
)
def test_msal_serves_microsoft_and_nobody_else(endpoint: str, microsoft: bool) -> None:
    assert MicrosoftGrants.serves(endpoint) is microsoft


@pytest.mark.parametrize("path", ["/oauth2/v2.0/token", "/oauth2/token", "/oauth2/v2.0/token/"])
def test_the_authority_is_what_stands_before_the_token_path(path: str) -> None:
    assert oauth._authority(f"https://login.microsoftonline.com/{TENANT}{path}") == (
        f"https://login.microsoftonline.com/{TENANT}"
    )


def test_the_tenant_of_a_microsoft_endpoint_is_named() -> None:
    assert oauth.tenant(f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token") == TENANT


@pytest.fixture
def msal_at(tmp_path: Path, ca_bundle: Path, new_session: NewSession) -> Callable[[Loopback], TokenSource]:
    """A source that asks by MSAL, although the endpoint is on loopback."""

    def make(server: Loopback) -> TokenSource:
        endpoint = f"{server.url}/{TENANT}/oauth2/v2.0/token"
        chosen = settings(tmp_path, token_endpoint=endpoint, requests_ca_bundle=ca_bundle)
        session = new_session(requests_ca_bundle=ca_bundle)
        source = TokenSource(chosen, session, POLICY)
        source._grants = MicrosoftGrants(chosen, session)
        return source

    return make


def test_msal_asks_the_configured_endpoint_and_nothing_else(msal_at: Make, authority: trustme.CA) -> None:
    with serving(token(), server_tls(authority)) as server:
        assert msal_at(server).token() == "token-1"
    assert [request.line for request in server.requests] == [f"POST /{TENANT}/oauth2/v2.0/token HTTP/1.1"]
    form = parse_qs(server.requests[0].body.decode())
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_secret"] == ["synthetic-secret"]
    assert form["scope"] == ["api://example.org/.default"]


@pytest.mark.parametrize("trouble", [reply(503), reply(429, Retry_After="0"), reply(500)])
def test_msal_does_not_answer_a_retry_from_its_memory(msal_at: Make, authority: trustme.CA, trouble: Answer) -> None:
    with serving(in_turn(trouble, token()), server_tls(authority)) as server:
        assert msal_at(server).token() == "token-1"
    assert len(server.requests) == 2


def test_msal_gives_a_new_token_for_a_refused_one(msal_at: Make, authority: trustme.CA) -> None:
    with serving(in_turn(token("old"), token("new")), server_tls(authority)) as server:
        source = msal_at(server)
        assert source.renew(source.token()) == "new"


def test_eight_threads_make_one_request_through_msal(msal_at: Make, authority: trustme.CA) -> None:
    with serving(slowly(token(), threading.Event()), server_tls(authority)) as server:
        assert gathered(8, msal_at(server).token) == ["token-1"] * 8
    assert len(server.requests) == 1


def test_a_refusal_through_msal_is_told_in_our_words(msal_at: Make, authority: trustme.CA) -> None:
    answer = refusal(401, error="invalid_client", error_codes=[7000215])
    with serving(answer, server_tls(authority)) as server, pytest.raises(AccessRefused) as raised:
        msal_at(server).token()
    assert "CLIENT_SECRET is wrong" in raised.value.message
    assert "words of theirs" not in raised.value.message


def test_a_400_through_msal_is_not_remembered(msal_at: Make, authority: trustme.CA) -> None:
    with serving(in_turn(refusal(400, error="invalid_request"), token()), server_tls(authority)) as server:
        source = msal_at(server)
        with pytest.raises(AccessRefused):
            source.token()
        assert source.token() == "token-1"


def test_a_sign_in_page_through_msal_is_a_setting_to_correct(msal_at: Make, authority: trustme.CA) -> None:
    with serving(reply(200, b"<html>"), server_tls(authority)) as server, pytest.raises(SettingUnusable):
        msal_at(server).token()


def test_an_answer_that_breaks_off_under_msal_is_tried_again(msal_at: Make, authority: trustme.CA) -> None:
    cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", close=True)
    with serving(in_turn(cut, token()), server_tls(authority)) as server:
        assert msal_at(server).token() == "token-1"
