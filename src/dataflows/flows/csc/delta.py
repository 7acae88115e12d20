"""What has to be sent so that the receiver, which holds ``baseline``, holds ``current`` afterwards.

The receiver is taken to merge (csc.md): objects key by key, lists with ids by id, lists without ids replaced when
present, ``purge: true`` removes, absent leaves alone. An object that is sent at all is sent with all its own fields
and id-less lists, so that a receiver which replaces objects instead is not harmed either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from dataflows.flows.csc.payload import CHILD, Kind

Payload: TypeAlias = dict[str, Any]


class Sending(StrEnum):
    """Why and how a child is sent."""

    FULL = "full"
    DELTA = "delta"
    RESET = "reset"
    DELETE = "delete"
    UNCHANGED = "unchanged"
    WITHHELD = "withheld"  # a reset would be needed, and CSC_RESET=never


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests for one child, in order: ``first`` (only purges, None when not needed), then ``body``."""

    sending: Sending
    first: Payload | None = None
    body: Payload | None = None


@dataclass(slots=True)
class _Change:
    """What one object needs: ``send`` in the last request, ``purge`` in the one before; None = nothing."""

    send: Payload | None = None
    purge: Payload | None = None


def whole(current: Payload) -> Plan:
    """Send the child as it is (no baseline is known)."""
    return Plan(Sending.FULL, body=current)


def purge_and_whole(current: Payload) -> Plan:
    """Remove the child and send it anew (what the receiver holds cannot be told)."""
    return Plan(Sending.RESET, first=deletion(current), body=settled(current))


def deletion(payload: Mapping[str, Any]) -> Payload:
    """Build the request that removes a child: its identifiers and ``purge``, nothing else and nothing null."""
    ids = {key: payload[key] for key in ("la_child_id", "mis_child_id") if isinstance(payload.get(key), str)}
    return {**ids, "purge": True}


def changes(baseline: Payload, current: Payload, *, full: bool = False) -> Plan:
    """Plan the way from a trusted baseline to the current payload.

    Args:
        baseline: what the receiver holds.
        current: what it shall hold; both have passed the attribute rules.
        full: send the whole child with the purges, instead of the delta.
    """
    old, new = settled(baseline), settled(current)
    change = _difference(CHILD, old, new)
    if change.send is None:
        return Plan(Sending.UNCHANGED)
    body = _whole_with_purges(CHILD, old, new) if full else change.send
    if change.purge is not None:
        return Plan(Sending.RESET, first=change.purge, body=body)
    return Plan(Sending.FULL if full else Sending.DELTA, body=body)


def settled(payload: Payload, kind: Kind = CHILD) -> Payload:
    """Return the state that a payload describes: without objects it purges and without ``purge: false``."""
    return _without_flags(payload, kind) if _flagged(payload, kind) else payload


def _flagged(payload: Payload, kind: Kind) -> bool:
    """Tell whether ``purge`` stands anywhere in a payload; most have none, and then nothing needs to be copied."""
    if "purge" in payload:
        return True
    for name, below in kind.single.items():
        if name in payload and _flagged(payload[name], below):
            return True
    return any(_flagged(item, below) for name, below in kind.listed.items() for item in payload.get(name, ()))


def _without_flags(payload: Payload, kind: Kind) -> Payload:
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


def _difference(kind: Kind, old: Payload, new: Payload) -> _Change:
    if old == new:
        return _Change()
    own, previous = _own(kind, new), _own(kind, old)
    if any(key not in own and not isinstance(value, list) for key, value in previous.items()):
        # merge cannot take a field away: the object goes, and comes back whole
        return _Change(send=new, purge=_removal(kind, new))
    own.update({key: [] for key, value in previous.items() if value and key not in own})
    change = _children(kind, old, new, own)
    if change.send is None and not _same(own, previous):
        change.send = dict(own)
    return change


def _children(kind: Kind, old: Payload, new: Payload, own: Payload) -> _Change:
    """Collect what the objects below need; an ancestor carries its own fields along."""
    sends: Payload = {}
    purges: Payload = {}
    for name, below in kind.single.items():
        change = _one(below, old.get(name), new.get(name))
        _put(sends, name, change.send)
        _put(purges, name, change.purge)
    for name, below in kind.listed.items():
        found = [_one(below, before, after) for before, after in _pairs(below, old.get(name), new.get(name))]
        _put(sends, name, [change.send for change in found if change.send is not None])
        _put(purges, name, [change.purge for change in found if change.purge is not None])
    return _Change(send={**own, **sends} if sends else None, purge={**own, **purges} if purges else None)


def _one(kind: Kind, before: Payload | None, after: Payload | None) -> _Change:
    if before is not None and after is not None:
        return _difference(kind, before, after)
    if after is not None:
        return _Change(send=after)
    return _Change(send=_removal(kind, before)) if before is not None else _Change()


def _pairs(
    kind: Kind, old: list[Payload] | None, new: list[Payload] | None
) -> list[tuple[Payload | None, Payload | None]]:
    """Pair the items of two lists by id: those of the new list in its order, then the vanished ones."""
    field = kind.id_field or ""
    before = {item[field]: item for item in old or ()}
    pairs: list[tuple[Payload | None, Payload | None]] = [(before.pop(item[field], None), item) for item in new or ()]
    return pairs + [(item, None) for item in before.values()]


def _removal(kind: Kind, item: Payload) -> Payload:
    if kind is CHILD:
        return deletion(item)
    return {**({kind.id_field: item[kind.id_field]} if kind.id_field else {}), "purge": True}


def _own(kind: Kind, payload: Payload) -> Payload:
    return {key: value for key, value in payload.items() if key not in kind.single and key not in kind.listed}


def _same(own: Payload, previous: Payload) -> bool:
    """Tell whether own fields say the same; an absent list says no more than an empty one."""
    return {k: v for k, v in own.items() if v != []} == {k: v for k, v in previous.items() if v != []}


def _put(into: Payload, name: str, value: Payload | list[Any] | None) -> None:
    if value is not None and value != []:
        into[name] = value


def _whole_with_purges(kind: Kind, old: Payload, new: Payload) -> Payload:
    """Return the whole new object, with a purge for everything that the old one had besides."""
    result = dict(new)
    result.update({key: [] for key, value in _own(kind, old).items() if isinstance(value, list) and key not in new})
    for name, below in kind.single.items():
        if name in old:
            result[name] = (
                _whole_with_purges(below, old[name], new[name]) if name in new else _removal(below, old[name])
            )
    for name, below in kind.listed.items():
        if name in old:
            result[name] = [
                _removal(below, before or {}) if after is None else _whole_with_purges(below, before or {}, after)
                for before, after in _pairs(below, old[name], new.get(name))
            ]
    return result
