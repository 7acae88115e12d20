"""Names, and what is removed: with the clock set by the test."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataflows.errors import Interrupted, SettingUnusable
from dataflows.flows.cqc import folder as folders
from dataflows.flows.cqc.folder import Folder, stamp_of
from dataflows.runs.pool import Stop

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(*moments: datetime) -> Callable[[], datetime]:
    """A clock that shows these times in turn, and the last one from then on."""
    left = list(moments)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def folder_at(path: Path, *moments: datetime, data_dir: Path = Path("data")) -> Folder:
    return Folder(path, data_dir, at(*(moments or (NOON,))))


def finished(path: Path) -> Path:
    temporary = path / ".cqc_homecare.part"
    temporary.write_bytes(b"new")
    return temporary


def test_a_file_is_named_by_source_and_time(tmp_path: Path) -> None:
    final = folder_at(tmp_path).publish(finished(tmp_path), "cqc_homecare")
    assert final.name == "cqc_homecare_20260301_120000Z.csv"
    assert [path.name for path in tmp_path.iterdir()] == [final.name]
    assert stamp_of(final) == NOON


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken_waits_for_the_next_second(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    taken = tmp_path / "cqc_homecare_20260301_120000Z.csv"
    taken.write_bytes(b"old")
    late = NOON + timedelta(microseconds=999_000)
    folder = folder_at(tmp_path, NOON, late, NOON, late, NOON + timedelta(seconds=1))
    final = folder.publish(finished(tmp_path), "cqc_homecare")
    assert final.name == "cqc_homecare_20260301_120001Z.csv"
    assert (taken.read_bytes(), final.read_bytes()) == (b"old", b"new")


def test_the_end_of_the_grace_ends_the_waiting_for_a_name(tmp_path: Path) -> None:
    (tmp_path / "cqc_homecare_20260301_120000Z.csv").write_bytes(b"old")
    stop = Stop()
    stop.set()
    stop.hurry = True
    with pytest.raises(Interrupted):
        Folder(tmp_path, tmp_path, at(NOON), stop).publish(finished(tmp_path), "cqc_homecare")


def test_a_temporary_file_is_gone_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyError), folder_at(tmp_path).temporary("homecare") as path:
        path.write_bytes(b"half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_is_a_setting_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingUnusable, match="cannot be written"):
        folder_at(tmp_path / "file" / "below").prepare()


# --- what earlier runs left behind ----------------------------------------------------------------------------------


def left_behind(path: Path, name: str, age: timedelta, data_dir: Path = Path("data")) -> Path:
    with folder_at(path, data_dir=data_dir).temporary(name) as temporary:
        pass
    temporary.touch()
    moment = (NOON - age).timestamp()
    os.utime(temporary, (moment, moment))
    return temporary


def test_our_own_leftovers_go_at_once_and_those_of_others_after_a_day(tmp_path: Path) -> None:
    left_behind(tmp_path, "homecare", timedelta(0))
    fresh = left_behind(tmp_path, "homecare", timedelta(hours=23), Path("elsewhere"))
    left_behind(tmp_path, "homecare", timedelta(hours=25), Path("elsewhere"))
    assert folder_at(tmp_path).sweep() == 2
    assert list(tmp_path.iterdir()) == [fresh]


def test_other_hidden_files_are_none_of_ours(tmp_path: Path) -> None:
    for name in (".cqc_homecare.part", ".hidden", "notes.part", ".cqc_homecare.0123456789ab.part"):
        path = tmp_path / name
        path.touch()
        os.utime(path, (0, 0))
    assert folder_at(tmp_path).sweep() == 0
    assert len(list(tmp_path.iterdir())) == 4


# --- retention ------------------------------------------------------------------------------------------------------


def dated(kind: str, days: float) -> str:
    return f"{kind}_{NOON - timedelta(days=days):%Y%m%d_%H%M%SZ}.csv"


def outdated(path: Path, keep_days: int = 30, keep: set[str] | None = None) -> set[str]:
    found = folder_at(path).outdated(keep_days, ["homecare", "carehomes"], keep or set())
    return {one.name for one in found}


def test_age_is_told_by_the_name_and_not_by_the_file(tmp_path: Path) -> None:
    for days in (0, 29.9, 30.1, 400):
        (tmp_path / dated("cqc_homecare", days)).touch()  # all of them written just now
    assert outdated(tmp_path) == {dated("cqc_homecare", 30.1), dated("cqc_homecare", 400)}
    assert outdated(tmp_path, keep_days=0) == set()
    assert outdated(tmp_path, keep_days=399) == {dated("cqc_homecare", 400)}


def test_the_newest_of_each_source_stays_whatever_its_age(tmp_path: Path) -> None:
    for days in (50, 60):
        (tmp_path / dated("cqc_homecare", days)).touch()
        (tmp_path / dated("cqc_carehomes", days + 100)).touch()
    assert outdated(tmp_path) == {dated("cqc_homecare", 60), dated("cqc_carehomes", 160)}


def test_the_newest_good_one_stays_although_a_suspicious_one_is_newer(tmp_path: Path) -> None:
    for days in (40, 50, 60):
        (tmp_path / dated("cqc_homecare", days)).touch()
    assert outdated(tmp_path, keep={dated("cqc_homecare", 50)}) == {dated("cqc_homecare", 60)}


def test_a_file_that_is_to_be_replaced_is_no_newest_one(tmp_path: Path) -> None:
    (tmp_path / dated("cqc_homecare", 50)).touch()
    found = folder_at(tmp_path).outdated(30, ["homecare"], [], renewed=["homecare"])
    assert [path.name for path in found] == [dated("cqc_homecare", 50)]


def test_derived_files_are_kept_as_long_as_downloads(tmp_path: Path) -> None:
    for kind in ("changes_homecare", "merged"):
        for days in (29, 31):
            (tmp_path / dated(kind, days)).touch()
    assert outdated(tmp_path) == {dated("changes_homecare", 31), dated("merged", 31)}


@pytest.mark.parametrize(
    "name",
    [
        "cqc_other_20200101_000000Z.csv",
        "cqc_homecare_20200101_000000Z.csv.bak",
        "cqc_homecare_20201301_000000Z.csv",
        "cqc_homecare_20200101_000000.csv",
        "my cqc_homecare_20200101_000000Z.csv",
        "CQC_HOMECARE_20200101_000000Z.CSV",
        "cqc_20200101_000000Z.csv",
        "journal.db",
    ],
)
def test_nothing_else_in_the_folder_is_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / dated("cqc_homecare", 1)).touch()
    assert outdated(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="needs a right there")
def test_neither_a_folder_nor_a_link_is_a_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / dated("cqc_homecare", 50)).mkdir()
    (tmp_path / "precious").touch()
    (tmp_path / dated("cqc_homecare", 60)).symlink_to(tmp_path / "precious")
    (tmp_path / dated("cqc_homecare", 1)).touch()
    assert outdated(tmp_path) == set()


def test_a_clock_that_stepped_back_removes_nothing(tmp_path: Path) -> None:
    for days in (-400, -10, 10):
        (tmp_path / dated("cqc_homecare", days)).touch()
    assert outdated(tmp_path) == set()


def test_a_file_that_cannot_be_removed_is_left_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(_: Path) -> None:
        raise PermissionError

    path = tmp_path / dated("cqc_homecare", 50)
    path.touch()
    monkeypatch.setattr(Path, "unlink", held)
    assert folder_at(tmp_path).prune([path]) == []


@pytest.mark.skipif(os.name == "nt", reason="other names there")
def test_one_folder_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    monkeypatch.chdir(tmp_path)
    assert folders.target(Path("link")) == folders.target(tmp_path / "real") == folders.target(Path("real/../link"))
