"""Any sequence of runs, faults, kills and losses. Then the same command until it is done: every row once, and active.

The job is the real one, journal included; the Directory, the other machines and the clock are those of ``virtual``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dataflows.errors import DataflowsError, ExitCode
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from tests.flows.hospitals.virtual import (
    FATES,
    SETTLE,
    Ended,
    Far,
    Host,
    Killed,
    Pause,
    disagreement,
    file_of,
    play,
    rig,
)

TEXTS = [Hospital(f"Synthetic Clinic {letter}", f"{letter} Sample Road, Exampleton", None) for letter in "ABCD"]
LUCK = st.lists(st.sampled_from(["ok", *FATES]), max_size=12)
STEPS = st.none() | st.integers(0, 30)
SECONDS = st.sampled_from([0.0, 1.0, 6.0, 20.0, SETTLE + 1])
ENOUGH = 4  # undisturbed runs that always suffice


class Nights(RuleBasedStateMachine):
    """One machine, and every fault of which the Directory is capable within the settle time."""

    alone = True
    beyond = frozenset({"too_late"})
    """Fates that are beyond what is promised."""
    refuses: frozenset[Hospital] = frozenset()
    options: ClassVar[dict[str, Any]] = {}

    @initialize(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5), size=st.integers(1, 4))
    def a_file(self, texts: list[Hospital], size: int) -> None:
        Host.hosts.clear()
        self.forgot = False  # then a batch that nobody knows of may be left, and nothing of it is ever active
        self.rows = [HospitalRow(number, text) for number, text in enumerate(texts, 1)]
        self.size = size
        present = file_of(self.rows)
        self.far = Far(cap=size, alone=self.alone, refuses=self.refuses, held=Counter(present), present=present)
        self._machines()

    def _machines(self) -> None:
        self.host = Host("here", self.far)

    def teardown(self) -> None:
        if hasattr(self, "host"):
            self._come_to_rest()

    # --- what happens -----------------------------------------------------------------------------------------

    @rule(luck=LUCK, steps=STEPS, resumes=st.booleans())
    def a_night(self, luck: list[str], steps: int | None, resumes: bool) -> None:
        self._ended(self._run(luck, steps, resumes=resumes))

    @rule(luck=LUCK, seconds=st.sampled_from([0.0, 3.0, 7.0, 15.0, 33.0]))
    def a_night_that_is_interrupted(self, luck: list[str], seconds: float) -> None:
        self._begin(self.host, luck)
        stop = self.host.stop
        self.far.at(self.far.now + seconds, stop.set)
        self._ended(play(self.far, self.host.upload(self.rows, self.size, **self.options))[0])

    @rule(seconds=SECONDS)
    def time_goes_by(self, seconds: float) -> None:
        self.far.go_on(self.far.now + seconds)

    @rule()
    def the_directory_restarts(self) -> None:
        self.far.restart()

    @rule()
    def the_journal_is_lost(self) -> None:
        self.forgot = True
        self.host.lose_journal()

    @rule(luck=LUCK, steps=STEPS)
    def the_latest_run_is_abandoned(self, luck: list[str], steps: int | None) -> None:
        if found := self.host.resumable():
            self._abandon(found[0], luck, steps)

    # --- and what follows -------------------------------------------------------------------------------------

    def _abandon(self, record: Any, luck: list[str], steps: int | None) -> None:
        self._begin(self.host, luck, steps)
        self.far.log("here", "abandons")
        try:
            done = self.host.abandon(record)
        except (DataflowsError, Killed):
            return
        self.far.go_on(self.far.now + 3 * SETTLE)
        left = [one for one in self.far.records.values() if not one.active and one.batch_id not in done.live]
        assert not left or not self.alone or self.forgot, self._history("abandoned, and something is left")

    def _run(self, luck: list[str], steps: int | None = None, *, resumes: bool = False) -> Ended:
        found = self.host.resumable()
        self._begin(self.host, luck, steps)
        again = self.host.resume(found[0]) if resumes and found else self._command()
        return self._play(again)[0]

    def _play(self, *processes: Iterator[Any]) -> list[Ended]:
        try:
            return play(self.far, *processes)
        except AssertionError as error:
            raise AssertionError(self._history(str(error))) from error

    def _begin(self, host: Host, luck: list[str], steps: int | None = None) -> None:
        host.begin(steps, [fate for fate in luck if fate not in self.beyond])

    def _command(self) -> Iterator[Any]:
        return self.host.upload(self.rows, self.size, **self.options)

    def _ended(self, ended: Ended) -> None:
        if ended.code is ExitCode.OK:
            self.far.go_on(self.far.now + SETTLE)
            assert not self._wrong(), self._history("done, it said")
        assert ended.code is not ExitCode.ALREADY_RUNNING, self._history("nobody else is at work")
        if ended.code not in (None, ExitCode.OK):
            assert ended.error is not None or ended.code is not ExitCode.SERVICE_DOWN
            assert self.host.resumable(), self._history(f"ended with {ended.code}, and cannot be resumed")

    def _come_to_rest(self) -> None:
        for _ in range(ENOUGH):
            ended = self._run([])
            if self._is_done(ended):
                break
        assert self._is_done(ended), self._history(f"no end: {ended.error}")
        self.far.go_on(self.far.now + 10 * SETTLE)
        assert not self._wrong(), self._history("in the end")
        assert not self.host.resumable()

    def _is_done(self, ended: Ended) -> bool:
        return ended.code is ExitCode.OK

    def _wrong(self) -> str:
        return disagreement(self.far, self.rows, inactive=not self.forgot)

    def _history(self, what: str) -> str:
        wrong = self._wrong()
        lines = "\n".join(f"{when:9.2f} {who}: {text}" for when, who, text in self.far.history)
        return f"{what}; {wrong}\n{lines}"


class Refusing(Nights):
    """The Directory does not take some of the rows, and the others are to be sent."""

    refuses = frozenset(TEXTS[:1])
    options: ClassVar[dict[str, Any]] = {"skip_invalid": True}

    def _ended(self, ended: Ended) -> None:
        if ended.code is ExitCode.SOME_FAILED and ended.error is None:
            assert not self._wrong(), self._history("done, it said")
            refused = sum(row.hospital in self.refuses for row in self.rows)
            assert ended.tally.failed == refused, self._history("failures")
            assert ended.tally.done + ended.tally.skipped == len(self.rows) - refused, self._history("others")
        else:
            super()._ended(ended)

    def _is_done(self, ended: Ended) -> bool:
        return ended.code is ExitCode.OK or (ended.code is ExitCode.SOME_FAILED and ended.error is None)


class Wild(Nights):
    """Creates that land when nobody waits for them any more, and a machine that forgets everything."""

    alone = False
    beyond = frozenset()

    @rule()
    def everything_is_lost(self) -> None:
        self.forgot = True
        self.host.lose_journal(copies=True)

    def _ended(self, ended: Ended) -> None:
        """Nothing can be promised here but that it is right in the end."""

    def _come_to_rest(self) -> None:
        self.far.go_on(self.far.now + 10 * SETTLE)
        super()._come_to_rest()


class TwoHosts(Wild):
    """Two machines that carry the same file, each on its own or both at once."""

    def _machines(self) -> None:
        super()._machines()
        self.other = Host("elsewhere", self.far)
        self.met = False

    @rule(
        lucks=st.tuples(LUCK, LUCK), steps=st.tuples(STEPS, STEPS), later=st.sampled_from([0.0, 0.03, 2.0, 5.0, 30.0])
    )
    def both_at_once(self, lucks: Any, steps: Any, later: float) -> None:
        self._begin(self.host, lucks[0], steps[0])
        self._begin(self.other, lucks[1], steps[1])
        command = self.other.upload(self.rows, self.size, **self.options)
        ended = self._play(self._command(), waiting(self.far, later, command))
        self.far.go_on(self.far.now + SETTLE)
        for one in ended:
            assert one.code in (None, ExitCode.OK, ExitCode.ALREADY_RUNNING, ExitCode.SERVICE_DOWN), self._history("")
        if all(one.code is ExitCode.OK for one in ended) and self.far.live() - file_of(self.rows):
            assert any(one.report["overlapping"] for one in ended), self._history("live twice, and nobody noticed")
        self.met = True

    @rule(luck=LUCK, steps=STEPS)
    def a_night_elsewhere(self, luck: list[str], steps: int | None) -> None:
        self._begin(self.other, luck, steps)
        self._play(self.other.upload(self.rows, self.size, **self.options))

    def _come_to_rest(self) -> None:
        super()._come_to_rest()
        self.host = self.other
        super()._come_to_rest()

    def _wrong(self) -> str:
        """Two that meet with different memories can make a hospital live twice, which is reported; never too little."""
        if not self.met:
            return super()._wrong()
        lacking = file_of(self.rows) - self.far.live()
        return f"lacking: {sorted(lacking.elements())}" if lacking else ""


def waiting(far: Far, seconds: float, process: Iterator[Any]) -> Iterator[Any]:
    """A process that begins later."""
    yield Pause(far.now + seconds)
    yield from process


QUICK = settings(
    stateful_step_count=8,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def thought(monkeypatch: pytest.MonkeyPatch) -> None:
    rig(monkeypatch)


@pytest.mark.parametrize("machine", [Nights, Refusing, Wild, TwoHosts])
def test_whatever_happens_the_same_command_brings_every_row_there_once(machine: type[Nights]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)
