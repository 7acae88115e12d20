"""The token endpoint of the sandbox."""

from __future__ import annotations

import pytest

from dataflows.sandbox.model import TokenIssuer
from dataflows.sandbox.server import Sandbox
from tests.sandbox.client import ask_token, child, post, token_of


def test_a_token_for_the_right_client(box: Sandbox) -> None:
    reply = ask_token(box)

    assert reply.status == 200
    assert reply.json["token_type"] == "Bearer"
    assert reply.json["expires_in"] == 3600
    assert reply.json["access_token"].startswith("synthetic-")
    assert box.token.issued == 1


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"scope": "wrong"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"content_type": "application/json"}, 400, "invalid_request"),
    ],
)
def test_no_token_for_anything_else(box: Sandbox, changes: dict[str, str], status: int, error: str) -> None:
    reply = ask_token(box, **changes)

    assert (reply.status, reply.json["error"]) == (status, error)
    assert box.token.issued == 0


def test_a_token_ends_with_its_time() -> None:
    now = [100.0]
    issuer = TokenIssuer(clock=lambda: now[0])
    issuer.faults.set(token_seconds=60)
    issuer._issue()
    (token,) = issuer._good_until

    now[0] = 159.9
    assert issuer.accepts(f"Bearer {token}")
    now[0] = 160.0
    assert not issuer.accepts(f"Bearer {token}")


def test_all_tokens_can_be_ended_at_once(box: Sandbox) -> None:
    token = token_of(box)
    box.token.expire_all()

    assert post(box, [child()], token).status == 401
    assert post(box, [child()]).status == 200


@pytest.mark.parametrize("header", ["Bearer wrong", "Basic wrong", "", "Bearer"])
def test_what_is_no_token_is_refused(box: Sandbox, header: str) -> None:
    assert post(box, [child()], headers={"Authorization": header}).status == 401


def test_the_secret_is_not_kept(box: Sandbox) -> None:
    ask_token(box)

    assert [one.body for one in box.token.requests] == [b""]
