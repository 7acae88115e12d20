"""People at work: files are corrected, grown, reordered, split, joined and copied, on one machine and on another.

The job is the real one, journal included; the Directory, the machines and the clock are those of ``virtual``. The judge
knows files and the Directory, no batch: every row is live as often as the file that holds it most, whatever happened.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dataflows.errors import DataflowsError, ExitCode
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from tests.flows.hospitals.virtual import FATES, SETTLE, Ended, Far, Host, Killed, file_of, play, rig

TEXTS = [Hospital(f"Synthetic Clinic {letter}", f"{letter} Sample Road, Exampleton", None) for letter in "ABCDEF"]
MOST_ROWS = 8
PROMISED = [fate for fate in FATES if fate != "too_late"]
LUCK = st.lists(st.sampled_from(["ok", *PROMISED]), max_size=8)
STEPS = st.none() | st.integers(0, 40)
TEXT = st.sampled_from(TEXTS)
SIZES = st.integers(1, 4)
SPELLINGS = st.sampled_from(
    ["https://directory.example.org", "https://Directory.Example.org/", "http://directory.example.org"]
)
ENOUGH = 8  # undisturbed runs that always suffice


class File(NamedTuple):
    """One file as it is now: where it lies, and its hospitals in order."""

    path: str
    texts: tuple[Hospital, ...]

    @property
    def rows(self) -> list[HospitalRow]:
        return [HospitalRow(number, text) for number, text in enumerate(self.texts, 1)]


Again = tuple[str, int, tuple[Hospital, ...]]
"""A run that creates rows once more: host, size of the batches, and the rows."""


class People(RuleBasedStateMachine):
    """Whoever keeps the lists of hospitals, and the nights in which they are sent."""

    @initialize(texts=st.lists(TEXT, min_size=1, max_size=5))
    def a_list(self, texts: list[Hospital]) -> None:
        Host.hosts.clear()
        self.far = Far(cap=20)
        self.hosts = [Host("here", self.far), Host("elsewhere", self.far)]
        self.agains: dict[Again, int] = {}
        self.broken_off: set[Again] = set()
        self.files = {"file.csv": File("file.csv", tuple(texts))}

    def teardown(self) -> None:
        if hasattr(self, "far"):
            self._come_to_rest()

    # --- what people do to files ------------------------------------------------------------------------------

    @rule(at=st.integers(0, MOST_ROWS), text=TEXT)
    def a_row_is_corrected(self, at: int, text: Hospital) -> None:
        def corrected(texts: list[Hospital]) -> list[Hospital]:
            texts[at % len(texts)] = text
            return texts

        self._change(corrected)

    @rule(texts=st.lists(TEXT, min_size=1, max_size=3), first=st.booleans())
    def a_file_grows(self, texts: list[Hospital], first: bool) -> None:
        self._change(lambda before: [*texts, *before] if first else [*before, *texts])

    @rule(data=st.data())
    def a_file_is_reordered(self, data: Any) -> None:
        self._change(lambda texts: data.draw(st.permutations(texts)))

    @rule(at=st.integers(1, MOST_ROWS))
    def a_file_is_split(self, at: int) -> None:
        whole = self._latest.texts
        if len(whole) > 1:
            cut = 1 + at % (len(whole) - 1)
            self._save("second half.csv", whole[cut:])
            self._save("first half.csv", whole[:cut])

    @rule()
    def files_are_joined(self) -> None:
        texts = tuple(text for one in self.files.values() for text in one.texts)
        self._save("joined.csv", texts[:MOST_ROWS])

    @rule()
    def a_file_is_copied(self) -> None:
        self._save("copy.csv", self._latest.texts)

    # --- what happens at night --------------------------------------------------------------------------------

    @rule(host=st.integers(0, 1), luck=LUCK, steps=STEPS, size=SIZES, spelling=SPELLINGS, again=st.booleans())
    def a_night(self, host: int, luck: list[str], steps: int | None, size: int, spelling: str, again: bool) -> None:
        self._night(self.hosts[host], self._latest, luck, steps, size=size, address=spelling, again=again)

    @rule(host=st.integers(0, 1), luck=LUCK, steps=STEPS, size=SIZES)
    def a_night_without_again(self, host: int, luck: list[str], steps: int | None, size: int) -> None:
        self._night(self.hosts[host], self._latest, luck, steps, size=size)

    @rule(host=st.integers(0, 1), luck=LUCK, steps=STEPS)
    def the_latest_run_is_resumed(self, host: int, luck: list[str], steps: int | None) -> None:
        here = self.hosts[host]
        if found := here.resumable():
            self._resume(here, found[0], luck, steps)

    @rule(host=st.integers(0, 1))
    def the_latest_run_is_abandoned(self, host: int) -> None:
        here = self.hosts[host]
        if found := here.resumable():
            self._abandon(here, found[0])

    @rule(seconds=st.sampled_from([1.0, 6.0, SETTLE + 1]))
    def time_goes_by(self, seconds: float) -> None:
        self.far.go_on(self.far.now + seconds)

    @rule(host=st.integers(0, 1), copies=st.booleans())
    def a_journal_is_lost(self, host: int, copies: bool) -> None:
        self.far.go_on(self.far.now + SETTLE)  # of creates that nobody knows of, nothing is promised to anybody else
        self.hosts[host].lose_journal(copies=copies)
        self.agains = {key: life for key, life in self.agains.items() if key[0] != self.hosts[host].name}

    @rule()
    def the_directory_restarts(self) -> None:
        self.far.present = Counter()
        self.far.restart()

    @rule(text=TEXT)
    def another_tool_creates_one(self, text: Hospital) -> None:
        self.far.go_on(self.far.now + SETTLE)
        self.far.another_tool_creates(text)

    @rule(text=TEXT)
    def somebody_deletes_one(self, text: Hospital) -> None:
        self.far.go_on(self.far.now + SETTLE)
        self.far.somebody_deletes(text)

    @precondition(lambda self: self.far.records)
    @rule()
    def two_records_get_one_id(self) -> None:
        self.far.same_id = True

    # --- how ---------------------------------------------------------------------------------------------------

    @property
    def _latest(self) -> File:
        return next(reversed(self.files.values()))

    def _save(self, path: str, texts: tuple[Hospital, ...]) -> None:
        self.files.pop(path, None)
        self.files[path] = File(path, texts)

    def _change(self, change: Any) -> None:
        file = self._latest
        self._save(file.path, tuple(change(list(file.texts))[:MOST_ROWS]))

    def _night(self, host: Host, file: File, luck: list[str], steps: int | None, **options: Any) -> Ended:
        size, again = options.pop("size", 4), options.get("again", False)
        begin = partial(host.upload, file.rows, size, path=file.path, **options)
        return self._run(host, file.rows, luck, steps, begin, (host.name, size, file.texts) if again else None)

    def _resume(self, host: Host, record: Any, luck: list[str], steps: int | None) -> Ended:
        rows, size, again = host.rows_of(record), record.options["batch_size"], record.options["again"]
        texts = tuple(row.hospital for row in rows)
        again_key = (host.name, size, texts) if again else None
        return self._run(host, rows, luck, steps, partial(host.resume, record), again_key)

    def _run(
        self, host: Host, rows: list[HospitalRow], luck: list[str], steps: int | None, begin: Any, again: Again | None
    ) -> Ended:
        """One process from its begin to its end, whichever that is; ``again``: what is created all the same."""
        far, file = self.far, file_of(rows)
        far.go_on(far.now + SETTLE)  # overlapping files of the same moments are nobody's promise
        host.begin(steps, luck)
        far.present, life, before = file, far.life, far.done
        far.held |= file
        if again and self.agains.get(again) != life:  # else it goes on with what it began
            self.agains[again] = life
            far.agains += file
        ended = self._play(begin())
        if ended.code is ExitCode.OK:
            fresh = again and self.agains.pop(again, None) == far.life and again not in self.broken_off
            self._is_done(far.done | file | (before + file if fresh and far.life == life else Counter()))
        if again:
            (self.broken_off.discard if ended.code is ExitCode.OK else self.broken_off.add)(again)
        return ended

    def _is_done(self, done: Counter[Hospital]) -> None:
        """A run that ended well: what its file holds is live now, and stays."""
        self.far.go_on(self.far.now + SETTLE)
        self.far.done = done
        self._judge("done, it said")

    def _judge(self, when: str) -> None:
        live = self.far.live()
        assert not self.far.done - live, self._history(f"{when}; lacking: {sorted((self.far.done - live).elements())}")
        assert not live - self.far.most, self._history(
            f"{when}; too often: {sorted((live - self.far.most).elements())}"
        )

    def _abandon(self, host: Host, record: Any) -> None:
        host.begin()
        try:
            host.abandon(record)
        except (DataflowsError, Killed):
            return

    def _play(self, process: Any) -> Ended:
        try:
            return play(self.far, process)[0]
        except AssertionError as error:
            raise AssertionError(self._history(str(error))) from error

    def _come_to_rest(self) -> None:
        self._judge("before the last nights")
        for host in self.hosts:
            for _ in range(ENOUGH):
                if not (found := host.resumable()):
                    break
                ended = self._resume(host, found[0], [], None)
                if ended.code not in (ExitCode.OK, ExitCode.SERVICE_DOWN, ExitCode.ALREADY_RUNNING):
                    self._abandon(host, found[0])
        for file in [*self.files.values(), *self.files.values()]:
            self._settled(file)
        self.far.go_on(self.far.now + 10 * SETTLE)
        self._judge("in the end")

    def _settled(self, file: File) -> None:
        for _ in range(ENOUGH):
            ended = self._night(self.hosts[0], file, [], None, replace=True)
            if ended.code is ExitCode.OK:
                return
        raise AssertionError(self._history(f"no end: {ended.error}"))

    def _history(self, what: str) -> str:
        lines = "\n".join(f"{when:9.2f} {who}: {text}" for when, who, text in self.far.history)
        return f"{what}\n{lines}"


QUICK = settings(
    stateful_step_count=10,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def thought(monkeypatch: pytest.MonkeyPatch) -> None:
    rig(monkeypatch)


def test_whatever_people_do_every_row_is_live_as_often_as_the_file_that_holds_it_most() -> None:
    run_state_machine_as_test(People, settings=QUICK)
