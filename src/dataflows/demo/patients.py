"""The scene of `patient-import`: registrations in a bucket whose answers break, then people who come again.

Whatever happens on the way, every registration is in the database once, and no object goes before that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from random import Random
from typing import Any

from dataflows.demo.practice import judge_mails, rows
from dataflows.demo.stage import Figure, ResultLine, Stage
from dataflows.errors import ExitCode
from dataflows.flows.practice.patients import job
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Order, Outcome
from dataflows.sandbox.synthetic_practice import SyntheticRegistration, again, registration
from dataflows.store.practice.tables import outbox, patient_consents, patient_registrations, patient_tracking, patients

FLOW = job.COMMAND
SETTINGS = {"HTTP_MAX_WAIT_SECONDS": 0.2, "HTTP_TIMEOUT_SECONDS": 10.0, "HTTP_ATTEMPTS": 2}

FIRST = 10  # registrations that can be taken; besides them an invalid one, and one under a name of another form
DAMAGED, KEPT = 1, 1  # of the first: never comes with its hash; comes, but cannot be deleted
LOST_ANSWERS, ANSWERED_503 = 1, 3  # the list once, one deletion twice: all of its attempts
LEFT = 2  # objects that stay for good
OTHER_NAME = "Anmeldung Synthetisch.json"

FIRST_RUN: dict[str, Figure] = {
    "seen": FIRST + LEFT,
    "imported": FIRST - DAMAGED,
    "unrecognised": 1,
    "failed": 1,
    "waiting": DAMAGED,
    "deleted": FIRST - DAMAGED - KEPT,
}
SECOND_RUN: dict[str, Figure] = {
    "seen": LEFT + DAMAGED + KEPT + 3,
    "imported": DAMAGED + 1,
    "updated": 1,
    "duplicate_file": 1,
    "unrecognised": 1,
    "failed": 1,
    "deleted": DAMAGED + KEPT + 3,
    "warnings": 1,
}


def play(stage: Stage) -> Iterator[ResultLine]:
    """Import registrations while answers break, then later ones and the rest; look at bucket, database and copies."""
    yield from _Scene(stage).play()


class _Scene:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.bucket, self.must, self.right = stage.box.bucket, stage.findings.must, stage.findings.right
        self.settings = stage.settings(SETTINGS)
        dice = Random(1)  # noqa: S311 - people that come again
        self.first = [registration(dice, n) for n in range(1, FIRST + 1)]
        self.invalid = registration(dice, FIRST + 1, geburtsdatum="31.12.1990")
        self.unrecognised = SyntheticRegistration(OTHER_NAME, registration(dice, FIRST + 2).data)
        self.again = again(self.first[3], FIRST + 3, telefon="030 23125 999", hausarzt="")
        shared = {name: self.first[4].document["patient_data"][name] for name in ("nachname", "email", "geburtsdatum")}
        self.family = registration(dice, FIRST + 4, **shared)

    @property
    def taken(self) -> list[SyntheticRegistration]:
        """Every registration that must be in the database in the end."""
        return [*self.first, self.again, self.family]

    def play(self) -> Iterator[ResultLine]:
        yield from self._broken_answers()
        yield from self._people_who_come_again()
        yield from self._in_the_end()

    # --- the runs -----------------------------------------------------------------------------------------------------

    def _broken_answers(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: {FIRST + LEFT} objects in the bucket, and six answers will be broken")
        self._put(*self.first, self.invalid, self.unrecognised)
        self._break()
        counts: dict[str, Figure] = {
            "done": FIRST - DAMAGED - KEPT,
            "failed": 1,
            "skipped": 1,
            "pending": DAMAGED + KEPT,
        }
        outcome, count = self._import(1, counts, FIRST_RUN)
        found = self.bucket.figures()
        self.must(f"{FLOW}: answers lost after the commit", found.get("lost", 0), LOST_ANSWERS)
        self.must(f"{FLOW}: answers with 503", found.get("status_503", 0), ANSWERED_503)
        self.must(f"{FLOW}: bad hashes still to come", self.bucket.faults.bad_hash_next, 0)
        self._judge_bucket(1, self.first[0], self.first[2], self.invalid, self.unrecognised)
        self._judge_mails()
        yield ResultLine(FLOW, 1, count["seen"], "objects seen", "a bucket, oldest first", round(outcome.seconds, 3))
        yield ResultLine(FLOW, 1, count["imported"], "imported", "committed, then deleted")
        yield ResultLine(FLOW, 1, count["deleted"], "deleted", "one stays: 503, twice")
        yield ResultLine(FLOW, 1, count["waiting"], "left to wait", "its hash is never right")
        yield ResultLine(FLOW, 1, count["failed"], "invalid", "stays; mail has no names")
        yield ResultLine(FLOW, 1, count["unrecognised"], "unrecognised", "stays, for good")

    def _people_who_come_again(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: somebody again, a family, a file again; the leftovers")
        self._put(self.again, self.family, self.first[5])
        counts: dict[str, Figure] = {"done": DAMAGED + KEPT + 3, "failed": 1, "skipped": 1}
        outcome, count = self._import(2, counts, SECOND_RUN, {"object": self._mark(self.family), "why": "shared_email"})
        self._judge_bucket(2, self.invalid, self.unrecognised)
        self._judge_mails()  # nobody is told twice
        yield ResultLine(FLOW, 2, count["imported"], "imported", "waited; shares an e-mail", round(outcome.seconds, 3))
        yield ResultLine(FLOW, 2, count["updated"], "updated", "the same person again")
        yield ResultLine(FLOW, 2, count["duplicate_file"], "same bytes", "kept once, deleted again")
        yield ResultLine(FLOW, 2, count["deleted"], "deleted", "leftovers of run 1 too")

    def _in_the_end(self) -> Iterator[ResultLine]:
        registrations = self._judge_registrations()
        self._judge_patients()
        self._judge_tracking()
        self._judge_copies()
        yield ResultLine(FLOW, None, registrations, "registrations", "each once, with consent")
        yield ResultLine(FLOW, None, len(self.bucket.objects), "objects left", "invalid, unrecognised")

    def _put(self, *objects: SyntheticRegistration) -> None:
        for one in objects:
            self.bucket.put(one.name, one.data)

    def _break(self) -> None:
        """The list fails once, the first object never has its hash, then a deletion has no answer, the next fails."""
        faults = self.bucket.faults
        faults.set(only="list", error_next=1, bad_hash_next=SETTINGS["HTTP_ATTEMPTS"])
        self.bucket.then("list", lambda: faults.set(only="delete", lost_next=LOST_ANSWERS))
        self.bucket.then("delete", lambda: None)  # the one without an answer; the next is its repetition
        self.bucket.then("delete", lambda: faults.set(error_next=SETTINGS["HTTP_ATTEMPTS"]))

    def _import(
        self, run: int, counts: Mapping[str, Figure], figures: Mapping[str, Figure], *doubtful: Mapping[str, str]
    ) -> tuple[Outcome, Counter[str]]:
        options = job.Options()
        order = Order(FLOW, job.target(self.settings), job.options_to_json(options), self.settings.data_dir)
        outcome = self.stage.run(order, job.bring_in(self.settings, options))
        name, report = f"{FLOW}, run {run}", outcome.report
        self.stage.judge(name, outcome, ExitCode.SOME_FAILED, counts, figures)
        self.must(f"{name}: oddities", report.get("oddities"), {"possible_duplicate": 1} if doubtful else {})
        self.must(f"{name}: possible duplicates", report.get("possible_duplicates"), list(doubtful))
        self.must(f"{name}: unknown fields", report.get("unknown_fields"), {})
        return outcome, Counter({figure: value for figure, value in report.items() if isinstance(value, int)})

    def _mark(self, one: SyntheticRegistration) -> str:
        return IdentifierCipher.of(self.settings.data_dir).mark(one.name)

    # --- what is there then -------------------------------------------------------------------------------------------

    def _judge_bucket(self, run: int, *wanted: SyntheticRegistration) -> None:
        held = {name: data for name, (_, data) in self.bucket.objects.items()}
        self.must(f"{FLOW}, after run {run}: objects in the bucket", len(held), len(wanted))
        self.right(f"{FLOW}, after run {run}: what they hold", held == {one.name: one.data for one in wanted})

    def _judge_mails(self) -> None:
        everybody = [*self.taken, self.invalid, self.unrecognised]
        personal = {word for one in everybody for word in _personal(one)}
        marks = [self._mark(one) for one in (self.invalid, self.unrecognised)]
        judge_mails(self.stage, FLOW, [f"{FLOW}: 1 failed, 1 unrecognised"], marks, personal)

    def _judge_registrations(self) -> int:
        found = rows(self.settings, patient_registrations)
        self.must(f"{FLOW}: registrations", len(found), len(self.taken))
        by_token = {row.document["registration_token"]: row for row in found}
        consents = Counter(row.registration_id for row in rows(self.settings, patient_consents))
        said = {row.registration_id: row.consent_metadata for row in rows(self.settings, patient_consents)}
        for number, one in enumerate(self.taken, start=1):
            row = by_token.get(one.document["registration_token"])
            self.right(f"{FLOW}: registration {number}", row is not None and row.document == one.document)
            if row is not None:
                self.must(f"{FLOW}: consents of registration {number}", consents[row.id], 1)
                self.right(f"{FLOW}: its consent", said.get(row.id) == one.document["consent_metadata"])
        self.must(f"{FLOW}: consents", consents.total(), len(self.taken))
        return len(found)

    def _judge_patients(self) -> None:
        found = rows(self.settings, patients)
        wanted = [_columns(one) for one in (*self.first, self.family)]
        wanted[3] |= {"telefon": "030 23125 999"}  # the family doctor was left empty, and stays
        self.must(f"{FLOW}: patients", len(found), len(wanted))
        self.must(f"{FLOW}: possible duplicates in the table", sum(row.possible_duplicate for row in found), 1)
        held = {row.krankenversicherungsnummer: {**row._mapping} for row in found}
        for number, columns in enumerate(wanted, start=1):
            row = held.get(columns["krankenversicherungsnummer"], {})
            self.right(f"{FLOW}: patient {number}", {name: row.get(name) for name in columns} == columns)
        events = Counter(row.event_type for row in rows(self.settings, outbox) if row.topic == job.TOPIC)
        self.must(f"{FLOW}: events", dict(events), {"patient.created": len(wanted), "patient.updated": 1})

    def _judge_tracking(self) -> None:
        tracked = rows(self.settings, patient_tracking)
        self.must(f"{FLOW}: objects tracked", len(tracked), len(self.taken) + LEFT + 1)  # one came twice
        self.must(f"{FLOW}: of them still there", sum(row.deleted_at is None for row in tracked), LEFT)

    def _judge_copies(self) -> None:
        folder = job.backup_dir(self.settings)
        copies = Counter(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        self.must(f"{FLOW}: local copies", copies.total(), len(self.taken) + 1)
        self.right(f"{FLOW}: their bytes", copies == Counter(one.data for one in (*self.taken, self.invalid)))


_PERSONAL = ("vorname", "nachname", "strasse", "email", "telefon", "geburtsdatum", "krankenversicherungsnummer")
_DAYS = ("geburtsdatum", "letzte_sitzung_vorherige_psychotherapie")


def _personal(one: SyntheticRegistration) -> Iterator[str]:
    """What must stand in no mail."""
    yield from (one.name, one.document["registration_token"])
    yield from (one.document["patient_data"][name] for name in _PERSONAL)


def _columns(one: SyntheticRegistration) -> dict[str, Any]:
    """The columns that a registration must make; what is empty counts as absent."""
    said = {**one.document["patient_data"]}
    if "hat_ptv11" in said:
        said["psychotherapeutische_sprechstunde"] = said.pop("hat_ptv11")
    said |= {name: date.fromisoformat(said[name]) for name in _DAYS}
    return {name: None if value in ("", []) else value for name, value in said.items()}
