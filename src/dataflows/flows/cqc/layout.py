"""What the columns of an export are called. The names have drifted over the years, so they are compared loosely."""

from __future__ import annotations

from collections.abc import Sequence

_LOCATION, _PROVIDER, _NAME = "cqc location id", "cqc provider id", "name"
_ALSO = {
    "cqc location": _LOCATION,
    "location id": _LOCATION,
    "cqc provider": _PROVIDER,
    "provider id": _PROVIDER,
    "location name": _NAME,
}
"""Other names under which the most important columns are known."""


_SEARCH = (
    "name", "address 1", "address 2", "town/city", "county", "postcode", "phone number", _PROVIDER, _LOCATION,
    "website", "local authority", "region", "report publication date", "url", "also known as", "specialisms/services",
    "service types", "provider name",
)  # fmt: skip
_DIRECTORY = (
    "name", "also known as", "address", "postcode", "phone number", "service's website", "service types",
    "date of latest check", "specialisms/services", "provider name", "local authority", "region", "location url",
    _LOCATION, _PROVIDER,
)  # fmt: skip
COLUMNS = frozenset((*_SEARCH, *_DIRECTORY))
"""The columns of the two layouts that are fetched, by the names under which they are compared."""


def plain(name: str) -> str:
    """A column's one name, without remark, case and superfluous blanks: what names are compared by."""
    name = name.partition("(")[0]  # "(for office use only)", also where its end was lost
    words = " ".join(name.lower().split())
    return _ALSO.get(words, words)


def is_header(names: Sequence[str]) -> bool:
    """Whether a record is the header: it names a column for the location's id, the provider's id, and the name."""
    return {_LOCATION, _PROVIDER, _NAME} <= {plain(name) for name in names}


def is_other_export(names: Sequence[str]) -> bool:
    """Whether a header is that of another export: more than half of its columns are none of ours."""
    unknown = [name for name in names if plain(name) not in COLUMNS]
    return len(unknown) * 2 > len(names)


def location_column(header: Sequence[str]) -> int:
    """Where the Location ID stands in a header."""
    return _place(header, _LOCATION)


def provider_column(header: Sequence[str]) -> int:
    """Where the Provider ID stands in a header."""
    return _place(header, _PROVIDER)


def name_column(header: Sequence[str]) -> int:
    """Where the name stands in a header."""
    return _place(header, _NAME)


def _place(header: Sequence[str], wanted: str) -> int:
    return [plain(name) for name in header].index(wanted)
