"""Secrets that are kept elsewhere: ``keyring://service/name`` and ``file:///path``, fetched when they are needed.

A setting that is a secret may hold such a reference instead of the secret. The reference is none: it may be shown,
written into a task and compared.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from dataflows.errors import DataflowsError, SettingUnusable
from dataflows.hints import with_extra
from dataflows.settings.table import Secret

_SCHEMES = ("keyring://", "file://")
_KEYRING = re.compile(r"keyring://([^/\x00-\x1f]{1,200})/([^\x00-\x1f]{1,200})")
_LARGEST = 16 * 1024  # bytes of a file; a connection string is the longest of them
_FORMS = "write keyring://service/name, or file:/// and the whole path of a file that holds nothing else"


class KeptSecret(Secret):
    """A secret by its reference, fetched once, by the first who has to send it; two are equal by their references."""

    __slots__ = ("_check", "_fetched", "_setting")

    def __init__(self, setting: str, reference: str, check: Callable[[str], object] = str) -> None:
        """``setting`` is the name for messages; ``check`` raises ValueError for a value that cannot be right."""
        super().__init__(reference)
        self._setting = setting
        self._check = check
        self._fetched: str | None = None

    @property
    def reference(self) -> str:
        """Where it is kept."""
        return self._text

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            SettingUnusable: it is not there, cannot be read, or is not what the setting wants.
        """
        if self._fetched is None:
            value = fetched(self._setting, self.reference)
            try:
                self._check(value)
            except ValueError:
                pass  # below, so that nothing leads to the value
            else:
                self._fetched = value
                return value
            raise SettingUnusable(
                f"{self._setting} ({self.reference}) is not a valid value",
                reason="secret-value",
                hint="correct it there",
            )
        return self._fetched


def is_reference(text: str) -> bool:
    """Whether a setting's text says where the secret is kept and is not the secret itself."""
    return text.startswith(_SCHEMES)


def secret_of(setting: str, text: str, check: Callable[[str], object] = str) -> Secret:
    """A secret from the text of its setting, by reference or as it is."""
    return KeptSecret(setting, text, check) if is_reference(text) else Secret(text)


def fetched(setting: str, reference: str) -> str:
    """What a reference leads to, without blanks around it.

    Args:
        setting: the name for messages.

    Raises:
        SettingUnusable: nothing is there, it cannot be read, or it is more than one line.
    """
    value = _from_keyring(setting, reference) if reference.startswith("keyring:") else _from_file(setting, reference)
    value = value.strip()
    if not value:
        raise SettingUnusable(f"{setting}: {reference} is empty", reason="secret-value", hint=_how_to_set(setting))
    if any(character < " " or character == "\x7f" for character in value):
        raise SettingUnusable(
            f"{setting}: {reference} holds more than one line of text",
            reason="secret-value",
            hint="keep one line there",
        )
    return value


def keep(setting: str, reference: str, value: str, write: Callable[[Path, bytes], None]) -> None:
    """Store a secret where a reference says, for this account alone, and look whether it is there.

    ``write`` writes a file that is its owner's alone, and raises OSError.

    Raises:
        SettingUnusable: the reference is malformed, the keyring cannot be used, or it did not keep the secret.
    """
    if reference.startswith("file:"):
        _into_file(setting, reference, value, write)
    else:
        service, name = _place(setting, reference)
        _asked(setting, lambda keyring: keyring.set_password(service, name, value))
    if fetched(setting, reference) != value:
        raise SettingUnusable(
            f"{setting}: {reference} did not keep what it was given", reason="keyring-unusable", hint=_elsewhere()
        )


# --- the keyring ----------------------------------------------------------------------------------------------------


def _from_keyring(setting: str, reference: str) -> str:
    service, name = _place(setting, reference)
    found = _asked(setting, lambda keyring: keyring.get_password(service, name))
    if not isinstance(found, str):
        raise SettingUnusable(
            f"{setting}: the keyring of this account has no {reference}",
            reason="secret-not-there",
            hint=_how_to_set(setting),
        )
    return found


def _place(setting: str, reference: str) -> tuple[str, str]:
    found = _KEYRING.fullmatch(reference)
    if found is None:
        raise SettingUnusable(f"{setting} is not a reference to a secret", reason="secret-reference", hint=_FORMS)
    return found[1], found[2]


def _asked(setting: str, question: Callable[[ModuleType], object]) -> object:
    """Ask the keyring; what goes wrong there is told by its kind only."""
    try:
        import keyring
    except ImportError:
        raise SettingUnusable(
            f"{setting} is kept in a keyring, but the keyring library is not installed",
            reason="keyring-not-installed",
            hint=with_extra("keyring"),
        ) from None
    try:
        return question(keyring)
    except Exception as error:  # each system's keyring has errors of its own
        problem = type(error).__name__
    raise SettingUnusable(
        f"{setting}: the keyring of this account cannot be used ({problem})",
        reason="keyring-unusable",
        hint=_elsewhere(),
    )


def _how_to_set(setting: str) -> str:
    return f"as the account that runs the job: dataflows secrets set {setting}"


def _elsewhere() -> str:
    if sys.platform == "win32":
        return "it takes 1,280 characters at most; longer ones can be kept by file:///"
    return "a desktop session has one, a server often has not: keep the secret by file:/// there"


# --- files ----------------------------------------------------------------------------------------------------------


def _from_file(setting: str, reference: str) -> str:
    path = _path(setting, reference)
    problem: DataflowsError
    try:
        data = _bytes_of(path)
        if len(data) <= _LARGEST:
            return data.decode("utf-8-sig")
        problem = SettingUnusable(
            f"{setting}: {path} is over {_LARGEST} bytes", reason="secret-file", hint="name the file of the secret"
        )
    except UnicodeDecodeError:
        problem = SettingUnusable(
            f"{setting}: {path} is not UTF-8 text", reason="secret-file", hint="save the secret alone, as UTF-8"
        )
    except OSError as error:
        why = error.strerror or "no file"
        problem = SettingUnusable(
            f"{setting}: {path} cannot be read ({why})",
            reason="secret-file",
            hint="check the path, and the rights of the account",
        )
    raise problem


def _bytes_of(path: Path) -> bytes:
    """The beginning of a file; a pipe or a device, which may never end, is refused. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "not a plain file")
        return file.read(_LARGEST + 1)


def _into_file(setting: str, reference: str, value: str, write: Callable[[Path, bytes], None]) -> None:
    path = _path(setting, reference)
    try:
        write(path, f"{value}\n".encode())
    except OSError as error:
        why = error.strerror
    else:
        return
    raise SettingUnusable(
        f"{setting}: {path} cannot be written ({why})",
        reason="secret-file",
        hint="name a folder of this account's own",
    )


def _path(setting: str, reference: str) -> Path:
    """The path of ``file:///...``; ``file:///C:/...`` on Windows."""
    from urllib.request import url2pathname

    name = reference.removeprefix("file://")
    path = Path(url2pathname(name)) if name.startswith("/") else Path()
    if not path.is_absolute() or "\x00" in name:
        raise SettingUnusable(f"{setting} is not a reference to a secret", reason="secret-reference", hint=_FORMS)
    return path
