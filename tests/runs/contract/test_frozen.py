"""Journals that earlier versions left are continued. The files in ``frozen`` hold synthetic data and never change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dataflows.flows.cqc.history import History
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.claims import ClaimedKey
from dataflows.flows.csc.records import Place
from dataflows.flows.hospitals.ledger import BatchStore, CreateWindow
from dataflows.flows.hospitals.rows import Hospital, HospitalRow, Portion, State
from dataflows.flows.hospitals.uploads import UploadStore
from dataflows.runs.clock import Clock
from dataflows.runs.journal import RESUMABLE, Item, Journal
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.trouble import Trouble

FROZEN = Path(__file__).parent / "frozen"
CIPHER = IdentifierCipher(bytes(range(32)))
PLACE = Place("https://council.example/api", "301", "db#children", "old spelling")
RUN, BATCH = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"


@pytest.fixture(params=["first", "second"])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """The journal that a version left, opened by this one."""
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.executescript((FROZEN / f"{request.param}.sql").read_text(encoding="utf-8"))
    with closing(Journal.open(tmp_path)) as journal:
        yield journal


def test_runs_and_items(left: Journal) -> None:
    assert [one.command for one in left.runs()] == ["hospitals-bulk", "csc-submit"]
    assert left.find(BATCH[:5]).run_id == left.find("2222").run_id == RUN
    assert left.items(RUN) == [Item("1", "done"), Item("2", "unknown", 1, "no_answer")]
    left.finish(left.start("hospitals-bulk", "key", options={}), "done", 0, {}, None, {"status": "ok"})
    assert left.runs(state=RESUMABLE) == []


def test_fetches(left: Journal) -> None:
    last = History(left, "/files").last_good("homecare")
    assert last is not None
    assert (last.rows, last.columns) == (2, None)


def test_children(left: Journal) -> None:
    acks = Acknowledgements(left, CIPHER, PLACE)
    assert (acks.holds(), acks.in_doubt(), acks.table.claimed(), acks.table.took_over()) == (2, 1, True, False)
    (known,) = acks.of([acks.key("SYN1")]).values()
    assert (known.held, known.receipt, known.row_id, known.skeleton) == (b"hash", "receipt SYN1", 7, None)
    fingerprint, child = ClaimedKey(left).known()
    assert fingerprint == CIPHER.key_fingerprint or (child and acks.child(child) in ("SYN1", "SYN2"))


def test_uploads(left: Journal, tmp_path: Path) -> None:
    batches, uploads = BatchStore(left, tmp_path), UploadStore(left, tmp_path)
    rows = [HospitalRow(number, Hospital(f"Clinic {number}", "1 Road", None)) for number in (1, 2)]
    ((created, unknown),) = batches.entries([Portion(BATCH, rows)])
    assert (created.state, created.hospital_id, created.seconds) == (State.CREATED, 70, 0.5)
    assert (unknown.state, unknown.unanswered, unknown.code) == (State.UNKNOWN, 1, "no_answer")
    upload = uploads.upload_of(RUN)
    assert upload is not None
    assert (upload.key, upload.plan) == ("key", None)
    assert uploads.introduce("key", kept_before=True) == float("-inf"), "it is no content that was forgotten"
    assert CreateWindow(left, "https://directory.example", 30, 62.0, lambda: 101.0).take(20) == 10


def test_the_tables_are_those_of_a_new_journal(left: Journal, tmp_path: Path) -> None:
    with closing(Journal.in_memory()) as new:
        shapes = []
        for journal in (left, new):
            History(journal, "/files"), Clock(journal), Trouble(journal, "x"), ClaimedKey(journal)
            UploadStore(journal, tmp_path)
            with journal.reading() as db:
                names = [name for (name,) in db.execute("SELECT name FROM sqlite_master ORDER BY name")]
                shapes.append({name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names})
    assert shapes[0] == shapes[1]
