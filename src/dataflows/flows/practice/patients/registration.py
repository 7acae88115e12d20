"""A registration's file: read, checked and taken apart. No message ever repeats a value (rules: patients.md)."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

from dataflows.flows.practice.patients.fields import NotARegistration, checked
from dataflows.flows.practice.values import AHEAD, moment_of
from dataflows.store.encodings import NAMES, encoding_of
from dataflows.store.json_bounds import OutOfBounds, check

__all__ = ["OBJECT", "NotARegistration", "Registration", "read", "too_large", "unpacked", "without_generation"]

OBJECT = "object"
"""What stands for the source of a registration's time where its object's time counts."""
_PIECE = 64 * 1024
_TOO_LARGE = {bool: 2, int: 2**63, float: 1e300}  # events carry no larger whole numbers
_FIELD_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SHOWN_NAME_LIMIT = 40


@dataclass(frozen=True)
class Registration:
    """One registration, checked.

    Attributes:
        sha256: of the file's bytes, in hexadecimal.
        document: the whole body.
        fields: what the patient said, by column; absent and empty fields are left out.
        extra: fields that no column is made for.
        consent: the section ``consent_metadata``, None where the body has none.
        warnings: codes of what is odd, without any value.
        unknown: names of the fields in ``extra`` that may be shown.
    """

    sha256: str
    size: int
    document: dict[str, Any]
    fields: dict[str, Any]
    extra: dict[str, Any]
    consent: dict[str, Any] | None
    token: str | None
    timestamp: str | None
    consented_at: datetime | None
    registered_at: datetime | None
    registered_by: str
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def dated(self, made: datetime) -> Registration:
        """The same with its time settled: that of its object (``made``) where it has none that is believed.

        A time more than a day ahead of the object's own is wrong, and would keep later registrations from counting.
        """
        if self.registered_at is None:
            return replace(self, registered_at=made)
        if self.registered_at <= made + AHEAD:
            return self
        return replace(self, registered_at=made, registered_by=OBJECT, warnings=(*self.warnings, "time_in_future"))


def read(data: bytes, *, max_bytes: int, token: str | None = None) -> Registration:
    """Read and check a file.

    Args:
        max_bytes: PATIENT_MAX_BYTES.
        token: the token in the object's name, where it has one.

    Raises:
        NotARegistration: it is no registration, or holds what a database cannot.
    """
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    document = _document(unpacked(data, max_bytes))
    section = _section(document, "patient_data")
    if section is None:
        raise NotARegistration("invalid", "patient_data: is missing", reason="registration-invalid")
    fields, extra, warnings = checked(section)
    consent = _section(document, "consent_metadata")
    sent, timestamp = _optional_text(document, "registration_token"), _optional_text(document, "registration_timestamp")
    consented_at = moment_of((consent or {}).get("timestamp_utc"))
    registered_at = consented_at or moment_of(timestamp)
    by = "consent" if consented_at else "body" if registered_at else OBJECT
    warnings += _oddities(consent, token, sent, by)
    return Registration(
        hashlib.sha256(data).hexdigest(), len(data), document, fields, extra, consent, sent, timestamp,
        consented_at, registered_at, by, tuple(warnings), _showable(extra, document),
    )  # fmt: skip


def unpacked(data: bytes, limit: int) -> bytes:
    """The content of a file that is stored packed by gzip (Content-Encoding); others as they are."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    found = _gunzipped(data, limit)
    if isinstance(found, NotARegistration):  # raised here: what led to it is not for people
        raise found
    return found


def _gunzipped(data: bytes, limit: int) -> bytes | NotARegistration:
    member, pieces, size = zlib.decompressobj(wbits=31), list[bytes](), 0
    try:
        while not member.eof and size <= limit:
            pieces.append(member.decompress(data, _PIECE))
            size += len(pieces[-1])
            data = member.unconsumed_tail
            if not data and not pieces[-1] and not member.eof:
                return NotARegistration("not_json", "is an incomplete gzip stream", reason="registration-invalid")
    except zlib.error:
        return NotARegistration("not_json", "is a damaged gzip stream", reason="registration-invalid")
    return too_large(limit) if size > limit else b"".join(pieces)


def without_generation() -> NotARegistration:
    """The error for an object of which the list of the bucket does not say enough to delete it."""
    return NotARegistration(
        "no_generation", "the bucket's list does not say which version of the object it is", reason="object-generation"
    )


def too_large(max_bytes: int) -> NotARegistration:
    """The error for a file above PATIENT_MAX_BYTES."""
    return NotARegistration(
        "too_large", f"is larger than {max_bytes} bytes (PATIENT_MAX_BYTES)", reason="registration-invalid"
    )


# --- the document -----------------------------------------------------------------------------------------------------


def _document(data: bytes) -> dict[str, Any]:
    found = _parsed(data)
    if isinstance(found, NotARegistration):  # raised here, outside the except block: what led to it quotes the file
        raise found
    if not isinstance(found, dict):
        raise NotARegistration("not_json", "is not a JSON object", reason="registration-invalid")
    _refuse_unstorable(found)
    return found


def _parsed(data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
        check(data)
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
    except (UnicodeDecodeError, OutOfBounds) as error:
        if name := NAMES.get(encoding_of([data]) or ""):
            return NotARegistration("not_json", f"is encoded as {name} instead of UTF-8", reason="registration-invalid")
        if isinstance(error, OutOfBounds):
            return NotARegistration(
                "unstorable", "is nested too deeply, or has too many values or digits", reason="registration-invalid"
            )
        return NotARegistration("not_json", "is not UTF-8 text", reason="registration-invalid")
    except _Repeated:
        return NotARegistration(
            "repeated_field", "has the same field twice in one object", reason="registration-invalid"
        )
    except (ValueError, RecursionError):
        return NotARegistration("not_json", "is not JSON", reason="registration-invalid")


class _Repeated(Exception):
    """A key stands twice in one object: which of the values is meant?"""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated
    return found


def _no_number(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _refuse_unstorable(value: Any) -> None:
    """NUL and halves of surrogate pairs cannot be stored as text, nor numbers beyond a double as JSON."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise NotARegistration(
                "unstorable", "contains a character that no database can store", reason="registration-invalid"
            )
    elif isinstance(value, int | float) and not abs(value) < _TOO_LARGE[type(value)]:
        raise NotARegistration("unstorable", "contains a number that is too large", reason="registration-invalid")
    elif isinstance(value, Mapping):
        for pair in value.items():
            for inner in pair:
                _refuse_unstorable(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_unstorable(inner)


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found = document.get(name)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise NotARegistration("invalid", f"{name}: must be an object", reason="registration-invalid")
    return found


def _optional_text(document: Mapping[str, Any], name: str) -> str | None:
    found = document.get(name)
    if found is not None and not isinstance(found, str):
        raise NotARegistration("invalid", f"{name}: must be text", reason="registration-invalid")
    return found or None


# --- times and oddities -----------------------------------------------------------------------------------------------


def _oddities(consent: Mapping[str, Any] | None, in_name: str | None, sent: str | None, by: str) -> list[str]:
    odd = []
    if consent is None:
        odd.append("consent_missing")
    if in_name is not None and in_name.casefold() != (sent or "").casefold():
        odd.append("token_differs")
    if by == OBJECT:
        odd.append("time_missing")
    return odd


def _showable(extra: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of unknown fields that look like names of fields, and repeat nothing that the patient said."""
    words = {word for text in _texts(document) for word in re.findall(r"\w+", text.casefold()) if len(word) > 2}
    return tuple(
        name
        for name in sorted(extra)
        if len(name) <= _SHOWN_NAME_LIMIT and _FIELD_NAME.fullmatch(name) and not any(word in name for word in words)
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
