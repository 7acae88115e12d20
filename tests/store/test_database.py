"""One way to a database for ODBC strings and URLs, and a fingerprint that sees every difference."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry

from dataflows.errors import SettingUnusable
from dataflows.settings import Secret
from dataflows.store import database
from dataflows.store.database import connect, fingerprint

ODBC = "Driver={ODBC Driver 18 for SQL Server};Server=tcp:db.example.org,1433;Database=ssd;UID=loader;PWD={sec;ret}}=1}"

_METADATA = sa.MetaData()
TABLE = sa.Table(
    "fingerprints", _METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.UnicodeText)
)


@pytest.fixture
def texts(engine: sa.Engine) -> Iterator[sa.Connection]:
    _METADATA.drop_all(engine)
    _METADATA.create_all(engine)
    with engine.connect() as connection:
        yield connection
    _METADATA.drop_all(engine)


def prints(connection: sa.Connection, *texts: str | None) -> list[bytes | None]:
    connection.execute(sa.insert(TABLE), [{"id": number, "text": text} for number, text in enumerate(texts)])
    return list(connection.execute(sa.select(fingerprint(TABLE.c.text)).order_by(TABLE.c.id)).scalars())


def test_a_fingerprint_is_the_sha_256_of_the_text(texts: sa.Connection) -> None:
    text, encoding = "Jürgen \N{SNOWMAN} \N{PILE OF POO}", "utf-16-le" if texts.dialect.name == "mssql" else "utf-8"
    assert prints(texts, text) == [hashlib.sha256(text.encode(encoding)).digest()]


def test_nothing_has_no_fingerprint(texts: sa.Connection) -> None:
    assert prints(texts, None) == [None]


def test_case_blanks_and_accents_make_a_difference(texts: sa.Connection) -> None:
    alike = ["Mueller", "mueller", "Müller", "Mu\N{COMBINING DIAERESIS}ller", "Mueller ", "Mueller\n", " Mueller", ""]
    assert len(set(prints(texts, *alike))) == len(alike)


def test_a_fingerprint_can_be_compared_with_a_value_read_before(texts: sa.Connection) -> None:
    (old,) = prints(texts, "Mueller")
    same = sa.select(sa.func.count()).where(fingerprint(TABLE.c.text) == sa.bindparam("old", type_=sa.LargeBinary))
    assert texts.execute(same, {"old": old}).scalar() == 1


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("mssql", "HASHBYTES('SHA2_256', CAST(fingerprints.text AS NVARCHAR(MAX)))"),
        ("postgresql", "sha256(convert_to(fingerprints.text, 'UTF8'))"),
        ("sqlite", "fingerprint(fingerprints.text)"),
    ],
)
def test_the_sql_of_each_dialect(dialect: str, sql: str) -> None:
    compiled = sa.select(fingerprint(TABLE.c.text)).compile(dialect=registry.load(dialect)())
    assert sql in str(compiled).replace("[", "").replace("]", "")


# --- the engine ---------------------------------------------------------------------------------------------------


@pytest.fixture
def odbc() -> None:
    pytest.importorskip(
        "pyodbc", reason="ODBC tests are skipped: there is no ODBC driver manager", exc_type=ImportError
    )


def test_a_secret_is_revealed_to_the_driver_only() -> None:
    engine = connect(Secret("postgresql://loader:hush@db.example.org/ssd"))
    assert engine.url.password == "hush"
    assert "hush" not in repr(engine)


@pytest.mark.usefixtures("odbc")
def test_an_odbc_string_is_a_sql_server_and_shows_no_password() -> None:
    engine = connect(ODBC)
    assert engine.dialect.name == "mssql"
    assert (engine.url.query["server"], engine.url.query["database"]) == ("tcp:db.example.org,1433", "ssd")
    assert "sec" not in f"{engine!r} {engine.url.render_as_string(hide_password=False)}"


@pytest.mark.usefixtures("odbc")
def test_an_odbc_string_reaches_the_driver_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def refuse(text: str, **options: object) -> None:
        asked.append((text, options))
        raise ConnectionError

    monkeypatch.setattr("pyodbc.connect", refuse)
    with pytest.raises(ConnectionError):
        connect(ODBC).connect()
    assert asked == [(ODBC, {"timeout": database.LOGIN_SECONDS, "autocommit": False})]


@pytest.mark.usefixtures("odbc")
def test_sql_server_sessions_wait_for_a_lock_and_end_when_they_are_closed() -> None:
    import pyodbc

    class Cursor:
        timeout = 0

        def __init__(self) -> None:
            self.done: list[str] = []

        def execute(self, sql: str) -> None:
            self.done.append(sql)

        def close(self) -> None:
            self.done.append("close")

        cursor = property(lambda self: lambda: self)

        def commit(self) -> None:
            self.done.append("commit")

    connect(ODBC)
    assert not pyodbc.pooling
    session = Cursor()
    database._bound_waits(session, None)
    assert session.done == ["SET LOCK_TIMEOUT 30000", "close", "commit"]
    assert session.timeout == 120  # seconds per statement: one that hangs ends


class Said:
    """A cursor that says one thing after another, as a driver does of a statement with triggers."""

    description = None

    def __init__(self, *counts: int | Exception) -> None:
        self._counts = list(counts)
        self.rowcount = int(self._counts.pop(0))  # type: ignore[arg-type]

    def nextset(self) -> bool:
        if not self._counts:
            return False
        count = self._counts.pop(0)
        if isinstance(count, Exception):
            raise count
        self.rowcount = count
        return True


UPDATE = SimpleNamespace(isinsert=False, isupdate=True, isdelete=False)


def test_a_trigger_that_fails_in_its_second_statement_is_heard() -> None:
    with pytest.raises(ValueError, match="second"):
        database._take_everything(None, Said(1, ValueError("second")), "", (), UPDATE, False)  # type: ignore[arg-type]


def test_the_count_of_a_statement_is_the_last_one() -> None:
    context = SimpleNamespace(**vars(UPDATE))
    database._take_everything(None, Said(3, 1, 7), "", (), context, False)  # type: ignore[arg-type]
    assert context._rowcount == 7


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Server=db.example.org;Database=ssd;Trusted_Connection=yes", "does not name a driver"),
        ("Data Source=db.example.org;Initial Catalog=ssd;Integrated Security=SSPI", ".NET"),
        ("Server=db.example.org;Database=ssd;User Id=me;Password=hush;", ".NET"),
    ],
)
def test_an_odbc_string_without_a_driver_is_told_what_to_write(text: str, told: str) -> None:
    with pytest.raises(SettingUnusable, match=told) as raised:
        connect(text)
    assert "Driver={ODBC Driver 18 for SQL Server};" in raised.value.hint
    assert "hush" not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_psycopg(scheme: str) -> None:
    assert connect(f"{scheme}://user@db.example.org/ssd").driver == "psycopg"


def test_postgresql_sessions_introduce_themselves_and_do_not_wait_for_ever(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with engine.connect() as connection:
        assert str(connection.execute(sa.text("SHOW application_name")).scalar()).startswith("dataflows ")
        assert connection.execute(sa.text("SHOW lock_timeout")).scalar() == "30s"
    engine.dispose()


def test_what_the_url_says_goes_before(postgres_url: str) -> None:
    engine = connect(sa.make_url(postgres_url).update_query_dict({"application_name": "mine"}).render_as_string(False))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW application_name")).scalar() == "mine"
    engine.dispose()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "staging",
        "hush",
        "mysql://user:hush@db.example.org/x",
        "nothing+like://user:hush@db.example.org/x",
        "://hush",
    ],
)
def test_what_is_no_database_is_not_quoted(text: str) -> None:
    with pytest.raises(SettingUnusable, match="DB_CONNECTION_STRING is neither") as raised:
        connect(text)
    assert "hush" not in raised.value.message
    assert raised.value.__context__ is None


def test_the_setting_that_is_wrong_is_named() -> None:
    with pytest.raises(SettingUnusable, match="THERAPISTS_DATABASE"):
        connect("nonsense", name="THERAPISTS_DATABASE")


def test_a_machine_without_odbc_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pyodbc":
                raise ImportError("libodbc.so.2: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(SettingUnusable, match="no ODBC manager") as raised:
        connect(ODBC)
    assert "ODBC Driver 18" in raised.value.hint


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(SettingUnusable, match="not installed"):
        connect("postgresql+psycopg2://user:hush@db.example.org/x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Driver={ODBC 18};Server= tcp:a,1433 ;UID=x", {"driver": "{ODBC 18}", "server": "tcp:a,1433", "uid": "x"}),
        ("PWD={a;b=}}c};x=y", {"pwd": "{a;b=}}c}", "x": "y"}),
        ("Driver={never closed;Server=a", {"driver": "{never closed", "server": "a"}),
        ("nonsense; =a; b = c ;;d=", {"b": "c", "d": ""}),
    ],
)
def test_the_words_of_an_odbc_string(text: str, words: dict[str, str]) -> None:
    assert database._pairs(text) == words


@pytest.mark.parametrize(
    "text",
    [
        *("{" * 200_000, "a={;" * 50_000, "a={" + "}" * 200_001),
        *(" " * 200_000 + "a", "a=" + " " * 200_000, "=;" * 100_000),
    ],
    ids=["braces", "open values", "closing braces", "blanks", "blanks as value", "no keys"],
)
def test_an_odbc_string_is_read_in_one_pass(text: str) -> None:
    began = time.process_time()
    database._pairs(text)
    assert time.process_time() - began < 2  # a pattern that tries again takes minutes
