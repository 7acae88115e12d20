"""Why a row would be sent so, in words: what is known of its child, and which of its objects changed or vanished."""

from __future__ import annotations

from collections.abc import Iterator

from dataflows.flows.csc.delta import settled
from dataflows.flows.csc.planning import Basis
from dataflows.flows.csc.reading import shows_it_was_sent
from dataflows.flows.csc.schema import ObjectKind
from dataflows.flows.csc.skeleton import ObjectSkeleton, loses_a_field


def reasons(basis: Basis) -> Iterator[str]:
    """Yield lines that say what is known, and what differs from that; ids of objects are in them, no other value."""
    yield from _known(basis)
    if basis.baseline is None or basis.reading.goes or basis.reading.payload is None:
        return
    now = basis.baseline.now(settled(basis.reading.payload, basis.baseline.kind))
    yield from _differences(basis.baseline.kind, basis.baseline.child, now.child, "") or ["nothing changed"]


def _known(basis: Basis) -> Iterator[str]:
    ack, row = basis.ack, basis.reading.row
    if ack is None or ack.knows_nothing:
        yield "the journal knows nothing of this child"
        if shows_it_was_sent(row) and not basis.trusted:
            yield "the row shows that it was sent before, by another machine or tool, or before the journal was lost"
        return
    if ack.in_doubt is not None:
        yield "an earlier request for this child was never answered, so it is not sure that it arrived"
    if ack.reset is not None:
        yield "a purge was begun for this child, and what has to follow it was not acknowledged yet"
    if ack.purged:
        yield "the API acknowledged that this child was purged"
    elif not basis.trusted:
        yield "the row shows a receipt that this journal did not write: another machine sent it, nobody knows what"
    elif ack.holds and basis.baseline is None:
        yield "what the API holds is not known in detail: an earlier version sent it, and the table does not show it"


def _differences(kind: ObjectKind, before: ObjectSkeleton, now: ObjectSkeleton, path: str) -> list[str]:
    found: list[str] = []
    where = path or "the child itself"
    if loses_a_field(before, now, kind):
        found.append(f"{where}: a field vanished, which only a purge of it can convey")
    elif before.digest != now.digest:
        found.append(f"{where}: changed")
    for name, below in kind.single.items():
        found += _pair(below, before.single.get(name), now.single.get(name), f"{path}.{name}".lstrip("."))
    for name, below in kind.listed.items():
        old, new = before.listed.get(name, {}), now.listed.get(name, {})
        for one in (*new, *(gone for gone in old if gone not in new)):
            found += _pair(below, old.get(one), new.get(one), f"{path}.{name}[{one}]".lstrip("."))
    return found


def _pair(kind: ObjectKind, before: ObjectSkeleton | None, now: ObjectSkeleton | None, path: str) -> list[str]:
    if before is None:
        return [f"{path}: is new"] if now is not None else []
    return _differences(kind, before, now, path) if now is not None else [f"{path}: vanished"]
