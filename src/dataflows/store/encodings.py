"""Names the encoding of a text that is not the UTF-8 it should be, so that whoever wrote it knows what to change."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

__all__ = ["NAMES", "encoding_of"]

NAMES = {"utf_16": "UTF-16", "windows_1252": "Windows-1252", "iso_8859_1": "ISO-8859-1"}
"""What people call them."""
_LOOKED_AT = 200  # bytes from the beginning, for UTF-16


def encoding_of(blocks: Iterable[bytes]) -> str | None:
    """The encoding of a text by its bytes (a name of ``NAMES``); None when it is UTF-8, or cannot be told.

    Windows-1252 is told from ISO-8859-1 by bytes that are control characters there and letters and quotes here.
    """
    utf_8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    first, seen = True, set[int]()
    for block in blocks:
        if first and _is_utf_16(block):
            return "utf_16"
        first = False
        try:
            if utf_8 is not None:
                utf_8.decode(block)
        except UnicodeDecodeError:
            utf_8 = None
        seen |= set(block)
    if utf_8 is not None:
        return None
    return "windows_1252" if any(0x80 <= byte <= 0x9F for byte in seen) else "iso_8859_1"


def _is_utf_16(block: bytes) -> bool:
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    even, odd = block[:_LOOKED_AT:2], block[1:_LOOKED_AT:2]
    return bool(odd) and (even.count(0) > len(even) * 0.7) != (odd.count(0) > len(odd) * 0.7)
