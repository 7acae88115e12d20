"""Mail that was kept or written: taking what it says of an item out of it, by the item's keyed hash."""

from __future__ import annotations

import re
from collections.abc import Collection
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from filelock import Timeout

from dataflows.errors import DataflowsError, ServiceDown
from dataflows.store.files import private_folder, private_lock, unusable, write_whole

__all__ = ["mentioning", "take_out"]

_FORMAT = policy.SMTP.clone(cte_type="7bit")
_HASH = re.compile(r"\b[0-9a-f]{16}\b")
_SOMEBODY_ELSE = 10.0  # seconds to wait for a command that sends mail


def mentioning(data_dir: Path, hashes: Collection[str]) -> list[Path]:
    """The mails in ``outbox`` and in ``outbox/unsent`` that name one of these keyed hashes. Raises as ``unusable``."""
    folder = data_dir / "outbox"
    try:
        mails = sorted((*folder.glob("*.eml"), *folder.glob("unsent/*.eml")))
        return [path for path in mails if not _hashes_in(_read(path)).isdisjoint(hashes)]
    except OSError as error:
        raise unusable(folder, error, "the folder of mails", "let this account read it") from None


def take_out(data_dir: Path, hashes: Collection[str]) -> int:
    """Take the lines with these hashes out of the mails; returns out of how many. Nothing is sent meanwhile.

    Raises:
        SettingUnusable, ServiceDown: the mails cannot be written, or another command keeps sending.
    """
    if not mentioning(data_dir, hashes):
        return 0
    try:
        with private_lock(private_folder(data_dir / "locks") / "mail.lock", timeout=_SOMEBODY_ELSE):
            mails = mentioning(data_dir, hashes)
            for path in mails:
                write_whole(path, _without(_read(path), hashes))
            return len(mails)
    except Timeout:
        raise ServiceDown(
            "another command is sending mail", reason="mail-busy", hint="run the same command again"
        ) from None
    except OSError as error:
        raise _cannot_write(data_dir, error) from None


def _cannot_write(data_dir: Path, error: OSError) -> DataflowsError:
    return unusable(data_dir / "outbox", error, "the folder of mails", "let this account write into it")


def _read(path: Path) -> EmailMessage:
    return message_from_bytes(path.read_bytes(), EmailMessage, policy=_FORMAT)


def _text(mail: EmailMessage) -> str:
    try:
        return str(mail.get_content())
    except (LookupError, ValueError):  # somebody edited it
        return ""


def _hashes_in(mail: EmailMessage) -> set[str]:
    return set(_HASH.findall(_text(mail)))


def _without(mail: EmailMessage, hashes: Collection[str]) -> bytes:
    lines = [line for line in _text(mail).splitlines() if not set(_HASH.findall(line)) & set(hashes)]
    mail.set_content("\n".join(lines) + "\n")
    return mail.as_bytes()
