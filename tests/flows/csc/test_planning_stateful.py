"""Any sequence of nights: loads, reloads, deletions, returns, renames, lost answers, kills. Then one clean run.

The job is the real one, journal and table included; only the wire is replaced by a receiver that merges.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dataflows.errors import ServiceDown
from dataflows.flows.csc import job
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.answers import Answer, Delivery, Verdict
from dataflows.flows.csc.staging import Staging
from dataflows.runs.journal import Journal
from dataflows.runs.runner import Run
from dataflows.sandbox.model import Stored, merge, normal
from dataflows.settings import Secret, Settings
from tests.flows.csc.truth import contains, same
from tests.flows.csc.world import Loader

Object = dict[str, Any]
TABLE_ROWS = 2


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Fuse:
    """Ends the process before its n-th step; a step is anything that outlives it (a commit, a request)."""

    def __init__(self, steps: int | None) -> None:
        self.left = steps
        self.burnt = False

    def step(self) -> None:
        if self.burnt:
            raise Killed
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.burnt = True
                raise Killed


class Wire:
    """A receiver that merges. ``luck`` says what becomes of the next deliveries; then all are accepted."""

    def __init__(self) -> None:
        self.held: dict[str, Stored] = {}
        self.luck: list[str] = []
        self.fuse = Fuse(None)
        self.receipts: dict[str, str] = {}
        self.count = 0
        self.last_failure = ""

    def deliver(self, bodies: Sequence[bytes]) -> Delivery:
        self.fuse.step()
        fate = self.luck.pop(0) if self.luck else "accepted"
        if fate in ("accepted", "lost", "bad receipts"):
            for body in bodies:
                self._commit(json.loads(body))
        self.fuse.step()
        return Delivery([self._answer(fate, json.loads(body)["la_child_id"]) for body in bodies])

    def _commit(self, sent: Object) -> None:
        name = sent["la_child_id"]
        after = merge(self.held.get(name), sent)
        if after is None:
            self.held.pop(name, None)
        else:
            self.held[name] = after

    def _answer(self, fate: str, name: str) -> Answer:
        if fate == "accepted":
            self.count += 1
            self.receipts[name] = f"receipt-{self.count}"
            return Answer(Verdict.ACCEPTED, self.receipts[name])
        return {
            "refused": Answer(Verdict.REFUSED, "API error (400): the record is refused", "api_400"),
            "bad receipts": Answer(Verdict.UNANSWERED, "API error (200): 0 receipts for 1 records", "bad_receipts"),
            "unsent": Answer(Verdict.NOT_SENT, code="no_answer"),
        }.get(fate, Answer(Verdict.UNANSWERED, code="no_answer"))


FATES = st.lists(
    st.sampled_from(["accepted", "accepted", "lost", "dropped", "unsent", "refused", "bad receipts"]), max_size=3
)
STEPS = st.none() | st.integers(0, 12)


def plans(*names: str) -> list[Object]:
    return [{"child_protection_plan_id": name, "start_date": "2024-01-03"} for name in names]


EPISODES: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {"social_care_episode_id": st.sampled_from(["e1", "e2"])},
    optional={
        "closure_date": st.just("2024-06-30"),
        "care_worker_details": st.sampled_from([[], [{"worker_id": "w1"}], [{"worker_id": "w1"}, {"worker_id": "w1"}]]),
        "child_protection_plans": st.sampled_from([plans("p1"), plans("p2"), plans("p1", "p2")]),
        "adoption": st.sampled_from([{}, {"matched_date": "2024-02-02"}]),
    },
)
PAYLOADS: st.SearchStrategy[Object] = st.fixed_dictionaries(
    {},
    optional={
        "mis_child_id": st.sampled_from(["m1", "m2"]),
        "child_details": st.sampled_from([{"sex": "F"}, {"sex": "F", "postcode": "ZZ99 3CZ"}]),
        "social_care_episodes": st.lists(
            EPISODES, max_size=2, unique_by=lambda one: str(one["social_care_episode_id"])
        ),
    },
)
INVALID: Object = {"child_details": {"sex": "neither"}}
NAMES = ["SYNA", "SYNB", "SYNC", "SYND"]
ROWS = st.integers(1, TABLE_ROWS)


class Nights(RuleBasedStateMachine):
    """A loader that keeps previous_json_payload as what was last sent, and the default settings."""

    overwrites = "never"
    reset = "object"
    renames = True

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        folder = Path(self.temporary.name)
        self.loader = Loader(f"sqlite:///{folder / 'staging.db'}")
        sa.event.listen(self.loader.engine, "connect", _in_haste)
        self.settings = Settings(
            data_dir=folder,
            db_connection_string=Secret(f"sqlite:///{folder / 'staging.db'}"),
            api_endpoint="https://receiver.example.org",
            la_code="999",
            supplier_key=Secret("synthetic"),
            token_endpoint="https://token.example.org",
            client_id="synthetic",
            client_secret=Secret("synthetic"),
            scope="synthetic/.default",
            csc_reset=self.reset,
            csc_max_delete_percent=100.0,
        )
        self.wire = Wire()
        self.journal = Journal.in_memory()
        self.payloads: dict[int, Object] = {}
        self.spoke: dict[str, int] = {}
        self.weak: set[str] = set()

    def teardown(self) -> None:
        try:
            self.a_clean_night()
        finally:
            self.loader.engine.dispose()
            self.temporary.cleanup()

    # --- the loader ---------------------------------------------------------------------------------------

    @initialize(payloads=st.lists(PAYLOADS, min_size=TABLE_ROWS, max_size=TABLE_ROWS))
    def first_load(self, payloads: list[Object]) -> None:
        for name, payload in zip(NAMES, payloads, strict=False):
            whole = {"la_child_id": name, **payload}
            (row_id,) = self.loader.stage(whole)
            self._notice(row_id, whole)

    @rule(row_id=ROWS, payload=PAYLOADS)
    def reload(self, row_id: int, payload: Object) -> None:
        self._load(row_id, {"la_child_id": self._name(row_id), **payload})

    @rule(row_id=ROWS)
    def load_nonsense(self, row_id: int) -> None:
        self._load(row_id, {"la_child_id": self._name(row_id), **INVALID})

    @precondition(lambda self: self.renames)
    @rule(row_id=ROWS, name=st.sampled_from(NAMES), payload=PAYLOADS)
    def rename(self, row_id: int, name: str, payload: Object) -> None:
        if name not in [self._name(other) for other in self.payloads if other != row_id]:
            self._load(row_id, {"la_child_id": name, **payload})

    @precondition(lambda self: self.renames)
    @rule(payload=PAYLOADS)
    def swap(self, payload: Object) -> None:
        one, two = self._name(1), self._name(2)
        self._load(1, {"la_child_id": two, **payload})
        self._load(2, {"la_child_id": one, **payload})

    @rule(row_id=ROWS)
    def delete(self, row_id: int) -> None:
        self.loader.delete(row_id)

    def _name(self, row_id: int) -> str:
        return str(self.payloads[row_id]["la_child_id"])

    def _load(self, row_id: int, payload: Object) -> None:
        sent = self.loader.row(row_id).submission_status == "sent"
        moves = self.overwrites == "always" or (self.overwrites == "when sent" and sent)
        self.loader.restage(row_id, payload, overwrite_previous=moves)
        self._notice(row_id, payload)

    def _notice(self, row_id: int, payload: Object) -> None:
        self.payloads[row_id] = payload
        name = payload["la_child_id"]
        if self.spoke.setdefault(name, row_id) != row_id:  # no baseline in that row, so it goes whole, without a purge
            self.weak.add(name)
            self.spoke[name] = row_id

    # --- the program --------------------------------------------------------------------------------------

    @rule(luck=FATES, steps=STEPS)
    def a_night(self, luck: list[str], steps: int | None) -> None:
        self._run(self.journal, luck, Fuse(steps))

    @rule()
    def a_clean_night(self) -> None:
        if not self.payloads:
            return
        self._run(self.journal, [], Fuse(None))
        self._agree()

    def _run(self, journal: Journal, luck: list[str], fuse: Fuse) -> None:
        self.wire.luck, self.wire.fuse = list(luck), fuse
        run = Run(journal.start("csc-submit", "t", options={}), journal, self.settings.data_dir, lambda _: None)
        with pytest.MonkeyPatch.context() as patch:
            self._rig(patch, fuse)
            try:
                list(job.submit(self.settings, job.Options(workers=1))(run))
            except Killed:
                pass
            except ServiceDown:
                assert luck

    def _rig(self, patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
        patch.setattr(job, "open_engine", lambda _: self.loader.engine)
        patch.setattr(job, "make_session", lambda *_: SimpleNamespace(close=lambda: None))
        patch.setattr(job, "TokenSource", lambda *_: SimpleNamespace(token=lambda: ""))
        patch.setattr(job, "Receiver", lambda **_: self.wire)
        for owner, name in (
            (Acknowledgements, "mark"),
            (Acknowledgements, "settle"),
            (Acknowledgements, "flush"),
            (Staging, "record"),
        ):
            patch.setattr(owner, name, _stepping(getattr(owner, name), fuse))

    def _agree(self) -> None:
        rows = {row.id: row for row in self.loader.rows()}
        refused = [row_id for row_id, row in rows.items() if self._is_nonsense(row)]
        for row_id, payload in self.payloads.items():
            if row_id not in refused:
                self._agrees(rows[row_id], payload)
        if not refused:  # else a former name may still wait for its purge
            assert set(self.wire.held) <= {self._name(row_id) for row_id in self.payloads} | self.weak

    def _is_nonsense(self, row: Any) -> bool:
        return row.row_state != "Deleted" and self.payloads[row.id].items() >= INVALID.items()

    def _agrees(self, row: Any, payload: Object) -> None:
        held = self.wire.held.get(payload["la_child_id"])
        assert row.submission_status == "sent"
        assert row.api_response == self.wire.receipts[payload["la_child_id"]]
        previous = json.loads(row.previous_json_payload or "null")
        assert same(previous and normal(previous), None if row.row_state == "Deleted" else payload)
        if row.row_state == "Deleted":
            assert held is None
        elif payload["la_child_id"] in self.weak:
            assert contains(held, payload)
        else:
            assert same(held, payload), (held, payload)


def _in_haste(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")  # these processes end, the machine does not
    connection.execute("PRAGMA journal_mode=MEMORY")


def _stepping(method: Callable[..., Any], fuse: Fuse) -> Callable[..., Any]:
    def stepping(*arguments: Any, **named: Any) -> Any:
        fuse.step()
        result = method(*arguments, **named)
        fuse.step()
        return result

    return stepping


class MovingWhenSent(Nights):
    """A loader that moves what was sent to previous_json_payload when it loads the next."""

    overwrites = "when sent"


class Overwriting(Nights):
    """A loader that always moves the payload to previous_json_payload, and CSC_RESET=child to make up for it."""

    overwrites = "always"
    reset = "child"
    renames = False  # the former identifier is in the journal only

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere = Journal.in_memory()

    @rule()
    def the_journal_is_lost(self) -> None:
        self.a_clean_night()  # what is in doubt when the journal goes can be known by nobody
        self.journal = Journal.in_memory()

    @rule(row_id=ROWS, payload=PAYLOADS)
    def another_host_sends(self, row_id: int, payload: Object) -> None:
        self.a_clean_night()
        self.reload(row_id, payload)
        self._run(self.elsewhere, [], Fuse(None))
        self._agree()


# the same nights in every run, and no shrinking, which would take longer than the test may
QUICK = settings(
    max_examples=60,
    stateful_step_count=14,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("machine", [Nights, MovingWhenSent, Overwriting])
def test_after_any_nights_a_clean_one_leaves_receiver_and_table_in_agreement(machine: type[Nights]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)
