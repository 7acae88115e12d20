"""The delta worked out from two whole payloads: the oracle for the one that knows only a skeleton of the first.

An emptied list is told from an absent one here and not there, which says the same to a receiver; ``plain_plan`` takes
that difference away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflows.flows.csc.delta import ChildPlan, Payload, Sending, deletion, settled
from dataflows.flows.csc.schema import CHILD, ObjectKind


@dataclass(slots=True)
class _Change:
    """What one object needs: ``send`` in the last request, ``purge`` in the one before; None = nothing."""

    send: Payload | None = None
    purge: Payload | None = None


def changes_of_payloads(baseline: Payload, current: Payload, *, full: bool = False) -> ChildPlan:
    """Plan the way from a trusted baseline to the current payload.

    Args:
        baseline: what the receiver holds.
        current: what it shall hold; both have passed the attribute rules.
        full: send the whole child with the purges, instead of the delta.
    """
    old, new = settled(baseline), settled(current)
    change = _difference(CHILD, old, new)
    if change.send is None:
        return ChildPlan(Sending.UNCHANGED)
    body = _whole_with_purges(CHILD, old, new) if full else change.send
    if change.purge is not None:
        return ChildPlan(Sending.RESET, first=change.purge, body=body)
    return ChildPlan(Sending.FULL if full else Sending.DELTA, body=body)


def _difference(kind: ObjectKind, old: Payload, new: Payload) -> _Change:
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


def _children(kind: ObjectKind, old: Payload, new: Payload, own: Payload) -> _Change:
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


def _one(kind: ObjectKind, before: Payload | None, after: Payload | None) -> _Change:
    if before is not None and after is not None:
        return _difference(kind, before, after)
    if after is not None:
        return _Change(send=after)
    return _Change(send=_removal(kind, before)) if before is not None else _Change()


def _pairs(
    kind: ObjectKind, old: list[Payload] | None, new: list[Payload] | None
) -> list[tuple[Payload | None, Payload | None]]:
    """Pair the items of two lists by id: those of the new list in its order, then the vanished ones."""
    field = kind.id_field or ""
    before = {item[field]: item for item in old or ()}
    pairs: list[tuple[Payload | None, Payload | None]] = [(before.pop(item[field], None), item) for item in new or ()]
    return pairs + [(item, None) for item in before.values()]


def _removal(kind: ObjectKind, item: Payload) -> Payload:
    if kind is CHILD:
        return deletion(item)
    return {**({kind.id_field: item[kind.id_field]} if kind.id_field else {}), "purge": True}


def _own(kind: ObjectKind, payload: Payload) -> Payload:
    return {key: value for key, value in payload.items() if key not in kind.single and key not in kind.listed}


def _same(own: Payload, previous: Payload) -> bool:
    """Tell whether own fields say the same; an absent list says no more than an empty one."""
    return {k: v for k, v in own.items() if v != []} == {k: v for k, v in previous.items() if v != []}


def _put(into: Payload, name: str, value: Payload | list[Any] | None) -> None:
    if value is not None and value != []:
        into[name] = value


def _whole_with_purges(kind: ObjectKind, old: Payload, new: Payload) -> Payload:
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


def plain_plan(plan: ChildPlan) -> ChildPlan:
    """A plan without the empty lists that say nothing new, because the whole child is sent."""
    return ChildPlan(plan.sending, plan.first, _plain(plan.body)) if plan.body is not None else plan


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items() if below != []}
    return [_plain(item) for item in value] if isinstance(value, list) else value
