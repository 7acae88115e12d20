from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from dataflows.errors import SettingUnusable
from dataflows.runs.keys import IdentifierCipher


def test_an_identifier_is_found_again_and_can_be_read_back(tmp_path: Path) -> None:
    sealed = IdentifierCipher.of(tmp_path).encrypt("CHILD17")
    again = IdentifierCipher.of(tmp_path)
    assert again.encrypt("CHILD17") == sealed
    assert again.decrypt(sealed) == "CHILD17"
    assert b"CHILD17" not in sealed


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    sealed = IdentifierCipher.of(tmp_path / "a").encrypt("CHILD17")
    assert IdentifierCipher.of(tmp_path / "b").decrypt(sealed) is None


def test_a_damaged_key_is_no_reason_to_make_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "journal.key").write_bytes(b"short")
    with pytest.raises(SettingUnusable, match="key of the journal"):
        IdentifierCipher.of(tmp_path)
    assert (tmp_path / "journal.key").read_bytes() == b"short"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_key_is_the_owners_alone(tmp_path: Path) -> None:
    IdentifierCipher.of(tmp_path)
    assert stat.S_IMODE((tmp_path / "journal.key").stat().st_mode) == 0o600
