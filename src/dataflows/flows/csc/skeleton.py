"""What the receiver holds of a child, without its data: enough to tell what changed, vanished or came since.

The journal keeps one skeleton per child that was sent (csc.md, "What the API holds"): its objects by id, the names of
the fields that each holds, and a keyed hash of each object's own content. No value of a field is in it, but the ids,
without which nothing could be purged.

As bytes: one byte for the format, eight for the shape of the schema, then the objects depth first. An object is a bit
mask (which of its fields it holds, which objects and lists with ids stand below), its hash, and for every list the
number of items and their ids. What a bit means follows from the schema, so a blob of another shape cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import orjson

from dataflows.flows.csc.schema import CHILD, ObjectKind

_FORMAT: Final = b"\x01"
_HASH_BYTES: Final = 8
_HEAD: Final = len(_FORMAT) + _HASH_BYTES
_UNKNOWN: Final = 1  # the bit of whatever has no place in the schema


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """What the bits of one kind of object stand for.

    Attributes:
        own: the bit of each own attribute.
        fields: the bits of all own attributes, and of whatever the schema does not know.
        scalars: those of them that can only be taken away by a purge: all but the lists without ids.
        single, listed: per object or list below its bit, its layout and (lists) the attribute that holds the id.
        width: bytes of the mask.
    """

    own: Mapping[str, int]
    fields: int
    scalars: int
    single: Mapping[str, tuple[int, _Layout]]
    listed: Mapping[str, tuple[int, _Layout, str]]
    width: int


@dataclass(slots=True)
class ObjectSkeleton:
    """One object: the mask of its own fields, the hash of their content, and the objects below.

    ``listed`` holds the items of each list by id, in the order in which the payload had them.
    """

    fields: int
    digest: bytes
    single: dict[str, ObjectSkeleton]
    listed: dict[str, dict[str, ObjectSkeleton]]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The skeleton of one child under one schema, comparable with any other that was made with the same key."""

    kind: ObjectKind
    key: bytes
    child: ObjectSkeleton

    @classmethod
    def of(cls, payload: Mapping[str, Any], key: bytes, kind: ObjectKind = CHILD) -> Skeleton:
        """Make the skeleton of a payload.

        Args:
            payload: a child; objects that it purges count as absent. It may break the rules of the schema (an earlier
                one let it pass): what has no place in the schema is remembered as "something unknown".
            key: 16 to 64 bytes, the same for all skeletons that are ever compared.
            kind: the shape of a child in the schema that is in force.
        """
        return cls(kind, key, _object(_layout(kind), payload, _keyed(key)))

    def now(self, payload: Mapping[str, Any]) -> Skeleton:
        """Make the skeleton of another payload, to compare it with this one."""
        return Skeleton.of(payload, self.key, self.kind)

    def to_bytes(self) -> bytes:
        """Return the skeleton as the journal keeps it (to be sealed: the ids are in it)."""
        parts = [_FORMAT, _shape(self.kind)]
        _write(_layout(self.kind), self.child, parts)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, blob: bytes, key: bytes, kind: ObjectKind = CHILD) -> Skeleton | None:
        """Read a skeleton back; None when it is damaged, or was made under a schema with another shape."""
        if blob[:_HEAD] != _FORMAT + _shape(kind):
            return None
        reader = _SkeletonReader(blob, _HEAD)
        try:
            child = reader.read(_layout(kind))
        except ValueError:
            return None
        return cls(kind, key, child) if reader.at == len(blob) else None


def loses_a_field(before: ObjectSkeleton, after: ObjectSkeleton, kind: ObjectKind) -> bool:
    """Tell whether an object lost a field that only a purge takes away (a list without ids can be emptied)."""
    return bool(before.fields & ~after.fields & _layout(kind).scalars)


def emptied_lists(before: ObjectSkeleton, after: ObjectSkeleton, kind: ObjectKind) -> list[str]:
    """Name the lists without ids that an object had and has no more."""
    lost = before.fields & ~after.fields
    own = _layout(kind).own
    return [name for name in kind.plain_lists if lost & own[name]] if lost else []


@lru_cache(maxsize=256)
def _layout(kind: ObjectKind) -> _Layout:
    names = [*kind.fields, *kind.plain_lists, *kind.single, *kind.listed]
    bits = {name: 2 << number for number, name in enumerate(names)}
    return _Layout(
        own={name: bits[name] for name in (*kind.fields, *kind.plain_lists)},
        fields=_UNKNOWN | sum(bits[name] for name in (*kind.fields, *kind.plain_lists)),
        scalars=_UNKNOWN | sum(bits[name] for name in kind.fields),
        single={name: (bits[name], _layout(below)) for name, below in kind.single.items()},
        listed={name: (bits[name], _layout(below), str(below.id_field)) for name, below in kind.listed.items()},
        width=(len(names) + 8) // 8,
    )


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> blake2b:
    """Return a hash that has taken in the key; a copy of it is made in half the time of a new one."""
    return blake2b(digest_size=_HASH_BYTES, key=key)


@lru_cache(maxsize=16)
def _shape(kind: ObjectKind) -> bytes:
    """Return a fingerprint (8 bytes) of everything that gives the bytes of a skeleton their meaning."""
    return blake2b(orjson.dumps(_described(kind)), digest_size=_HASH_BYTES).digest()


def _described(kind: ObjectKind) -> list[object]:
    below = [[[name, _described(one)] for name, one in group.items()] for group in (kind.single, kind.listed)]
    return [kind.id_field, kind.purgeable, kind.fields, kind.plain_lists, *below]


# --- from a payload -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """What the attributes of an object are, by their names alone: most objects of a kind have the same ones.

    Attributes:
        fields: the bits of the object's own ones.
        others: those that are not its own, among them ``single`` and ``listed``, which hold objects below.
        unknown: the bit of the unknown, where the schema does not know one of them.
    """

    fields: int
    others: tuple[str, ...]
    single: tuple[str, ...]
    listed: tuple[str, ...]
    unknown: int


@lru_cache(maxsize=4096)
def _form(layout: _Layout, names: tuple[str, ...]) -> _Form:
    others = tuple(name for name in names if name not in layout.own)
    single = tuple(name for name in names if name in layout.single)
    listed = tuple(name for name in names if name in layout.listed)
    unknown = set(others).difference(single, listed, ("purge",))
    fields = sum(layout.own.get(name, 0) for name in names)
    return _Form(fields, others, single, listed, _UNKNOWN if unknown else 0)


def _object(layout: _Layout, payload: Mapping[str, Any], hasher: blake2b) -> ObjectSkeleton:
    form = _form(layout, tuple(payload))
    fields, own = form.fields, payload
    if form.others:
        own = dict(payload)
        for name in form.others:
            del own[name]
    if [] in own.values():  # an empty list says no more than an absent one
        own = {name: value for name, value in own.items() if value != []}
        fields = _form(layout, tuple(own)).fields
    content = hasher.copy()
    content.update(orjson.dumps(own, option=orjson.OPT_SORT_KEYS))
    one = ObjectSkeleton(fields | form.unknown, content.digest(), {}, {})
    if not form.others:
        return one
    for name in form.listed:
        one.fields |= _add_items(layout, name, payload[name], hasher, one)
    for name in form.single:
        value = payload[name]
        if not isinstance(value, dict):
            one.fields |= _UNKNOWN
        elif not value.get("purge"):
            one.single[name] = _object(layout.single[name][1], value, hasher)
    return one


def _add_items(layout: _Layout, name: str, value: object, hasher: blake2b, to: ObjectSkeleton) -> int:
    """Add the items of a list; return the bit of the unknown when not every one of them can be told by its id."""
    _, below, id_field = layout.listed[name]
    items: dict[str, ObjectSkeleton] = {}
    unknown = 0
    for item in value if isinstance(value, list) else (value,):
        if not isinstance(item, dict) or not isinstance(item_id := item.get(id_field), str) or item_id in items:
            unknown = _UNKNOWN
        elif not item.get("purge"):
            items[item_id] = _object(below, item, hasher)
    if items:
        to.listed[name] = items
    return unknown


# --- as bytes -----------------------------------------------------------------------------------------------------


def _write(layout: _Layout, one: ObjectSkeleton, parts: list[bytes]) -> None:
    mask, single, listed = one.fields, one.single, one.listed
    for name in single:
        mask |= layout.single[name][0]
    for name in listed:
        mask |= layout.listed[name][0]
    parts += (mask.to_bytes(layout.width, "little"), one.digest)
    if single:
        for name, (_, below) in layout.single.items():
            if name in single:
                _write(below, single[name], parts)
    if listed:
        for name, (_, below, _) in layout.listed.items():
            if name in listed:
                _write_items(below, listed[name], parts)


def _write_items(layout: _Layout, items: Mapping[str, ObjectSkeleton], parts: list[bytes]) -> None:
    parts.append(_number(len(items)))
    for item_id, item in items.items():
        text = item_id.encode()
        parts += (_number(len(text)), text)
        if item.single or item.listed:
            _write(layout, item, parts)
        else:  # most have nothing below
            parts += (item.fields.to_bytes(layout.width, "little"), item.digest)


def _number(value: int) -> bytes:
    """Return a number as LEB128: seven bits a byte, the eighth says that more follow."""
    if value < 128:
        return _SMALL[value]
    return bytes([value & 127 | 128]) + _number(value >> 7)


_SMALL: Final = [bytes([value]) for value in range(128)]


class _SkeletonReader:
    """Reads objects from bytes; raises ValueError where they end too early or hold no text where an id stands."""

    def __init__(self, blob: bytes, at: int) -> None:
        self.blob = blob
        self.at = at

    def read(self, layout: _Layout) -> ObjectSkeleton:
        content = self.at + layout.width
        self.at = content + _HASH_BYTES
        if self.at > len(self.blob):
            raise ValueError("the bytes end too early")
        mask = int.from_bytes(self.blob[content - layout.width : content], "little")
        one = ObjectSkeleton(mask & layout.fields, self.blob[content : self.at], {}, {})
        if mask > layout.fields:  # there are objects below
            one.single = {name: self.read(below) for name, (bit, below) in layout.single.items() if mask & bit}
            one.listed = {name: self._items(below) for name, (bit, below, _) in layout.listed.items() if mask & bit}
        return one

    def _items(self, layout: _Layout) -> dict[str, ObjectSkeleton]:
        return {self._text(): self.read(layout) for _ in range(self._number())}

    def _text(self) -> str:
        size = self._number()
        self.at += size
        return self.blob[self.at - size : self.at].decode()

    def _number(self) -> int:
        value = shift = 0
        while self.at < len(self.blob) and shift < 28:
            byte = self.blob[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("the bytes end too early")
