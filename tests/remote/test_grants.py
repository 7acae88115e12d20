"""What a token endpoint may answer, read by both kinds of grants: our own request, and MSAL's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import responses

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.remote.oauth import Grant, MicrosoftGrants, PlainGrants
from dataflows.remote.session import Session
from tests.remote.loopback import settings
from tests.remote.mocked import answering

ENDPOINT = "https://login.microsoftonline.com/synthetic-tenant/oauth2/v2.0/token"
Fetch = Callable[..., Grant]


@pytest.fixture
def wire() -> Iterator[responses.RequestsMock]:
    with answering(all_asked=False) as mock:
        yield mock


@pytest.fixture(params=[PlainGrants, MicrosoftGrants])
def fetch(request: pytest.FixtureRequest, wire: responses.RequestsMock, tmp_path: Path, session: Session) -> Fetch:
    grants = request.param(settings(tmp_path, token_endpoint=ENDPOINT), session)

    def answered(status: int = 200, body: object = "", **headers: str) -> Grant:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        wire.post(ENDPOINT, text, status=status, headers=headers)
        return grants.fetch()  # type: ignore[no-any-return]

    return answered


def test_a_token_comes_with_its_life(fetch: Fetch, wire: responses.RequestsMock) -> None:
    grant = fetch(body={"access_token": "synthetic", "expires_in": 600, "token_type": "Bearer"})
    assert (grant.value, grant.life) == ("synthetic", 600)
    form = parse_qs(str(_text(wire.calls[-1].request.body)))
    assert form["grant_type"] == ["client_credentials"]
    assert form["client_secret"] == ["synthetic-secret"]
    assert len(wire.calls) == 1


def _text(body: object) -> object:
    return body.decode() if isinstance(body, bytes) else body


@pytest.mark.parametrize(("status", "told", "wait"), [(429, "7", 7.0), (503, "soon", None), (500, "1.5", None)])
def test_not_now_is_told_with_the_wish_to_wait(fetch: Fetch, status: int, told: str, wait: float | None) -> None:
    with pytest.raises(ServiceDown, match=f"answered {status}") as raised:
        fetch(status, {"error": "temporarily_unavailable"}, **{"Retry-After": told})
    assert raised.value.wait == wait


ODD = [
    {"error_codes": [[1]]},
    {"error_codes": {"a": 1}, "error": {"a": []}},
    {"error_codes": [None, True, 1e300, "7000215", {}], "error": 7},
    {"error": ["invalid_client"], "error_description": 5, "correlation_id": [], "suberror": {}},
    [[1]],
    7,
    None,
    "text",
    "",
]


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("body", ODD, ids=repr)
def test_a_refusal_of_any_shape_is_a_refusal(fetch: Fetch, status: int, body: object) -> None:
    with pytest.raises((AccessRefused, SettingUnusable)):
        fetch(status, json.dumps(body))


@pytest.mark.parametrize(
    "body",
    [*ODD, {"access_token": [[1]]}, {"access_token": "", "expires_in": {}}, {"access_token": None, "token_type": []}],
    ids=repr,
)
def test_an_answer_without_a_token_is_that_of_no_token_endpoint(fetch: Fetch, body: object) -> None:
    with pytest.raises(DataflowsError) as raised:
        fetch(200, json.dumps(body))
    assert raised.value.exit_code in (10, 13)


@pytest.mark.parametrize("life", [[], {}, None, "soon", -5, 1e300, "1" * 90])
def test_a_life_of_any_shape_is_a_life(fetch: Fetch, life: object) -> None:
    try:
        grant = fetch(body={"access_token": "synthetic", "expires_in": life, "token_type": "Bearer"})
    except SettingUnusable:  # MSAL wants a number
        return
    assert 0 <= grant.life <= 86_400


@pytest.mark.parametrize("error", [401, 400])
def test_microsofts_numbers_are_known(fetch: Fetch, error: int) -> None:
    with pytest.raises(AccessRefused, match=r"has expired.*AADSTS7000222"):
        fetch(error, {"error": "invalid_client", "error_codes": [7000222], "error_description": "theirs"})
