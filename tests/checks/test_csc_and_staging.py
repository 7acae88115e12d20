"""The diagnostics: all checks run, each passes or says what to do, what cannot be tried is skipped; no secret shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme

from dataflows.checks import Check, check_schema
from dataflows.checks.csc import check_csc
from dataflows.checks.staging import check_staging
from dataflows.errors import ExitCode
from dataflows.flows.csc.table import create_table, staging_table
from dataflows.settings import Secret, Settings
from dataflows.store import schema
from dataflows.store.database import connect
from tests.flows.csc.schemas import DFE_FILE, grown_document
from tests.remote.loopback import Answer, Request, closed_port, in_turn, reply, server_tls, serving

SECRETS = ("synthetic-secret", "synthetic-key", "synthetic-token", "synthetic-password")


def by_name(checks: Iterator[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert not any(secret in repr(check) for secret in SECRETS for check in found.values())
    return found


def outcomes(checks: dict[str, Check]) -> dict[str, bool | None]:
    return {name: check.passed for name, check in checks.items()}


# --- test-db ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings that lead to an empty staging table."""
    address = f"sqlite:///{tmp_path / 'staging.db'}"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres_url")
    engine = connect(address)
    create_table(engine, "checked")
    yield Settings(data_dir=tmp_path, db_connection_string=Secret(address), table_name="checked")
    staging_table("checked").drop(engine, checkfirst=True)
    engine.dispose()


def run(settings: Settings, statement: str) -> None:
    assert settings.db_connection_string
    engine = connect(settings.db_connection_string)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_a_good_database_passes(database: Settings) -> None:
    found = by_name(check_staging(database))
    assert set(outcomes(found).values()) == {True}
    assert "it is empty" in found["read"].text
    assert "ms" in found["connection"].text
    assert "server version" in found["connection"].text


def test_the_trial_write_leaves_a_row_as_it_is(database: Settings) -> None:
    run(database, "INSERT INTO checked (json_payload) VALUES ('{}')")
    assert by_name(check_staging(database))["write"].passed


def test_a_table_that_is_missing_fails_the_read_and_skips_the_write(database: Settings) -> None:
    run(database, "DROP TABLE checked")
    found = by_name(check_staging(database))
    assert outcomes(found) == {
        "env file": True, "connection string": True, "connection": True, "read": False, "write": None,
    }  # fmt: skip
    assert found["read"].exit_code is ExitCode.SETTINGS
    assert found["write"].text == "not tried, it needs: read"


def test_a_server_that_is_not_there_can_be_there_later(tmp_path: Path) -> None:
    address = Secret(f"postgresql://loader:synthetic-password@127.0.0.1:{closed_port()}/ssd")
    found = by_name(check_staging(Settings(data_dir=tmp_path, db_connection_string=address)))
    assert found["connection"].exit_code is ExitCode.SERVICE_DOWN
    assert (found["read"].passed, found["write"].passed) == (None, None)


def test_a_file_that_is_not_there_is_not_made_in_passing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, db_connection_string=Secret(f"sqlite:///{tmp_path / 'typo.db'}"))
    found = by_name(check_staging(settings))
    assert found["connection string"].passed is False
    assert not (tmp_path / "typo.db").exists()


def test_no_connection_string_at_all(tmp_path: Path) -> None:
    found = by_name(check_staging(Settings(data_dir=tmp_path)))
    assert found["connection string"].exit_code is ExitCode.SETTINGS
    assert "DB_CONNECTION_STRING" in found["connection string"].text


# --- test-schema --------------------------------------------------------------------------------------------------


def test_the_table_as_it_should_be_passes(database: Settings) -> None:
    found = by_name(check_schema(database))
    assert set(outcomes(found).values()) == {True}
    assert not any(check.hint for name, check in found.items() if name.startswith("column"))
    assert "column partial_json_payload" in found


def test_it_says_which_schema_holds_and_what_differs(database: Settings, tmp_path: Path) -> None:
    assert by_name(check_schema(database))["attribute rules"].text == "DfE's schema 1.0.1, built in"

    same = by_name(check_schema(replace(database, csc_schema=DFE_FILE)))["attribute rules"]
    assert same.text == f"DfE's schema 1.0.1 from {DFE_FILE} says the same as the built-in 1.0.1"

    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(grown_document()), encoding="utf-8")
    grown = by_name(check_schema(replace(database, csc_schema=path)))["attribute rules"]
    assert grown.passed
    assert grown.text.startswith(f"DfE's schema 1.1.0 from {path} differs from the built-in 1.0.1: ")
    assert "social_care_episodes[].closure_note_code is new" in grown.text
    assert "worker_id: pattern is ^[A-Za-z0-9._-]*$" in grown.text


def test_a_schema_that_cannot_be_used_fails(database: Settings, tmp_path: Path) -> None:
    check = by_name(check_schema(replace(database, csc_schema=tmp_path / "none.json")))["attribute rules"]
    assert (check.passed, check.exit_code) == (False, ExitCode.SETTINGS)


def test_the_indexes_are_offered_until_they_are_there(database: Settings) -> None:
    found = by_name(check_schema(database))
    offers = {name: check for name, check in found.items() if name.startswith("index")}
    assert len(offers) == 3
    assert all(check.passed and "offered" in check.text for check in offers.values())
    for check in offers.values():
        run(database, check.hint)
    found = by_name(check_schema(database))
    assert [found[name].text for name in offers] == ["is there"] * 3


def test_a_missing_column_fails_with_the_statement_that_adds_it(database: Settings) -> None:
    run(database, "ALTER TABLE checked DROP COLUMN legacy_id")
    found = by_name(check_schema(database))
    assert found["column legacy_id"].passed is False
    assert found["column legacy_id"].exit_code is ExitCode.SETTINGS
    run(database, found["column legacy_id"].hint)
    assert by_name(check_schema(database))["column legacy_id"].passed


def test_a_column_of_another_type_is_a_warning(database: Settings) -> None:
    run(database, "ALTER TABLE checked DROP COLUMN legacy_id")
    run(database, "ALTER TABLE checked ADD legacy_id INTEGER")
    check = by_name(check_schema(database))["column legacy_id"]
    assert check.passed
    assert "warning: is INTEGER" in check.text
    assert "legacy_id" in check.hint


def test_a_column_that_is_too_short_is_mended_by_the_hint(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, db_connection_string=Secret(postgres_url), table_name="short")
    run(settings, "CREATE TABLE short (id SERIAL PRIMARY KEY, json_payload VARCHAR(100))")
    check = by_name(check_schema(settings))["column json_payload"]
    assert "warning: is VARCHAR(100)" in check.text
    run(settings, check.hint)
    assert not by_name(check_schema(settings))["column json_payload"].hint
    run(settings, "DROP TABLE short")


def test_without_a_table_every_column_is_skipped(database: Settings) -> None:
    run(database, "DROP TABLE checked")
    found = by_name(check_schema(database))
    assert found["table"].passed is False
    assert {check.passed for name, check in found.items() if name.startswith("column")} == {None}


@pytest.mark.parametrize(
    ("there", "fits"),
    [
        (sa.NVARCHAR(20), True),
        (sa.NVARCHAR(40), True),
        (sa.NVARCHAR(10), False),
        (sa.VARCHAR(20), False),
        (sa.INTEGER(), False),
    ],
)
def test_sql_server_wants_unicode_and_room(there: sa.types.TypeEngine[str], fits: bool) -> None:
    assert schema._fits("mssql", there, sa.Unicode(20)) is fits


def test_sql_server_gets_its_own_alter() -> None:
    dialect = sa.dialects.registry.load("mssql")()
    columns = staging_table("dbo.staging").c
    assert schema._statement(dialect, columns.person_id, "ALTER") == (
        "ALTER TABLE dbo.staging ALTER COLUMN person_id NVARCHAR(20) NULL"
    )
    assert schema._statement(dialect, columns.json_payload, "ALTER") == (
        "ALTER TABLE dbo.staging ALTER COLUMN json_payload NVARCHAR(max) NOT NULL"
    )
    assert schema._statement(dialect, columns.current_hash, "ADD") == (
        "ALTER TABLE dbo.staging ADD current_hash BINARY(32)"
    )


# --- test-endpoint ------------------------------------------------------------------------------------------------

TOKEN = reply(200, json.dumps({"access_token": "synthetic-token", "expires_in": 3600}).encode())


@pytest.fixture
def settings(tmp_path: Path, authority: trustme.CA) -> Callable[..., Settings]:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))

    def make(url: str, **changed: object) -> Settings:
        usual: dict[str, object] = {
            "data_dir": tmp_path,
            "requests_ca_bundle": bundle,
            "http_timeout_seconds": 1.0,
            "token_endpoint": f"{url}/token",
            "api_endpoint": url,
            "client_id": "synthetic-client",
            "client_secret": Secret("synthetic-secret"),
            "scope": "api://example.org/.default",
            "supplier_key": Secret("synthetic-key"),
            "la_code": "845",
        }
        return Settings(**{**usual, **changed})  # type: ignore[arg-type]

    return make


Make = Callable[..., Settings]


def api(access: Answer, token: Answer = TOKEN) -> Answer:
    """An endpoint for both: it gives tokens, and answers an empty batch by ``access``."""

    def answer(connection: object, request: Request) -> None:
        if request.line.startswith("HEAD"):
            reply(404)(connection, request)  # type: ignore[arg-type]
        else:
            (token if "/token" in request.line else access)(connection, request)  # type: ignore[arg-type]

    return answer


@pytest.mark.parametrize("status", [200, 204, 400])
def test_an_endpoint_that_lets_us_in_passes(settings: Make, status: int) -> None:
    with serving(api(reply(status))) as server:
        found = by_name(check_csc(settings(server.url)))
    assert set(outcomes(found).values()) == {True}
    assert f"answered with {status}" in found["access"].text
    posted = server.requests[-1]
    assert posted.line == "POST /children_social_care_data/845/children HTTP/1.1"
    assert posted.body == b"[]"
    assert posted.headers["supplierkey"] == "synthetic-key"
    assert posted.headers["authorization"] == "Bearer synthetic-token"


@pytest.mark.parametrize(("body", "passed"), [(b"[]", True), (b"<html>Sign in</html>", False)])
def test_a_page_that_comes_with_200_is_not_the_api(settings: Make, body: bytes, passed: bool) -> None:
    with serving(api(reply(200, body))) as server:
        access = by_name(check_csc(settings(server.url)))["access"]
    assert (access.passed, access.exit_code) == (passed, ExitCode.OK if passed else ExitCode.SETTINGS)


def test_a_401_also_points_to_the_supplier_key(settings: Make) -> None:
    with serving(api(reply(401))) as server:
        assert "SUPPLIER_KEY" in by_name(check_csc(settings(server.url)))["access"].hint


def test_the_token_is_described_and_not_shown(settings: Make) -> None:
    with serving(api(reply(204))) as server:
        text = by_name(check_csc(settings(server.url)))["token"].text
    assert "tenant localhost, scope api://example.org/.default, good for 60 minutes" in text


def test_the_issuer_of_the_certificate_is_named(settings: Make, authority: trustme.CA) -> None:
    with serving(api(reply(204)), server_tls(authority)) as server:
        text = by_name(check_csc(settings(server.url)))["connection"].text
    assert "TLS certificate issued by" in text
    assert "trustme" in text
    assert "without proxy" in text


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, ExitCode.ACCESS_REFUSED),
        (403, ExitCode.ACCESS_REFUSED),
        (404, ExitCode.SETTINGS),
        (302, ExitCode.SETTINGS),
        (429, ExitCode.SERVICE_DOWN),
        (503, ExitCode.SERVICE_DOWN),
    ],
)
def test_an_endpoint_that_does_not_let_us_in_fails(settings: Make, status: int, code: ExitCode) -> None:
    with serving(api(reply(status))) as server:
        found = by_name(check_csc(settings(server.url)))
    assert (found["access"].passed, found["access"].exit_code) == (False, code)
    assert found["access"].hint
    assert found["token"].passed


def test_a_refused_token_skips_only_what_needs_it(settings: Make) -> None:
    with serving(api(reply(204), token=reply(401, b'{"error": "invalid_client"}'))) as server:
        found = by_name(check_csc(settings(server.url)))
    assert found["token"].exit_code is ExitCode.ACCESS_REFUSED
    assert (found["connection"].passed, found["access"].passed) == (True, None)


def test_trouble_is_told_at_once_and_not_waited_out(settings: Make) -> None:
    with serving(api(reply(204), token=in_turn(reply(503), TOKEN))) as server:
        found = by_name(check_csc(settings(server.url)))
    assert found["token"].exit_code is ExitCode.SERVICE_DOWN


def test_settings_that_are_missing_are_each_named(settings: Make) -> None:
    with serving(api(reply(204))) as server:
        found = by_name(check_csc(settings(server.url, scope=None, supplier_key=None)))
    failed = {name for name, check in found.items() if check.passed is False}
    assert failed == {"SCOPE", "SUPPLIER_KEY"}
    assert (found["connection"].passed, found["token"].passed, found["access"].passed) == (True, None, None)


def test_a_bundle_that_is_no_use_skips_what_needs_it(settings: Make, tmp_path: Path) -> None:
    found = by_name(check_csc(settings("https://localhost", requests_ca_bundle=tmp_path / "missing.pem")))
    assert found["certificates"].exit_code is ExitCode.SETTINGS
    assert {found[name].passed for name in ("connection", "token", "access")} == {None}


def test_where_settings_come_from_is_told(settings: Make, tmp_path: Path) -> None:
    origins = {"scope": "environment", "client_id": "env file"}
    with serving(api(reply(204))) as server:
        found = by_name(check_csc(settings(server.url, env_file=tmp_path / ".env", origins=origins)))
    assert found["env file"].text == f"{tmp_path / '.env'} was read"
    assert (found["SCOPE"].text, found["CLIENT_ID"].text) == ("from the environment", "from the env file")


def test_an_unknown_authority_is_told_with_the_setting_to_change(settings: Make) -> None:
    with serving(api(reply(204)), server_tls(trustme.CA())) as server:
        found = by_name(check_csc(settings(server.url)))
    assert found["connection"].exit_code is ExitCode.SERVICE_DOWN
    assert "REQUESTS_CA_BUNDLE" in found["connection"].hint
