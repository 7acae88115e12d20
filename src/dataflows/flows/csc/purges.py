"""The purges of whole children, at the end of a run: what is owed is looked through, guarded, and only then sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import Contradicted
from dataflows.flows.csc.deferred import Deferred
from dataflows.flows.csc.speakers import Speakers

_PAGE = 500


class OwedPurges:
    """Children that rows named before, or that no row names any more. ``keeps``: False in a dry run."""

    def __init__(self, acks: Acknowledgements, speakers: Speakers, deferred: Deferred, *, keeps: bool) -> None:
        self._acks = acks
        self._speakers = speakers
        self._deferred = deferred
        self._keeps = keeps

    def owe(self, children: Iterable[bytes]) -> None:
        """Commit that children are owed a purge, before anything else leaves because of their rows."""
        owed = list(children)
        if owed and self._keeps:
            self._acks.owe(owed)
        if owed:
            self._deferred.keep_former(owed)

    def recall(self) -> None:
        """Take up what earlier runs owed."""
        for page in self._acks.owed_purges():
            self._deferred.keep_former(page)

    def look_through(self) -> Iterator[list[Contradicted]]:
        """Keep those that nobody speaks for; forget those that a row speaks for again; yield the contradicted ones."""
        for page in self._deferred.former(_PAGE):
            named = {child: name for child in page if (name := self._acks.child(child)) is not None}
            standings = self._speakers.of((), named.values())
            spoken = [child for child, name in named.items() if standings[name].reading is not None]
            if spoken and self._keeps:
                self._acks.owe_no_more(spoken)
            others = {child: standings[name].variant for child, name in named.items() if child not in spoken}
            self._deferred.keep_purges(child for child, variant in others.items() if variant is None)
            yield [_contradicted(child, variant) for child, variant in others.items() if variant is not None]

    def keys(self, children: Sequence[bytes]) -> list[str]:
        """Return the keyed hashes under which an operator is told of these children."""
        return [child[:8].hex() for child in children]


def _contradicted(child: bytes, variant: int) -> Contradicted:
    return Contradicted(
        None,
        child[:8].hex(),
        f"row {variant} names this child in other upper or lower case, and no row names it as the API has it:"
        " nothing is sent for it until somebody decides",
    )
