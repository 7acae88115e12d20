"""A transaction is repeated where that can help, as a whole, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
import tenacity

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.store import failures
from dataflows.store.database import connect
from dataflows.store.failures import ATTEMPTS, in_statements, in_transaction
from tests.store.sqlserver_errors import SAID


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_WAIT", tenacity.wait_none())


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = connect(f"sqlite:///{tmp_path / 'staging.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (a)"))
    return engine


class Work:
    """Inserts a row, and fails afterwards as often as it is told with what SQL Server says under a number."""

    def __init__(self, number: int, *, fails: int) -> None:
        (self.said,) = [one for one in SAID if one.source == f"sys.messages {number}"]
        self.fails = fails
        self.tried = 0

    def __call__(self, connection: sa.Connection) -> int:
        self.tried += 1
        connection.execute(sa.text("INSERT INTO t VALUES (:a)"), {"a": self.tried})
        if self.tried <= self.fails:
            raise self.said.kind("UPDATE", None, Exception(self.said.state, f"[{self.said.state}] {self.said.text}"))
        return self.tried


def rows(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT a FROM t")).scalars())


@pytest.mark.parametrize("number", [1205, 1222])
def test_a_deadlock_and_a_lock_of_the_loader_cost_another_try(engine: sa.Engine, number: int) -> None:
    assert in_transaction(engine, Work(number, fails=2)) == 3
    assert rows(engine) == [3], "what had been done before the failure was taken back"


def test_it_is_not_tried_for_ever(engine: sa.Engine) -> None:
    work = Work(1205, fails=1000)
    with pytest.raises(ServiceDown, match="locked by another program"):
        in_transaction(engine, work)
    assert work.tried == ATTEMPTS


def test_what_is_refused_is_not_tried_again(engine: sa.Engine) -> None:
    work = Work(2628, fails=1000)
    with pytest.raises(SettingUnusable):
        in_transaction(engine, work)
    assert (work.tried, rows(engine)) == (1, [])


def test_a_session_that_was_lost_is_replaced(postgres_url: str) -> None:
    engine = connect(postgres_url)
    killed: list[bool] = []

    def work(connection: sa.Connection) -> int:
        if not killed:
            killed.append(True)
            connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return int(connection.execute(sa.text("SELECT 1")).scalar_one())

    assert in_transaction(engine, work) == 1
    engine.dispose()


def test_a_statement_that_hangs_ends(postgres_url: str) -> None:
    engine = connect(
        sa.make_url(postgres_url).update_query_dict({"options": "-c statement_timeout=100ms"}).render_as_string(False)
    )
    with pytest.raises(ServiceDown):
        in_transaction(engine, lambda connection: connection.execute(sa.text("SELECT pg_sleep(60)")))
    engine.dispose()


def test_statements_by_themselves_need_no_transaction_around_them(postgres_url: str) -> None:
    """Two round trips less for each; the session is as before for who comes next."""
    engine = connect(postgres_url)
    sent = sa.text("SELECT pg_current_xact_id_if_assigned() IS NULL AND now() < clock_timestamp()")

    def states(connection: sa.Connection) -> list[str]:
        connection.execute(sent)
        driver = connection.connection.dbapi_connection
        return [driver.info.transaction_status.name, str(driver.autocommit)]  # type: ignore[union-attr]

    assert in_statements(engine, states) == ["IDLE", "True"]
    assert in_transaction(engine, states) == ["INTRANS", "False"]
    engine.dispose()


@pytest.mark.parametrize("ping_after", [0.0, 60.0])
def test_a_session_that_ended_while_it_was_idle_is_replaced(postgres_url: str, ping_after: float) -> None:
    """By a question before it is used, or, where that would cost more than it saves, by doing the work again."""
    engine, other = connect(postgres_url, ping_after=ping_after), connect(postgres_url)
    number = sa.text("SELECT pg_backend_pid()")
    mine = in_statements(engine, lambda connection: connection.execute(number).scalar_one())
    with other.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": mine})
    if not ping_after:
        with engine.connect() as connection:
            assert connection.execute(number).scalar_one() != mine
    assert in_statements(engine, lambda connection: connection.execute(number).scalar_one()) != mine
    for one in (engine, other):
        one.dispose()
