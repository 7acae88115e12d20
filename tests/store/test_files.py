"""Files are whole or not there, and private ones are their owner's alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dataflows.store.files import OWNER_ONLY, private_folder, write_whole
from tests.accounts import any_mask

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead of modes")


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_a_file_is_written_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "batch-00001.json"
    write_whole(path, b"[1]")
    write_whole(path, b"[2]")
    assert path.read_bytes() == b"[2]"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dataflows.store.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_name_is_looked_up_to_close_a_folder() -> None:
    """A service's account is called otherwise in its environment; what icacls does not find it closes nothing for."""
    assert all(re.fullmatch(r"\*S-1-[0-9-]+:\(OI\)\(CI\)F", one) for one in OWNER_ONLY)
    assert "*S-1-3-4:(OI)(CI)F" in OWNER_ONLY, "owner rights, whoever it is"


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "file", b"")


@posix
def test_who_may_read_a_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"x")
    assert mode(tmp_path / "file") == "0o600"


@posix
def test_a_private_file_takes_the_place_of_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0o644)
    write_whole(path, b"x")
    assert mode(path) == "0o600"


@posix
def test_a_private_folder_is_the_owners_alone_and_so_is_each_on_the_way(tmp_path: Path) -> None:
    with any_mask():
        made = private_folder(tmp_path / "a" / "b" / "c")
    assert [mode(folder) for folder in (made, *made.parents[:2])] == ["0o700"] * 3


@posix
def test_a_folder_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    assert mode(private_folder(tmp_path / "shared")) == "0o755"
