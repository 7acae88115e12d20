"""Any sequence of what people do to table, journal and machine, with faults and kills in between; then a settled night.

The judge says what the receiver must hold then, and that no live child was purged at any moment, resets apart.
100 examples of each in every run; HYPOTHESIS_PROFILE=deep has 1,000 and ``long`` 20,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dataflows.errors import DataflowsError
from dataflows.flows.csc import job
from dataflows.flows.csc.options import ByHand
from dataflows.sandbox.model import CLIENT_ID, CLIENT_SECRET, SCOPE
from dataflows.sandbox.receiver import LA_CODE, SUPPLIER_KEY
from dataflows.settings import Secret, Settings
from tests.flows.csc.judge import Asked, Ended, Judge, Memory, child_of, due
from tests.flows.csc.nights import Plan, Service
from tests.flows.csc.people import (
    CONTENTS,
    DELETED,
    HABITS,
    NAMES,
    NOBODY,
    ORDERS,
    PENDING,
    PERSONS,
    Authority,
    Installation,
    Object,
    unsendable,
)

OTHER_LA = "998"
AS_EVER = Asked()
MOST_ROWS = 6
ROW = st.integers(0, MOST_ROWS - 1)
NAME = st.sampled_from(NAMES)
STEPS = st.none() | st.integers(0, 40)
FAULTS = st.sampled_from(
    [
        {},
        {},
        {"lost_next": 1},
        {"lost_next": 9},
        {"drop_next": 1},
        {"cut_next": 1},
        {"error_next": 9, "error_status": 500},
        {"receipts": "short", "receipts_next": 1},
        {"receipts": "text", "receipts_next": 1},
        {"refuse_ids": ["A1", "C3"]},
    ]
)


class People(RuleBasedStateMachine):
    """What all machines share: a table, the program on one machine, the receiver, and the judge."""

    service: Service
    model = "merge"
    partial = True
    resets = ("object", "child")
    habits = tuple(HABITS)

    def __init__(self) -> None:
        super().__init__()
        self.la_code = LA_CODE
        self.here = Installation(self.service.folder / "here")
        self.installations = [self.here]

    @initialize(
        reset=st.sampled_from(["object", "child"]),
        habit=st.sampled_from(HABITS),
        receipts=st.sampled_from(["array", "single"]),
        data=st.data(),
    )
    def begin(self, reset: str, habit: str, receipts: str, data: st.DataObject) -> None:
        service = self.service
        service.wrong.clear()
        service.box.reset()
        service.box.receiver.model = self.model  # type: ignore[assignment]
        service.box.receiver.faults.begin_with(receipts=receipts)
        self.reset = reset if reset in self.resets else self.resets[0]
        self.table = Authority(service.url("staging"), service.url("moved"), habit if habit in self.habits else "kept")
        self.judges = {la: Judge(reset=self.reset) for la in (LA_CODE, OTHER_LA)}
        for installation in self.installations:
            installation.clear()
        self.first_load(data)

    def first_load(self, data: st.DataObject) -> None:
        """What the table holds before the first night."""
        first = st.lists(st.tuples(NAME, CONTENTS, st.sampled_from(PERSONS)), min_size=1, max_size=3)
        for name, contents, person in data.draw(first):
            self.table.insert(name, contents, person)

    def teardown(self) -> None:
        if not hasattr(self, "table"):
            return
        try:
            self.settled_night()
        finally:
            self.table.close()

    # --- the program ----------------------------------------------------------------------------------------------

    def _settings(self, installation: Installation, la_code: str) -> Settings:
        box = self.service.box
        return Settings(
            data_dir=installation.folder,
            db_connection_string=Secret(self.table.url),
            api_endpoint=box.url,
            la_code=la_code,
            supplier_key=Secret(SUPPLIER_KEY),
            token_endpoint=box.settings()["TOKEN_ENDPOINT"],
            client_id=CLIENT_ID,
            client_secret=Secret(CLIENT_SECRET),
            scope=SCOPE,
            csc_reset=self.reset,
            csc_max_delete_percent=self.percent,
            http_attempts=2,
            http_max_wait_seconds=0.001,
        )

    percent = 5.0

    def night(
        self, asked: Asked = AS_EVER, plan: Plan | None = None, at: Installation | None = None, la_code: str = ""
    ) -> int | None:
        """One run of the program, judged; returns its exit code, None when it was killed."""
        plan, at, la_code = plan or Plan(), at or self.here, la_code or self.la_code
        judge, rows, held = self.judges[la_code], self.table.rows(), self.service.held(la_code)
        memory = at.memory(la_code)
        if asked.takeover and (at.key_lost or not memory.recognises(rows, judge.given)):
            at.memories[la_code] = memory = Memory(anew=True)
        if asked.requeue:
            at.memories[la_code] = memory = Memory(anew=True)
        known = memory.recognises(rows, self._given()) if not (asked.takeover or asked.requeue) else True
        sent_here = at.receivers.get(self.table.url, set())
        if known and sent_here - {la_code}:
            known = None  # another receiver was sent this database: it may ask
        night = judge.begins(rows, self.table.url, held, memory, asked)
        options = job.Options(full=not self.partial, workers=1, **_given_options(asked))
        ended = self.service.run(self._settings(at, la_code), options, night, plan, self.table.rows)
        code = None if ended is None else _code(ended)
        report = getattr(ended, "report", {})
        for row in rows:
            note(f"    {_told(row)}")
        note(f"    night of {la_code}: exit {code}, posted {night.posted}, { {k: v for k, v in report.items() if v} }")
        assert not self.service.wrong, self.service.wrong
        if code == 10:
            assert at.key_lost or known is not True, f"refused to run: {getattr(ended, 'error', ended)}"
            assert not night.posted and self.table.rows() == rows, "exit 10, and yet something was done"
            return code
        assert at.key_lost is False or asked.takeover or code is None, f"exit {code} without the key of the journal"
        strange = known is False and any(due(row) for row in rows)
        assert not strange or code is None, f"exit {code} although nothing of this table is known here"
        at.receivers.setdefault(self.table.url, set()).add(la_code)
        if asked.takeover:
            at.key_lost = False
        assert code in (None, 0, 3, 4) or (code == 13 and plan.faults) or (code == 2 and asked.child), (code, ended)
        undisturbed = not plan.disturbed and asked.limit is None
        told = None if code is None else Ended(code, report, undisturbed)
        wrong = night.ends(self.table.rows(), self.service.held(la_code), told)
        assert not wrong, wrong
        return code

    def _given(self) -> set[str]:
        return set().union(*(judge.given for judge in self.judges.values()))

    @rule()
    def settled_night(self) -> None:
        """Nothing goes wrong tonight, and the operator does what an exit 10 asks for."""
        if self.night() == 10:
            assert self.night(Asked(takeover=True)) != 10
            assert self.night() != 10

    @rule(faults=FAULTS, steps=STEPS, limit=st.none() | st.just(1), days=st.sampled_from([0, 0, 0, 3650, -40]))
    def a_night(self, faults: Object, steps: int | None, limit: int | None, days: float) -> None:
        self.night(Asked(limit=limit), Plan(dict(faults), steps, days_ahead=days))

    # --- the loader -----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.table.rows()) < MOST_ROWS)
    @rule(name=NAME, contents=CONTENTS, person=st.sampled_from(PERSONS), status=st.sampled_from(PENDING))
    def insert(self, name: str, contents: Object, person: str | None, status: str) -> None:
        self.table.insert(name, contents, person, submission_status=status)

    @rule(number=ROW, contents=CONTENTS, status=st.sampled_from(PENDING), whim=st.integers(0, 9))
    def reload(self, number: int, contents: Object, status: str, whim: int) -> None:
        row = self.table.at(number)
        if row is not None and (name := child_of(row)) is not None:
            self.table.reload(row, {"la_child_id": name, **contents}, status, whim)

    @rule(number=ROW, state=st.sampled_from(DELETED))
    def delete(self, number: int, state: str) -> None:
        if (row := self.table.at(number)) is not None:
            self.table.change(row.id, row_state=state)

    @rule(number=ROW, kind=st.integers(0, len(NOBODY)), whim=st.integers(0, 9))
    def nonsense(self, number: int, kind: int, whim: int) -> None:
        if (row := self.table.at(number)) is not None:
            name = child_of(row) or "A1"
            payloads: list[Object | str] = [*NOBODY, unsendable(name)]
            self.table.reload(row, payloads[kind], whim=whim)

    @rule(number=ROW, name=NAME)
    def rename(self, number: int, name: str) -> None:
        if (row := self.table.at(number)) is not None:
            self.table.rename(row, name)

    @rule(numbers=st.lists(ROW, min_size=2, max_size=3, unique=True))
    def swap(self, numbers: list[int]) -> None:
        found = {row.id: row for number in numbers if (row := self.table.at(number)) is not None}
        self.table.ring(list(found.values()))

    @rule(number=ROW)
    def remove(self, number: int) -> None:
        if (row := self.table.at(number)) is not None:
            self.table.remove(row)

    @precondition(lambda self: self.table.habit == "overwritten")
    @rule(number=ROW, whim=st.integers(0, 9))
    def overwrite_previous(self, number: int, whim: int) -> None:
        if (row := self.table.at(number)) is not None:
            self.table.change(row.id, previous_json_payload=self.table.anything(row, whim))

    # --- the administrator ----------------------------------------------------------------------------------------

    @rule(order=st.sampled_from(ORDERS[1:]))
    def renumber(self, order: str) -> None:
        self.table.renumber(order)

    @rule(order=st.sampled_from(ORDERS))
    def copy_elsewhere(self, order: str) -> None:
        self.table.copy_elsewhere(order)

    @rule(missing=st.sets(ROW, max_size=3), order=st.sampled_from(ORDERS[:3]))
    def fill_again(self, missing: set[int], order: str) -> None:
        self.table.fill_again(missing, order)


class Table(People):
    """People at the table; journal and machine stay what they are."""

    @rule(number=ROW, contents=CONTENTS, what=st.sampled_from(["returns", "is deleted", "is removed", "has a new row"]))
    def the_loader_is_at_work(self, number: int, contents: Object, what: str) -> None:
        """The loader changes a row just after the first request of a night was carried out."""

        def meanwhile() -> None:
            row = self.table.at(number)
            name = row and child_of(row)
            if row is None or name is None:
                return
            match what:
                case "returns":
                    self.table.reload(row, {"la_child_id": name, **contents})
                case "is deleted":
                    self.table.change(row.id, row_state="Deleted")
                case "is removed":
                    self.table.remove(row)
                case _:
                    self.table.insert(name, contents, row.person_id)

        self.night(plan=Plan(meanwhile=meanwhile))

    @rule(name=NAME, what=st.sampled_from(["resend", "purge"]))
    def by_hand(self, name: str, what: str) -> None:
        self.night(Asked(child=name, resend=what == "resend", purge=what == "purge"))

    @rule()
    def purge_orphans(self) -> None:
        self.night(Asked(purge_orphans=True))


class Replacing(Table):
    """A receiver that replaces what it holds: whole children are right there, too."""

    model = "replace"
    partial = False


class Crowd(People):
    """Enough children for the guard to wake."""

    def first_load(self, data: st.DataObject) -> None:
        for number in range(14):
            self.table.insert(f"K{number}", {"child_details": {"sex": "F"}}, f"p{number}")

    @rule(count=st.integers(8, 14), what=st.sampled_from(["deleted", "renamed", "removed"]), word=st.sampled_from("LM"))
    def many(self, count: int, what: str, word: str) -> None:
        """Many children are deleted, get other identifiers, or vanish from the table."""
        for row in self.table.rows()[:count]:
            match what:
                case "deleted":
                    self.table.change(row.id, row_state="Deleted")
                case "renamed":
                    self.table.rename(row, f"{word}{row.id}")
                case _:
                    self.table.remove(row)

    @rule()
    def all_return(self) -> None:
        for row in self.table.rows():
            if (name := child_of(row)) is not None:
                self.table.reload(row, {"la_child_id": name, "child_details": {"sex": "F"}})

    @rule()
    def lift_the_guard(self) -> None:
        self.night(Asked(allow_mass_delete=True))


class Keepers(People):
    """People at the data folder: journals lost and restored, keys lost, other machines, other receivers."""

    def __init__(self) -> None:
        super().__init__()
        folder = self.service.folder
        self.backup, self.backed_up = Installation(folder / "backup"), dict[str, Memory]()
        self.host = Installation(folder / "other host")
        self.tester = Installation(folder / "tester")
        self.installations += [self.backup, self.host, self.tester]

    @rule()
    def back_up(self) -> None:
        self.backed_up = self.here.copy_to(self.backup.folder)

    @rule()
    def restore(self) -> None:
        """An older journal, or none."""
        self.here.restore(self.backup.folder, self.backed_up)

    @rule()
    def lose_journal(self) -> None:
        self.here.clear()

    @rule(way=st.sampled_from(["restore", "takeover"]))
    def lose_key(self, way: str) -> None:
        key = self.here.folder / "journal.key"
        kept = key.read_bytes() if key.exists() else b""
        if self.here.lose_key():
            assert self.night() == 10
            if way == "restore":
                key.write_bytes(kept)
                self.here.key_lost = False
            self.settled_night()

    @rule()
    def another_host(self) -> None:
        """Another machine sends to the same receiver, and is told to take over when it asks."""
        if self.night(at=self.host) == 10:
            assert self.night(Asked(takeover=True), at=self.host) != 10

    @precondition(lambda self: {row.api_response for row in self.table.rows()} & self._given())
    @rule()
    def a_test_machine(self) -> None:
        """A test machine with a data folder of its own and another receiver may do nothing to the table."""
        if self.la_code == LA_CODE and not self.tester.folder.exists():
            before = self.table.rows()
            code = self.night(at=self.tester, la_code=OTHER_LA)
            assert code == 10 or (code == 0 and not any(due(row) for row in before)), code
            assert self.table.rows() == before
            self.tester.clear()

    @rule()
    def another_receiver(self) -> None:
        """The authority moves to another receiver, or back."""
        self.la_code = OTHER_LA if self.la_code == LA_CODE else LA_CODE
        self.night(Asked(requeue=True))


class AfterAnotherTool(Keepers):
    """The table was filled and sent by another tool: its receipts stand there, and nothing of them is known here."""

    def first_load(self, data: st.DataObject) -> None:
        super().first_load(data)
        kinds = st.tuples(NAME, CONTENTS, CONTENTS, st.integers(0, 4))
        for name, before, after, what in data.draw(st.lists(kinds, min_size=1, max_size=4)):
            if name not in {child_of(row) for row in self.table.rows()}:
                self._sent(name, {"la_child_id": name, **before}, after, what)

    def _sent(self, name: str, old: Object, after: Object, what: int) -> None:
        """Unchanged since, changed since, changed with the staged payload as previous one, deleted, or purged."""
        gone = {"la_child_id": name, "purge": True}
        receipt = self.service.sent_before(LA_CODE, old)
        if what == 4:
            receipt = self.service.sent_before(LA_CODE, gone)
        self.judges[LA_CODE].given.add(receipt)
        row_id = self.table.insert(name, {**old}, "p1", submission_status="Sent", api_response=receipt)
        self.table.change(row_id, row_state="Unchanged", previous_json_payload=self.table.row(row_id).json_payload)
        if what in (1, 2):
            self.table.reload(self.table.row(row_id), {"la_child_id": name, **after})
        elif what == 3:
            self.table.change(row_id, row_state="Deleted")
        elif what == 4:
            self.table.change(row_id, row_state="Deleted", partial_json_payload='{"purge": true}')


def _given_options(asked: Asked) -> dict[str, Any]:
    """What was asked for as the options of the job."""
    by_hand = ByHand.RESEND if asked.resend else ByHand.PURGE if asked.purge else None
    given = {**asdict(replace(asked, resend=False, purge=False)), "by_hand": by_hand}
    return {name: value for name, value in given.items() if value}


def _told(row: Any) -> str:
    response = (row.api_response or "")[-24:]
    words = f"{row.id} {row.person_id} {row.submission_status!r} {row.row_state!r} ..{response!r}"
    return f"{words} {row.json_payload[:60]} was {(row.previous_json_payload or '')[:60]}"


def _code(ended: Any) -> int:
    return int(ended.exit_code if isinstance(ended, DataflowsError) or ended.error is None else ended.error.exit_code)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


def _settings() -> settings:
    """As many examples as the profile says; a failure is made smaller only there, as that takes minutes."""
    plain = settings()
    shrinking = [Phase.shrink] if plain.max_examples > 100 else []
    return settings(
        phases=[Phase.generate, *shrinking],
        stateful_step_count=14,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(max(600, 20 * settings().max_examples))
@pytest.mark.parametrize("machine", [Table, Replacing, Crowd, Keepers, AfterAnotherTool])
def test_after_whatever_people_did_a_settled_night_leaves_what_the_rows_say(
    machine: type[People], service: Service
) -> None:
    factory = type(machine.__name__, (machine,), {"service": service})
    run_state_machine_as_test(factory, settings=_settings())
