"""Text from outside, made harmless for screens and logs: control and format characters can move a cursor, change
colours, or turn a line round (U+202E), so that it reads as another one.
"""

from __future__ import annotations

import json


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that is none to see as ``\u....``, but for blanks and those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"  # JSON writes this one as it is
