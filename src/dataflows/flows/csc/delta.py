"""What has to be sent so that the receiver, of which a skeleton is known, holds ``current`` afterwards.

The receiver is taken to merge (csc.md): objects key by key, lists with ids by id, lists without ids replaced when
present, ``purge: true`` removes, absent leaves alone. An object that is sent at all is sent with all its own fields
and id-less lists, so that a receiver which replaces objects instead is not harmed either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from secrets import token_bytes
from typing import Any, Final, TypeAlias

from dataflows.flows.csc.schema import CHILD, CHILD_ID, ObjectKind
from dataflows.flows.csc.skeleton import ObjectSkeleton, Skeleton, emptied_lists, loses_a_field

Payload: TypeAlias = dict[str, Any]
_Items: TypeAlias = Mapping[str, ObjectSkeleton]
_REMOVED: Final[Payload] = {"purge": True}


class Sending(StrEnum):
    """Why and how a child is sent."""

    FULL = "full"
    DELTA = "delta"
    RESET = "reset"
    DELETE = "delete"
    UNCHANGED = "unchanged"
    WITHHELD = "withheld"  # a reset would be needed, and CSC_RESET=never


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """The requests for one child, in order: ``first`` (only purges, None when not needed), then ``body``."""

    sending: Sending
    first: Payload | None = None
    body: Payload | None = None


@dataclass(slots=True)
class _Change:
    """What one object needs: ``send`` in the last request, ``purge`` in the one before; None = nothing.

    ``stuck``: it needs a purge and cannot be purged by itself, so the object around it has to go.
    """

    send: Payload | None = None
    purge: Payload | None = None
    stuck: bool = False


def whole(current: Payload) -> ChildPlan:
    """Send the child as it is (no baseline is known)."""
    return ChildPlan(Sending.FULL, body=current)


def purge_and_whole(current: Payload, kind: ObjectKind = CHILD) -> ChildPlan:
    """Remove the child and send it anew (what the receiver holds cannot be told)."""
    return ChildPlan(Sending.RESET, first=deletion(current), body=settled(current, kind))


def deletion(payload: Mapping[str, Any]) -> Payload:
    """Build the request that removes a child: its identifiers and ``purge``, nothing else and nothing null."""
    ids = {key: payload[key] for key in ("la_child_id", "mis_child_id") if isinstance(payload.get(key), str)}
    return {**ids, "purge": True}


def changes(baseline: Skeleton, current: Payload, *, full: bool = False, skeleton: Skeleton | None = None) -> ChildPlan:
    """Plan the way from a trusted baseline to the current payload.

    Args:
        baseline: what the receiver holds.
        current: what it shall hold; it has passed the attribute rules.
        full: send the whole child with the purges, instead of the delta.
        skeleton: the one of ``current``, where it is at hand; made with the key of ``baseline``.
    """
    kind, old, new = baseline.kind, baseline.child, settled(current, baseline.kind)
    now = (skeleton or baseline.now(new)).child
    change = _difference(kind, old, now, new)
    if change.send is None:
        return ChildPlan(Sending.UNCHANGED)
    body = _whole_with_purges(kind, old, now, new) if full else change.send
    if change.purge is not None:
        return ChildPlan(Sending.RESET, first=change.purge, body=body)
    return ChildPlan(Sending.FULL if full else Sending.DELTA, body=body)


def between(previous: Payload, current: Payload, kind: ObjectKind = CHILD, *, full: bool = False) -> ChildPlan:
    """Plan the way between two payloads that are both at hand, as ``changes`` does."""
    return changes(Skeleton.of(previous, token_bytes(16), kind), current, full=full)


def settled(payload: Payload, kind: ObjectKind = CHILD) -> Payload:
    """Return the state that a payload describes: without objects it purges and without ``purge: false``."""
    return _without_flags(payload, kind) if _flagged(payload, kind) else payload


def _flagged(payload: Payload, kind: ObjectKind) -> bool:
    """Tell whether ``purge`` stands anywhere in a payload; most have none, and then nothing needs to be copied."""
    if "purge" in payload:
        return True
    for name, below in kind.single.items():
        if name in payload and _flagged(payload[name], below):
            return True
    return any(_flagged(item, below) for name, below in kind.listed.items() for item in payload.get(name, ()))


def _without_flags(payload: Payload, kind: ObjectKind) -> Payload:
    state: Payload = {}
    for key, value in payload.items():
        if key == "purge":
            continue
        if key in kind.single:
            if not value.get("purge"):
                state[key] = _without_flags(value, kind.single[key])
        elif key in kind.listed:
            state[key] = [_without_flags(item, kind.listed[key]) for item in value if not item.get("purge")]
        else:
            state[key] = value
    return state


def _difference(kind: ObjectKind, old: ObjectSkeleton, now: ObjectSkeleton, new: Payload) -> _Change:
    if old == now:
        return _Change()
    if loses_a_field(old, now, kind):
        return _anew(kind, new)
    own = _own(kind, new)
    own.update({name: [] for name in emptied_lists(old, now, kind)})
    change = _children(kind, old, now, new, own)
    if change.stuck:
        return _anew(kind, new)
    if change.send is None and now.digest != old.digest:
        change.send = own
    return change


def _anew(kind: ObjectKind, new: Payload) -> _Change:
    """Let an object go and come back whole: merge cannot take a field away."""
    if not kind.purgeable:
        return _Change(stuck=True)
    if kind.id_field == CHILD_ID:
        return _Change(send=new, purge=deletion(new))
    return _Change(send=new, purge=_purged(kind, new[kind.id_field]) if kind.id_field else _REMOVED.copy())


def _children(kind: ObjectKind, old: ObjectSkeleton, now: ObjectSkeleton, new: Payload, own: Payload) -> _Change:
    """Collect what the objects below need; an ancestor carries its own fields along."""
    sends: Payload = {}
    purges: Payload = {}
    for name, below in kind.single.items():
        change = _one(below, old.single.get(name), now.single.get(name), new.get(name))
        if change.stuck:
            return change
        _put(sends, name, change.send)
        _put(purges, name, change.purge)
    for name, below in kind.listed.items():
        found = _items(below, old.listed.get(name, {}), now.listed.get(name, {}), new.get(name, ()))
        _put(sends, name, [change.send for change in found if change.send is not None])
        _put(purges, name, [change.purge for change in found if change.purge is not None])
    return _Change(send={**own, **sends} if sends else None, purge={**own, **purges} if purges else None)


def _one(kind: ObjectKind, before: ObjectSkeleton | None, after: ObjectSkeleton | None, new: Payload | None) -> _Change:
    if after is not None and new is not None:
        return _difference(kind, before, after, new) if before is not None else _Change(send=new)
    if before is None:
        return _Change()
    return _Change(send=_REMOVED.copy()) if kind.purgeable else _Change(stuck=True)


def _items(kind: ObjectKind, before: _Items, after: _Items, new: Iterable[Payload]) -> list[_Change]:
    """Compare the items of two lists by id: those of the new list in its order, then the vanished ones."""
    field = str(kind.id_field)
    found = [_one(kind, before.get(item[field]), after[item[field]], item) for item in new]
    return found + [_Change(send=_purged(kind, gone)) for gone in before if gone not in after]


def _purged(kind: ObjectKind, item_id: str) -> Payload:
    return {str(kind.id_field): item_id, **_REMOVED}


def _own(kind: ObjectKind, payload: Payload) -> Payload:
    return {key: value for key, value in payload.items() if key not in kind.single and key not in kind.listed}


def _put(into: Payload, name: str, value: Payload | list[Any] | None) -> None:
    if value is not None and value != []:
        into[name] = value


def _whole_with_purges(kind: ObjectKind, old: ObjectSkeleton, now: ObjectSkeleton, new: Payload) -> Payload:
    """Return the whole new object, with a purge for everything that the old one had besides."""
    result = {**new, **{name: [] for name in emptied_lists(old, now, kind)}}
    for name, below in kind.single.items():
        if name in old.single and name in now.single:
            result[name] = _whole_with_purges(below, old.single[name], now.single[name], new[name])
        elif name in old.single and below.purgeable:
            result[name] = _REMOVED.copy()
    for name, below in kind.listed.items():
        if name in old.listed:
            before, after = old.listed[name], now.listed.get(name, {})
            result[name] = _whole_items(below, before, after, new.get(name, ()))
    return result


def _whole_items(kind: ObjectKind, before: _Items, after: _Items, new: Iterable[Payload]) -> list[Payload]:
    field = str(kind.id_field)
    known = [
        _whole_with_purges(kind, before[item[field]], after[item[field]], item) if item[field] in before else item
        for item in new
    ]
    return known + [_purged(kind, gone) for gone in before if gone not in after]
