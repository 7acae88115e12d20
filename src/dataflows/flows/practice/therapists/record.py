"""The record: an entry of a file as columns of ``therapists``, its canonical form, its hash and its natural key.

What has no column goes to ``extra``, so nothing that was scraped is lost. Whatever is wrong with an entry is told by
the path of the field, never by its value.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import orjson

from dataflows.flows.practice.values import folded
from dataflows.store.json_bounds import DEEPEST

# the sections of an entry, each with the fields that have a column of the same name
_TEXTS: Mapping[str, tuple[str, ...]] = {
    "basic_info": ("salutation", "title", "first_name", "last_name", "full_name", "classification"),
    "location": ("street", "house_number", "postal_code", "city"),
    "contact": ("phone", "email", "fax"),
}
_SECTIONS = tuple((section, fields, frozenset(fields)) for section, fields in _TEXTS.items())
_PATHS = {field: f"{section}.{field}" for section, fields in _TEXTS.items() for field in fields}
LISTS = ("languages", "therapy_methods")
"""Lists whose order means nothing."""
_KNOWN = frozenset({"id", "status", "last_modified", "telephone_hours", *_TEXTS, *LISTS})
FIELDS = (*(field for fields in _TEXTS.values() for field in fields), *LISTS, "telephone_hours", "extra")
"""The columns that an import fills."""
STATUSES = frozenset({"new", "modified", "unchanged", "deleted"})
_LONGEST = 200  # characters of what therapists are found by
_LONGEST_TEXT = 10_000  # of any other text that has a column
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # of whole numbers that JSON columns and events carry
_FOUND_BY = ("first_name", "last_name", "postal_code")


class TherapistEntry(NamedTuple):
    """One therapist as a file has them: ``values`` by column, trimmed and NFC; what is empty is left out."""

    at: int
    source_id: str | None
    status: str | None
    values: dict[str, Any]
    natural_key: str | None
    content_hash: str


class Broken(NamedTuple):
    """An entry that cannot be taken, and the path of what is wrong in it."""

    at: int
    code: str
    path: str = ""


Item: TypeAlias = TherapistEntry | Broken


class _Wrong(Exception):
    def __init__(self, code: str, path: str) -> None:
        super().__init__(code)
        self.code, self.path = code, path


def item_of(at: int, raw: Any) -> Item:
    """Make the record of an entry as it was parsed, or say what is wrong with it."""
    try:
        if not isinstance(raw, dict):
            raise _Wrong("no_object", "")
        values = _values(raw)
        source_id = _text(raw.get("id"), "id")
        _refuse_too_long(source_id, values)
        key = natural_key(values)
        if key is None and source_id is None:
            raise _Wrong("no_identity", "postal_code")
        return TherapistEntry(at, source_id, _status(raw.get("status")), values, key, _hash(values))
    except _Wrong as wrong:
        return Broken(at, wrong.code, _PATHS.get(wrong.path, wrong.path))


def natural_key(values: Mapping[str, Any]) -> str | None:
    """First name, last name and postcode, folded; None without a postcode (therapists.md, identity)."""
    postal_code = values.get("postal_code")
    if not postal_code:
        return None
    return "\n".join((folded(values["first_name"]), folded(values["last_name"]), folded(postal_code)))


def in_order(values: list[Any]) -> list[Any]:
    """A list whose order means nothing, in the one order in which it is compared."""
    try:
        return sorted(set(values))
    except TypeError:  # not only texts
        return sorted(values, key=orjson.dumps)


def _values(raw: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    extra = {name: raw[name] for name in raw if name not in _KNOWN}
    for section, fields, known in _SECTIONS:
        given = raw.get(section)
        if given is None:
            continue
        if not isinstance(given, dict):
            raise _Wrong("wrong_type", section)
        for field in fields:
            text = given.get(field)
            # most are texts in ASCII: these need no call, of which there would be millions
            text = text.strip() if type(text) is str and text.isascii() else _text(text, field)
            if text:
                values[field] = text
        if not known.issuperset(given):
            extra[section] = {name: given[name] for name in given if name not in known}
    for name in LISTS:
        if found := _list(raw.get(name), name):
            values[name] = found
    for name, given in (("telephone_hours", raw.get("telephone_hours")), ("extra", extra)):
        if given and not _empty(plain := _plain(given, name)):
            values[name] = plain
    for field in ("first_name", "last_name"):
        if field not in values:
            raise _Wrong("no_name", field)
    return values


def _refuse_too_long(source_id: str | None, values: Mapping[str, Any]) -> None:
    """Texts have bounds; what therapists are found by goes into an index, which takes 2,700 bytes and no more."""
    for field in _PATHS:
        if field in values and len(values[field]) > _LONGEST_TEXT:
            raise _Wrong("too_long", field)
    texts = (source_id or "", values["first_name"], values["last_name"], values.get("postal_code", ""))
    if sum(map(len, texts)) > _LONGEST:
        for path, text in zip(("id", *_FOUND_BY), texts, strict=True):
            if len(text) > _LONGEST:
                raise _Wrong("too_long", path)
    if "\0" in texts[0]:
        raise _Wrong("nul_character", "id")


def _text(given: Any, path: str) -> str | None:
    """A text, trimmed and NFC; None when there is none. "Null" is a name like any other."""
    if type(given) is str:
        text = given.strip()
        return (text if text.isascii() else unicodedata.normalize("NFC", text)) or None
    if given is None:
        return None
    if isinstance(given, int) and not isinstance(given, bool):
        return _digits(given, path).zfill(5 if path == "postal_code" else 1)
    raise _Wrong("wrong_type", path)


def _digits(number: int, path: str) -> str:
    try:
        return str(number)
    except ValueError:  # more digits than Python wants to write
        raise _Wrong("number_too_large", path) from None


def _clean(text: str) -> str:
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _list(given: Any, path: str) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list):
        raise _Wrong("wrong_type", path)
    return [plain for plain in _plain(given, path) if (plain if type(plain) is str else not _empty(plain))]


def _status(given: Any) -> str | None:
    status = _text(given, "status") if isinstance(given, str) else None
    return status.lower() if status else None


def _empty(given: Any) -> bool:
    """Whether there is nothing in what ``_plain`` gave: blank texts, and lists and objects of such."""
    if isinstance(given, str):
        return not given
    if isinstance(given, dict):
        return all(map(_empty, given.values()))
    if isinstance(given, list):
        return all(map(_empty, given))
    return given is None


def _plain(given: Any, path: str, depth: int = 0) -> Any:
    """A value as JSON columns of every database hold it, its texts trimmed and NFC."""
    kind = type(given)
    if kind is str:
        return _clean(given)
    if depth > DEEPEST:
        raise _Wrong("too_deep", path)
    # loops: a comprehension is a call of its own before Python 3.12
    if kind is list:
        plain = []
        for one in given:
            plain.append(one.strip() if type(one) is str and one.isascii() else _plain(one, path, depth + 1))
        return plain
    if kind is dict:
        named = {}
        for name, one in given.items():
            name = name if name.isascii() else unicodedata.normalize("NFC", name)  # noqa: PLW2901
            named[name] = _plain(one, path, depth + 1)
        return named
    return _number(given, path) if kind in (Decimal, int) else given


def _number(given: Decimal | int, path: str) -> float | int | str:
    """A number; one that no column holds is kept as the text that was sent."""
    if isinstance(given, int):
        return given if _SMALLEST <= given <= _LARGEST else _digits(given, path)
    number = float(given)
    return str(given) if math.isinf(number) else number


def _hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of what an entry says about the person (therapists.md, what counts as a change).

    Without status, last_modified and metadata; and without the id, which is a place in a page and no trait of theirs.
    """
    document = dict(values)
    for name in LISTS:
        if name in document:
            document[name] = in_order(document[name])
    try:
        canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half of a surrogate pair
        raise _Wrong("unstorable", "") from None
    if b"\\" in canonical and b"\\u0000" in canonical and _holds_nul(document):
        raise _Wrong("nul_character", "")  # PostgreSQL has no place for it
    return hashlib.sha256(canonical).hexdigest()


def _holds_nul(given: Any) -> bool:
    if isinstance(given, str):
        return "\0" in given
    if isinstance(given, dict):
        return any(_holds_nul(name) or _holds_nul(one) for name, one in given.items())
    return isinstance(given, list) and any(map(_holds_nul, given))
