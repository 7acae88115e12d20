"""A keyring for tests: in memory, or one that refuses everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keyring
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked


class MemoryKeyring(KeyringBackend):
    """Keeps what it is given; ``asked`` counts questions."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.asked = 0
        self.locked = False
        self.forgetful = False

    def get_password(self, service: str, username: str) -> str | None:
        """What is kept, as every backend says it."""
        self.asked += 1
        if self.locked:
            raise KeyringLocked("the words of the system")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it, unless this one forgets (as keyring's own null backend does)."""
        if not self.forgetful:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        """Forget it."""
        del self.kept[service, username]


@contextmanager
def in_memory() -> Iterator[MemoryKeyring]:
    """Put such a keyring in the place of the account's until the block ends."""
    before, ours = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(ours)
    try:
        yield ours
    finally:
        keyring.set_keyring(before)
