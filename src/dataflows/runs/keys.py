"""The key of a data folder: personal identifiers enter the journal sealed with it, never as they are."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dataflows.errors import SettingUnusable
from dataflows.store.files import private_folder, private_lock, unusable, write_whole

KEY_FILE = "journal.key"
_BITS = 256
_WHAT = "the key of the journal"
_RESTORE = "restore it from a backup; without a backup: move it away, then dataflows csc-submit --takeover"


class IdentifierCipher:
    """Turns an identifier into a keyed value and back (AES-SIV, RFC 5297).

    The same identifier always gives the same value, so it serves as a key in the journal; whoever holds the key file
    can read it back, which is what allows to purge a child whose identifier was changed since.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESSIV(key)

    @classmethod
    def of(cls, data_dir: Path) -> IdentifierCipher:
        """Return the seal of a data folder; its key is made at first use (``journal.key``, readable by the owner).

        Raises:
            SettingUnusable: the key file is damaged, cannot be read or is another account's.
            ServiceDown: the disk is full.
        """
        path = data_dir / KEY_FILE
        try:
            key = path.read_bytes() if path.exists() else _new_key(path)
            return cls(key)
        except OSError as error:
            raise unusable(path, error, _WHAT, _RESTORE) from None
        except ValueError as error:
            raise SettingUnusable(f"{_WHAT} cannot be used: {path}", reason="journal-damaged", hint=_RESTORE) from error

    @classmethod
    def forgotten(cls) -> IdentifierCipher:
        """Return a seal whose key is never written."""
        return cls(AESSIV.generate_key(_BITS))

    def encrypt(self, identifier: str) -> bytes:
        """Return the sealed form."""
        return self._cipher.encrypt(identifier.encode(), None)

    def fingerprint(self, identifier: str) -> str:
        """Return a short keyed hash (16 hexadecimal digits), under which an operator is told of an item.

        The first half of AES-SIV's synthetic IV, which is a keyed hash of the whole identifier (RFC 5297, section 2.6).
        """
        return self.encrypt(identifier)[:8].hex()

    def decrypt(self, sealed: bytes) -> str | None:
        """Return the identifier, or None when it was sealed with another key."""
        try:
            return self._cipher.decrypt(sealed, None).decode()
        except InvalidTag:
            return None

    def encrypt_bytes(self, data: bytes, about: bytes) -> bytes:
        """Return the sealed form (16 bytes longer) of what belongs to one item; ``about`` names it.

        It can only be opened with the same ``about``, so that no entry of the journal can take the place of another.
        """
        return self._cipher.encrypt(data, [about])

    def decrypt_bytes(self, sealed: bytes, about: bytes) -> bytes | None:
        """Return what was sealed, or None when it was sealed with another key or about something else."""
        try:
            return self._cipher.decrypt(sealed, [about])
        except (InvalidTag, ValueError):  # ValueError: shorter than a seal
            return None

    @property
    def key_fingerprint(self) -> bytes:
        """What tells this key from another (16 bytes), and tells nothing of it."""
        return self.hash_key("fingerprint")[:16]

    def hash_key(self, purpose: str) -> bytes:
        """Return a key (32 bytes) for keyed hashes of one purpose, derived from the key of the data folder."""
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(self._key)


def _new_key(path: Path) -> bytes:
    locks = private_folder(path.parent / "locks")
    with private_lock(locks / f"{path.name}.lock"):
        if not path.exists():  # else two first runs met here, and the other one was quicker
            write_whole(path, AESSIV.generate_key(_BITS))
    return path.read_bytes()
