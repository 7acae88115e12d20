"""The scene of `patient-import`: registrations in a bucket whose answers break, then people who come again.

Whatever happens on the way, every registration is in the database once, and no object goes before that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from dataflows.demo.stage import Figures, ResultLine, Shown, Stage, rows
from dataflows.errors import ExitCode
from dataflows.flows.practice.patients import job
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Order
from dataflows.sandbox.synthetic_practice import SyntheticRegistration, again, registration
from dataflows.store.practice.tables import patient_registrations, patients

FLOW = job.COMMAND
SETTINGS = {"HTTP_MAX_WAIT_SECONDS": 0.2, "HTTP_TIMEOUT_SECONDS": 10.0, "HTTP_ATTEMPTS": 2}

FIRST = 10  # registrations that can be taken; besides them an invalid one, and one under a name of another form
DAMAGED, KEPT = 1, 1  # of the first: never comes with its hash; comes, but cannot be deleted
LOST_ANSWERS, ANSWERED_503 = 1, 3  # the list once, one deletion twice: all of its attempts
LEFT = 2  # objects that stay for good
OTHER_NAME = "Anmeldung Synthetisch.json"

FIRST_RUN = (
    Shown("seen", FIRST + LEFT, "objects seen", "a bucket, oldest first"),
    Shown("imported", FIRST - DAMAGED, "imported", "committed, then deleted"),
    Shown("deleted", FIRST - DAMAGED - KEPT, "deleted", "one stays: 503, twice"),
    Shown("waiting", DAMAGED, "left to wait", "its hash is never right"),
    Shown("failed", 1, "invalid", "stays; mail has no names"),
    Shown("unrecognised", 1, "unrecognised", "stays, for good"),
)
SECOND_RUN = (
    Shown("imported", DAMAGED + 1, "imported", "waited; shares an e-mail"),
    Shown("updated", 1, "updated", "the same person again"),
    Shown("duplicate_file", 1, "same bytes", "kept once, deleted again"),
    Shown("deleted", DAMAGED + KEPT + 3, "deleted", "leftovers of run 1 too"),
)


def run(stage: Stage) -> Iterator[ResultLine]:
    """Import registrations while answers break, then later ones and the rest; look at bucket and database."""
    yield from PatientsScene(stage).lines()


class PatientsScene:
    """People who register, some of them again, and the bucket that their registrations lie in."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.bucket, self.findings = stage, stage.box.bucket, stage.findings
        self.settings = stage.settings(SETTINGS)
        dice = Random(1)  # noqa: S311 - people that come again
        self.first = [registration(dice, n) for n in range(1, FIRST + 1)]
        self.invalid = registration(dice, FIRST + 1, geburtsdatum="31.12.1990")
        self.unrecognised = SyntheticRegistration(OTHER_NAME, registration(dice, FIRST + 2).data)
        self.again = again(self.first[3], FIRST + 3, telefon="030 23125 999", hausarzt="")
        shared = {name: self.first[4].document["patient_data"][name] for name in ("nachname", "email", "geburtsdatum")}
        self.family = registration(dice, FIRST + 4, **shared)

    def lines(self) -> Iterator[ResultLine]:
        """Two runs, and how things stand then."""
        yield from self._broken_answers()
        yield from self._people_who_come_again()
        yield from self._in_the_end()

    def _broken_answers(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: {FIRST + LEFT} objects in the bucket, and six answers will be broken")
        self._put(*self.first, self.invalid, self.unrecognised)
        self._break()
        ended = {"items done": FIRST - DAMAGED - KEPT, "items pending": DAMAGED + KEPT}
        yield from self._import(FIRST_RUN, {**ended, "events waiting": FIRST - DAMAGED})  # no broker is set
        broken = {name: self.bucket.figures().get(name, 0) for name in ("lost", "status_503")}
        self.findings.must(f"{FLOW}: answers that broke", broken, {"lost": LOST_ANSWERS, "status_503": ANSWERED_503})
        self._judge_bucket(1, self.first[0], self.first[2], self.invalid, self.unrecognised)

    def _people_who_come_again(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: somebody again, a family, a file again; the leftovers")
        self._put(self.again, self.family, self.first[5])
        seen = {"seen": LEFT + DAMAGED + KEPT + 3, "unrecognised": 1, "failed": 1, "items done": DAMAGED + KEPT + 3}
        odd = {"warnings": 1, "oddities possible_duplicate": 1}
        yield from self._import(SECOND_RUN, {**seen, **odd, "events waiting": FIRST + 2})
        self._judge_bucket(2, self.invalid, self.unrecognised)

    def _in_the_end(self) -> Iterator[ResultLine]:
        taken = [one.document for one in (*self.first, self.again, self.family)]
        held = {row.document["registration_token"]: row.document for row in rows(self.settings, patient_registrations)}
        self.findings.must(f"{FLOW}: registrations", len(held), len(taken))
        self.findings.right(f"{FLOW}: registration", *(held.get(one["registration_token"]) == one for one in taken))
        people = rows(self.settings, patients)
        doubtful = sum(row.possible_duplicate for row in people)
        self.findings.must(f"{FLOW}: patients", len(people), FIRST + 1)
        self.findings.must(f"{FLOW}: possible duplicates in the table", doubtful, 1)
        self.stage.judge_mails(FLOW, f"{FLOW}: 1 failed, 1 unrecognised", self._mark(self.invalid))
        yield ResultLine(FLOW, None, len(held), "registrations", "each once, with consent")
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

    def _import(self, shown: Iterable[Shown], also: Figures) -> Iterator[ResultLine]:
        options = job.Options()
        order = Order(FLOW, job.target(self.settings), job.options_to_json(options), self.settings.data_dir)
        work, left = job.bring_in(self.settings, options), {"items failed": 1, "items skipped": 1}
        yield from self.stage.run(FLOW, order, work, ExitCode.SOME_FAILED, shown, {**left, **also})

    def _mark(self, one: SyntheticRegistration) -> str:
        return IdentifierCipher.of(self.settings.data_dir).fingerprint(one.name)

    def _judge_bucket(self, run: int, *wanted: SyntheticRegistration) -> None:
        held = {name: data for name, (_, data) in self.bucket.objects.items()}
        self.findings.must(f"{FLOW}, after run {run}: objects in the bucket", len(held), len(wanted))
        self.findings.right(f"{FLOW}, after run {run}: what they hold", held == {one.name: one.data for one in wanted})
