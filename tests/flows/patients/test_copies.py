from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import SettingUnusable
from dataflows.flows.practice.patients.objects import BackupFolder, files_in, safe

NOW = datetime(2025, 7, 5, tzinfo=UTC)
NAME = "Mustermann_Max_2025-07-05_0b1ab67b.json"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (NAME, NAME),
        ("a/../b\\c:d.json", "a_.._b_c_d.json"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("Con.json", "_Con.json"),
        ("nul", "_nul"),
        ("Null_Max.json", "Null_Max.json"),
        ("COM1.x.json", "_COM1.x.json"),
        ("x. ", "x"),
        ("...", "_"),
        ("a\x00b\nc.json", "a_b_c.json"),
        ("Jo\u0308rg.json", "J\u00f6rg.json"),
    ],
)
def test_a_name_that_every_file_system_takes(name: str, file: str) -> None:
    assert safe(name) == file


@given(st.text(min_size=1, max_size=300))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    file = safe(name.encode(errors="ignore").decode())
    assert file and Path(file).name == file and file not in (".", "..")
    assert len(file.encode()) <= 150
    assert not file.startswith(".") and not file.endswith((".", " "))
    assert not set(file) & set('<>:"/\\|?*')


def test_the_same_bytes_are_written_once_and_others_get_the_generation(tmp_path: Path) -> None:
    copies = BackupFolder(tmp_path / "copies")
    assert copies.keep(NAME, 1, b"one", NOW) == NAME
    assert copies.keep(NAME, 2, b"one", NOW) == NAME
    other = copies.keep(NAME, 3, b"two", NOW)
    assert other == NAME.replace(".json", "-3.json")
    assert copies.keep(NAME, 3, b"two", NOW) == other
    third = copies.keep(NAME, 3, b"three", NOW)
    assert {path.read_bytes() for path in files_in(copies.folder)} == {b"one", b"two", b"three"}
    assert third not in (NAME, other)


def test_a_long_name_keeps_its_end_and_stays_apart_from_others(tmp_path: Path) -> None:
    first, second = (f"{letter}{'ä' * 400}_2025-07-05_0b1ab67b.json" for letter in "ab")
    assert safe(first) != safe(second)
    assert safe(first).endswith("_2025-07-05_0b1ab67b.json")
    BackupFolder(tmp_path).keep(first, 1, b"x", NOW)


def test_quarantine_and_back(tmp_path: Path) -> None:
    copies = BackupFolder(tmp_path)
    copies.keep(NAME, 1, b"one", NOW)
    for _ in range(2):
        copies.put_aside(NAME, {"code": "invalid"})
    assert sorted(path.name for path in copies.quarantine.iterdir()) == [NAME, f"{NAME}.reason.json"]
    assert files_in(tmp_path) == []
    copies.keep(NAME, 1, b"one", NOW)
    assert (list(copies.quarantine.iterdir()), files_in(tmp_path)) == ([], [tmp_path / NAME])


def test_another_file_under_a_name_in_quarantine_is_not_replaced(tmp_path: Path) -> None:
    copies = BackupFolder(tmp_path)
    copies.keep(NAME, 1, b"one", NOW)
    copies.put_aside(NAME, {})
    again = copies.keep(NAME, 2, b"two", NOW)
    copies.put_aside(again, {})
    assert {path.read_bytes() for path in copies.quarantine.glob("*1ab67b*json") if "reason" not in path.name} == {
        b"one", b"two",
    }  # fmt: skip


def test_the_time_of_a_copy_is_that_of_its_object(tmp_path: Path) -> None:
    BackupFolder(tmp_path).keep(NAME, 1, b"one", NOW)
    assert (tmp_path / NAME).stat().st_mtime == NOW.timestamp()


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    copies = BackupFolder(tmp_path)
    copies.sweep()
    (tmp_path / f".{NAME}.abc.tmp").write_bytes(b"half")
    copies.keep(NAME, 1, b"one", NOW)
    copies.sweep()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingUnusable) as found:
        files_in(tmp_path / "nothing")
    assert found.value.__suppress_context__
