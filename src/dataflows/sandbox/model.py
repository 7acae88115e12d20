"""What a receiver makes of a child that it is sent: DfE does not say, so both readings are here as pure functions.

A stored child is kept in *normal form*: ``purge`` flags are instructions and not data, so they are gone; the items of
an id list stand in the order of their ids, because that order carries nothing; an id list without items is no list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Literal

from dataflows.flows.csc.payload import CHILD, ObjectKind

Stored = dict[str, Any]
Model = Literal["merge", "replace"]


def merge(stored: Mapping[str, Any] | None, sent: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """Bring one sent child into the stored one (None: not stored yet), key by key.

    Objects merge, lists with ids upsert by id, lists without ids are replaced when present, ``purge: true`` removes,
    what is absent stays. Returns the child in normal form, or None when it is purged. ``stored`` is left as it is.
    """
    return None if _purged(sent) else _merged(kind, stored or {}, sent)


def replace(stored: Mapping[str, Any] | None, sent: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """Take the sent child for the whole truth: what is absent is cleared. Returns it in normal form, None if purged."""
    return None if _purged(sent) else _merged(kind, {}, sent)


def normal(payload: Mapping[str, Any], kind: ObjectKind = CHILD) -> Stored | None:
    """What is stored when ``payload`` is all that was ever sent (the same under both readings)."""
    return merge(None, payload, kind)


MODELS: Mapping[Model, Callable[[Mapping[str, Any] | None, Mapping[str, Any], ObjectKind], Stored | None]] = {
    "merge": merge,
    "replace": replace,
}


def _purged(sent: Mapping[str, Any]) -> bool:
    return sent.get("purge") is True


def _merged(kind: ObjectKind, stored: Mapping[str, Any], sent: Mapping[str, Any]) -> Stored:
    result = dict(stored)
    for name, value in sent.items():
        if name in kind.single:
            _put(result, name, _one(kind.single[name], stored.get(name), value))
        elif name in kind.listed:
            _put(result, name, _items(kind.listed[name], stored.get(name, ()), value) or None)
        elif name != "purge":
            result[name] = value
    return result


def _one(kind: ObjectKind, stored: Mapping[str, Any] | None, sent: Mapping[str, Any]) -> Stored | None:
    return None if _purged(sent) else _merged(kind, stored or {}, sent)


def _items(kind: ObjectKind, stored: Any, sent: list[dict[str, Any]]) -> list[Stored]:
    item_id = itemgetter(kind.id_field)
    result: dict[str, Stored] = {item_id(item): item for item in stored}
    for item in sent:
        _put(result, item_id(item), _one(kind, result.get(item_id(item)), item))
    return [result[key] for key in sorted(result)]


def _put(target: dict[str, Any], name: str, value: object | None) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value
