"""What a pass tells of its objects: events and items by keyed hashes, the figures of its report, and its mail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dataflows.events import Done, Event, Failed, Pending, Skipped, Warned
from dataflows.flows.practice.notices import Message, section, summary
from dataflows.flows.practice.patients.recording import RecordingResult
from dataflows.flows.practice.patients.registration import NotARegistration, Registration
from dataflows.flows.practice.patients.tracking import ATTEMPTS, DEAD, FAILED, RECOVERED, UNRECOGNISED, ObjectNews
from dataflows.runs.journal import Item
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run

COUNTS = (
    "seen", "imported", "updated", "superseded", "duplicate_file", "unrecognised", "failed", "dead", "deleted",
    "waiting", "vanished", "erased",
    "copies_removed",
)  # fmt: skip
LISTED = 1_000
"""How many possible duplicates a report lists; the table has them all."""

_ODDITIES = {
    "consent_missing": "the section consent_metadata is missing",
    "token_differs": "the token differs from the one in the object's name",
    "time_missing": "no time of registration; the object's time is used",
    "time_in_future": "the time of registration is in the future; the object's time is used instead",
    "form_key_differs": "a field is given under two names with different values; both are kept",
}


@dataclass
class ImportTally:
    """What a run has to tell of all its objects."""

    counts: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    possible_duplicates: list[tuple[str, str]] = field(default_factory=list)

    def note(self, key: str, registration: Registration, recorded: RecordingResult) -> None:
        """Count a registration (``key`` is its keyed hash), and what is odd about it."""
        self.counts[recorded.outcome] += 1
        self.oddities.update(registration.warnings)
        self.unknown.update(registration.unknown)
        if recorded.flag:
            self.oddities["possible_duplicate"] += 1
            self.possible_duplicates += [(key, recorded.flag)] if len(self.possible_duplicates) < LISTED else []

    def figures(self) -> dict[str, object]:
        """The report of the run."""
        return {
            **{name: self.counts[name] for name in COUNTS},
            "warnings": sum(self.oddities.values()),
            "oddities": dict(sorted(self.oddities.items())),
            "unknown_fields": dict(sorted(self.unknown.items())),
            "possible_duplicates": [{"object": key, "why": why} for key, why in self.possible_duplicates],
        }

    def remarks(self) -> Iterator[Warned]:
        """One warning for each kind of oddity."""
        if count := self.counts["erased"]:
            yield Warned(
                f"{_registrations(count)} of people who were erased came again: not imported, left where they are",
                reason="person-came-again",
                hint="take them away by: dataflows person erase, or by hand",
            )
        for code, words in _ODDITIES.items():
            if self.oddities[code]:
                yield Warned(f"{_registrations(self.oddities[code])}: {words}", reason="registration-oddities")
        if count := self.oddities["unknown_field"]:
            named = ", ".join(sorted(self.unknown)) or "names that are not shown"
            yield Warned(
                f"{_registrations(count)}: fields without a column: {named}",
                "see the column extra",
                reason="registration-oddities",
            )
        if count := self.oddities["possible_duplicate"]:
            yield Warned(
                f"new patients who may be duplicates: {count}",
                "see the column possible_duplicate",
                reason="registration-oddities",
            )


def _registrations(count: int) -> str:
    return f"{count} registration{'s' * (count != 1)}"


class ObjectReporter:
    """Makes the events of a run, each object counted and in the journal; of a rehearsal nothing is in there."""

    def __init__(self, run: Run, *, rehearsal: bool) -> None:
        self._run = run
        self._rehearsal = rehearsal
        self._cipher = IdentifierCipher.of(run.data_dir)
        self.tally = ImportTally()

    def key(self, name: str) -> str:
        """The keyed hash under which an object is known."""
        return self._cipher.fingerprint(name)

    def done(self, name: str, outcome: str, note: str, message: str | None = None) -> Event:
        """An object that is where it belongs; ``note`` says what became of it."""
        return self._event(Done(self.key(name), note), name, "done", outcome, message)

    def skipped(self, name: str, count: str, code: str) -> Event:
        """An object that is left alone, counted as ``count``."""
        self.tally.counts[count] += 1
        return self._event(Skipped(self.key(name), code), name, "skipped", code)

    def erased(self, name: str) -> Event:
        """An object of somebody who was erased; it is left where it is, and nothing is noted of its name."""
        return self.skipped(name, "erased", "erased_person")

    def failed(self, name: str, why: NotARegistration, *, status: str = FAILED, known: bool = False) -> Event:
        """An object that cannot be imported; ``known``: it failed so before."""
        self.tally.counts[status] += 1
        event = Failed(self.key(name), why.code, why.message, known=known, reason=why.reason)
        return self._event(event, name, "failed", why.code, why.message)

    def pending(self, name: str, code: str) -> Event:
        """An object that waits for the next pass."""
        return self._event(Pending(self.key(name), code), name, "pending", code)

    def _event(self, event: Event, name: str, state: str, code: str, message: str | None = None) -> Event:
        if not self._rehearsal:
            self._run.journal.record(self._run.id, [Item(self.key(name), state, 1, code, message)])
        return event

    def message(self, news: Sequence[ObjectNews], bucket: str) -> Message:
        """Word one mail about everything that is new."""
        counted, run_id = summary(tuple(_SECTIONS), [one.status for one in news]), self._run.id[:8]
        lines = [f"patient-import, run {run_id}, bucket {bucket}: {counted}."]
        for status, title in _SECTIONS.items():
            of_it = [
                f"{self.key(one.name)}{f'  {one.code}' if one.code else ''}" for one in news if one.status == status
            ]
            lines += section(title, of_it, f": dataflows runs show {run_id}")
        lines += ["", "To see the object behind a hash, in a console on the machine that sent this:", ""]
        lines += ["    dataflows patient-import --show HASH", "    dataflows patient-import --retry HASH", ""]
        return Message(f"patient-import: {counted}", "\n".join(lines))


_SECTIONS = {
    DEAD: f"Given up after {ATTEMPTS} attempts; tried again when the object changes, or by --retry-dead:",
    FAILED: "Failed for the first time; tried again by every run:",
    UNRECOGNISED: "Not named like a registration; left where it is and never deleted (see --pattern):",
    RECOVERED: "Imported after all:",
}
