"""Texts and times as both imports of the practice read and compare them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

AHEAD = timedelta(days=1)
"""How far a date may be ahead of the time of its file or object: clocks may be wrong, and zones differ."""
_EPOCH, _LAST = datetime(1970, 1, 1, tzinfo=UTC), 250_000_000_000.0  # the latter in seconds: the year 9892
_ALIKE = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u2032\u00b4`", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-")
    | {"\u00ad": None}
)
"""Apostrophes and hyphens as typographers write them; a soft hyphen is none."""


def folded(text: str | None) -> str:
    """A therapist's text as it is compared: NFC, case-folded, with single blanks and plain apostrophes and hyphens.

    What it makes of a name is in the database (``natural_key``): a change here needs a migration.
    """
    if not text:
        return ""
    plain = " ".join(text.casefold().split())
    if plain.isascii():
        return plain.replace("`", "'")
    return unicodedata.normalize("NFC", plain.translate(_ALIKE))


def normal(text: str) -> str:
    """A patient's text as it is compared: trimmed, NFC, case-folded.

    Its hashes are in the database (``name_key``), so that it cannot become ``folded`` without a migration.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).strip().casefold())


def moment_of(text: object) -> datetime | None:
    """The moment that a text names in ISO 8601, in UTC; without a zone it is UTC. None when it names none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_of_file(seconds: float) -> datetime:
    """When a file was changed, from its seconds since 1970; file systems know times that no calendar has."""
    return _EPOCH + timedelta(seconds=min(max(seconds, 0.0), _LAST))
