"""Which entry of a file speaks for a therapist, when several mean the same one. Only the whole file tells."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from dataflows.flows.therapists.identity import Key
from dataflows.flows.therapists.record import TherapistEntry

__all__ = ["Claim", "Claims", "ClaimsVerdict", "Target"]

Target: TypeAlias = Key | str
"""A listing that is known, or one that is new: by the person and the street."""
Claim: TypeAlias = Literal["speaks", "duplicate_entry", "shown_elsewhere", "ambiguous", "again"]


class ClaimsVerdict(NamedTuple):
    """Whom several entries mean (``doubled``); of those, about whom they say different things (``contested``), and who
    is both shown and deleted (``shown``).
    """

    doubled: frozenset[Target] = frozenset()
    contested: frozenset[Target] = frozenset()
    shown: frozenset[Target] = frozenset()


class Claims:
    """The claims of one reading of a file, under the verdict of the readings before.

    Of most therapists only a hash is kept, so a large file needs little memory. A file in which nobody is meant twice
    needs one reading.
    """

    def __init__(self, verdict: ClaimsVerdict) -> None:
        self._verdict = verdict
        self._hashes: set[int] = set()
        self._marks: dict[Target, int] = {}
        self._doubled: set[Target] = set()
        self._contested: set[Target] = set()
        self._shown: set[Target] = set()

    def claim(self, target: Target, entry: TherapistEntry) -> Claim:
        """Claim a therapist for an entry; ``again``: the file has to be read once more, by the new verdict."""
        if target in self._verdict.doubled:
            return self._among_several(target, entry)
        if hash(target) in self._hashes:
            self._doubled.add(target)
            return "again"
        self._hashes.add(hash(target))
        return "speaks"

    def verdict(self) -> ClaimsVerdict | None:
        """The verdict for the next reading; None when this one stands."""
        if not (self._doubled or self._contested or self._shown):
            return None
        doubled, contested, shown = self._verdict
        return ClaimsVerdict(doubled | self._doubled, contested | self._contested, shown | self._shown)

    def _among_several(self, target: Target, entry: TherapistEntry) -> Claim:
        deleted = entry.status == "deleted"
        if target in self._verdict.contested:
            return "ambiguous"
        if deleted and target in self._verdict.shown:
            return "shown_elsewhere"
        mark = 0 if deleted else int(entry.content_hash, 16) + 1
        before = self._marks.get(target)
        if before is None:
            self._marks[target] = mark
            return "speaks"
        if before == mark:
            return "duplicate_entry"
        (self._contested if before and mark else self._shown).add(target)
        return "again"
