"""The file as text: opened only where it is a file, read piece by piece, UTF-8 and nothing else.

Another encoding is never guessed into text: it is named, so that the operator can save the file again.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dataflows.errors import BadInput

PIECE = 64 * 1024
"""So many bytes are read at a time."""

_FOREIGN = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32 with a byte order mark"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 with a byte order mark"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 with a byte order mark"),
    (b"PK\x03\x04", "unknown", "an Excel workbook (.xlsx) or another zip file"),
    (b"\xd0\xcf\x11\xe0", "unknown", "an Excel workbook (.xls)"),
    (b"\x1f\x8b", "unknown", "a gzip file"),
)
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_TOP = 64  # bytes in which a header shows whether every second byte is NUL


class NotUtf8(Exception):
    """The first byte that cannot be UTF-8. ``encoding`` and ``like`` say what the file looks like instead."""

    def __init__(self, offset: int, byte: int, encoding: str, like: str) -> None:
        verdict = "is not UTF-8" if byte else "is not text"
        super().__init__(f"byte 0x{byte:02X} at offset {offset} {verdict}; it looks like {like}")
        self.encoding = encoding


class _Foreign(NamedTuple):
    offset: int
    encoding: str
    like: str


class CsvSource:
    """A file while it is read once. ``size`` in bytes; ``encoding`` is a codec's name; ``sha256`` is of what was read;
    ``piece`` bytes are read at a time.

    Raises:
        BadInput: there is no such file, it is a folder, a pipe or a device, or it cannot be read.
    """

    def __init__(self, path: Path, *, piece: int = PIECE) -> None:
        self._path = path
        self._piece = piece
        self._file = _opened(path)
        self._before = os.fstat(self._file.fileno())
        self._digest = hashlib.sha256()
        self.size = self._before.st_size
        self.encoding = "utf-8"

    def __enter__(self) -> CsvSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of the bytes read so far: of the whole file once ``text`` came to its end."""
        return self._digest.hexdigest()

    def text(self) -> Iterator[str]:
        """The characters of the file, some at a time, without a byte order mark.

        Raises:
            NotUtf8: after everything that comes before the first bad byte.
            BadInput: the file cannot be read on, or was changed meanwhile.
        """
        data = self._next(max(self._piece, _TOP))
        self._refuse_foreign(data)
        at = 0
        if data.startswith(codecs.BOM_UTF8):
            self.encoding, at, data = "utf-8-sig", len(codecs.BOM_UTF8), data[len(codecs.BOM_UTF8) :]
        while data:
            piece = self._next(self._piece)
            text, used, bad = _decoded(data, last=not piece)
            yield text
            if bad:
                self._refuse(at + used, data[used : used + 4])
            at, data = at + used, data[used:] + piece
        self._refuse_changed()

    def _next(self, size: int) -> bytes:
        try:
            piece = self._file.read(size)
        except OSError as error:
            raise _unreadable(self._path, error) from None
        self._digest.update(piece)
        return piece

    def _refuse_foreign(self, head: bytes) -> None:
        foreign = _foreign(head)
        if foreign:
            self.encoding = foreign.encoding
            raise NotUtf8(foreign.offset, head[foreign.offset], foreign.encoding, foreign.like)

    def _refuse(self, offset: int, bad: bytes) -> None:
        self.encoding, like = _resembles(bad)
        raise NotUtf8(offset, bad[0], self.encoding, like)

    def _refuse_changed(self) -> None:
        after = os.fstat(self._file.fileno())
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise BadInput(
                f"{self._path} was changed while it was read",
                reason="csv-file",
                hint="wait until it is complete, then try again",
            )


def _decoded(data: bytes, *, last: bool) -> tuple[str, int, bool]:
    """The text at the beginning of ``data``, the bytes it took, and whether a bad byte follows."""
    try:
        return *codecs.utf_8_decode(data, "strict", last), False
    except UnicodeDecodeError as error:
        return data[: error.start].decode(), error.start, True


def _foreign(head: bytes) -> _Foreign | None:
    """What the first bytes give away although (or before) they are read as UTF-8."""
    for mark, encoding, like in _FOREIGN:
        if head.startswith(mark):
            bad = next((at for at, byte in enumerate(head[:_TOP]) if byte >= 0x80 or byte == 0), 0)
            return _Foreign(bad, encoding, like)
    top = head[:_TOP]
    if top.count(0) * 4 < max(len(top), 1):  # a single NUL is no encoding but a wrong character in a value
        return None
    even, odd = top[0::2].count(0), top[1::2].count(0)
    if even and odd:
        return _Foreign(top.index(0), "unknown", "a binary file")
    return _Foreign(top.index(0), "utf-16-be" if even else "utf-16-le", "UTF-16 without a byte order mark")


def _resembles(bad: bytes) -> tuple[str, str]:
    """Encoding and description of what begins with a byte that is not UTF-8."""
    if _SURROGATE.match(bad):
        return "unknown", "half of a UTF-16 pair, as a broken conversion leaves it"
    if len(bad) > 1 and _is_cut(bad):
        return "utf-8", "half of a character: the file is incomplete"
    try:
        character = bad[:1].decode("cp1252")
    except UnicodeDecodeError:
        return "unknown", "no text encoding that this program knows"
    return "windows-1252", f"Windows-1252, where it is {character!r}"


def _is_cut(bad: bytes) -> bool:
    """Whether these last bytes of a file would be UTF-8 if it went on."""
    try:
        return codecs.utf_8_decode(bad, "strict", False)[1] == 0
    except UnicodeDecodeError:
        return False


def _opened(path: Path) -> BinaryIO:
    """The file; a pipe is never waited for."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        _refuse_special(path, path.stat())
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        _refuse_special(path, os.fstat(handle))  # what was looked at may have been replaced
    except BadInput:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _refuse_special(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{path} is a folder", reason="csv-file", hint="name the CSV file in it")
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(
            f"{path} is not a file but a pipe or a device", reason="csv-file", hint="save the rows as a CSV file first"
        )


def _unreadable(path: Path, error: Exception) -> BadInput:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return BadInput(
            f"there is no file {path}",
            reason="csv-file",
            hint="check the path; a relative one starts at the working folder",
        )
    if isinstance(error, PermissionError):
        hint = "check the rights of this account" + ("; close it in other programs" if sys.platform == "win32" else "")
        return BadInput(f"{path} may not be read", reason="csv-file", hint=hint)
    reason = error.strerror if isinstance(error, OSError) else None
    return BadInput(
        f"{path} cannot be read ({reason or 'not a path'})",
        reason="file-unreadable",
        hint="check the path and the disk",
    )
