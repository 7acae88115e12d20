"""What a run tells of its objects: the figures of its report, and what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown
from dataflows.events import Warned
from dataflows.flows.practice.patients.recording import RecordingResult
from dataflows.flows.practice.patients.registration import Registration

COUNTS = (
    "seen", "imported", "updated", "superseded", "duplicate_file", "unrecognised", "failed", "dead", "deleted",
    "waiting", "vanished",
)  # fmt: skip
LISTED = 1_000
"""How many possible duplicates a report lists; the table has them all."""

_ODDITIES = {
    "consent_missing": "there is no section consent_metadata",
    "token_differs": "the token is another one than in the object's name",
    "time_missing": "no time of registration; that of the object counts",
    "time_in_future": "the time of registration is in the future and not believed; that of the object counts",
    "form_key_differs": "a field stands under two names with different values; both are kept",
}


@dataclass
class ImportTally:
    """What a run has to tell of all its objects."""

    counts: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    possible_duplicates: list[tuple[str, str]] = field(default_factory=list)
    silent: int = 0
    """How many objects in a row the bucket gave no good answer about."""
    why: DataflowsError | None = None
    refused: AccessRefused | None = None
    """That it refused one object; it may be held there, while others are not."""

    def answered(self) -> None:
        """Note a good answer."""
        self.silent = 0

    def unanswered(self, error: ServiceDown | AccessRefused) -> None:
        """Note that there was none."""
        self.silent += 1
        self.why = error
        self.refused = error if isinstance(error, AccessRefused) else self.refused

    def note(self, key: str, registration: Registration, recorded: RecordingResult) -> None:
        """Count a registration (``key`` is its keyed hash), and what is odd about it."""
        self.counts[recorded.outcome] += 1
        self.oddities.update(registration.warnings)
        self.unknown.update(registration.unknown)
        if recorded.flag:
            self.oddities["possible_duplicate"] += 1
            self.possible_duplicates += [(key, recorded.flag)] if len(self.possible_duplicates) < LISTED else []


def figures(ledger: ImportTally) -> dict[str, object]:
    """The report of a run."""
    return {
        **{name: ledger.counts[name] for name in COUNTS},
        "warnings": sum(ledger.oddities.values()),
        "oddities": dict(sorted(ledger.oddities.items())),
        "unknown_fields": dict(sorted(ledger.unknown.items())),
        "possible_duplicates": [{"object": key, "why": why} for key, why in ledger.possible_duplicates],
    }


def remarks(ledger: ImportTally) -> Iterator[Warned]:
    """One warning for each kind of oddity."""
    for code, words in _ODDITIES.items():
        if ledger.oddities[code]:
            yield Warned(f"{_registrations(ledger.oddities[code])}: {words}")
    if count := ledger.oddities["unknown_field"]:
        named = ", ".join(sorted(ledger.unknown)) or "names that are not shown"
        yield Warned(f"{_registrations(count)}: fields that no column is made for: {named}", "see the column extra")
    if count := ledger.oddities["possible_duplicate"]:
        yield Warned(f"new patients who may be duplicates: {count}", "see the column possible_duplicate")


def _registrations(count: int) -> str:
    return f"{count} registration{'s' * (count != 1)}"
