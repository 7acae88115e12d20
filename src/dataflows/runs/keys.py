"""The key of a data folder: personal identifiers enter the journal sealed with it, never as they are."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from dataflows.errors import SettingUnusable
from dataflows.store.disk import unusable
from dataflows.store.files import private_folder, private_lock, write_whole

_BITS = 256
_WHAT = "the key of the journal"
_RESTORE = "restore it from a backup, or move it and journal.db away: the next run sends full payloads"


class Seal:
    """Turns an identifier into a keyed value and back (AES-SIV, RFC 5297).

    The same identifier always gives the same value, so it serves as a key in the journal; whoever holds the key file
    can read it back, which is what allows to purge a child whose identifier was changed since.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    @classmethod
    def of(cls, data_dir: Path) -> Seal:
        """Return the seal of a data folder; its key is made at first use (``journal.key``, readable by the owner).

        Raises:
            SettingUnusable: the key file is damaged, cannot be read or is another account's.
            ServiceDown: the disk is full.
        """
        path = data_dir / "journal.key"
        try:
            key = path.read_bytes() if path.exists() else _new_key(path)
            return cls(key)
        except OSError as error:
            raise unusable(path, error, _WHAT, _RESTORE) from None
        except ValueError as error:
            raise SettingUnusable(f"{_WHAT} cannot be used: {path}", hint=_RESTORE) from error

    @classmethod
    def forgotten(cls) -> Seal:
        """Return a seal whose key is never written."""
        return cls(AESSIV.generate_key(_BITS))

    def close(self, identifier: str) -> bytes:
        """Return the sealed form."""
        return self._cipher.encrypt(identifier.encode(), None)

    def mark(self, identifier: str) -> str:
        """Return a short keyed hash (16 hexadecimal digits), under which an operator is told of an item.

        The first half of AES-SIV's synthetic IV, which is a keyed hash of the whole identifier (RFC 5297, section 2.6).
        """
        return self.close(identifier)[:8].hex()

    def open(self, sealed: bytes) -> str | None:
        """Return the identifier, or None when it was sealed with another key."""
        try:
            return self._cipher.decrypt(sealed, None).decode()
        except InvalidTag:
            return None


def _new_key(path: Path) -> bytes:
    locks = private_folder(path.parent / "locks")
    with private_lock(locks / f"{path.name}.lock"):
        if not path.exists():  # else two first runs met here, and the other one was quicker
            write_whole(path, AESSIV.generate_key(_BITS))
    return path.read_bytes()
