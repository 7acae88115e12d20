"""kill -9, Ctrl-C and second machines at any moment: the Directory ends with every row once, active, and nothing else.

Real processes, a stand-in of its own for each trial, and several trials at a time, since a start takes longer than
anything else here. Every trial draws its moments from a seed.
"""

from __future__ import annotations

import csv
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Exchange, Request
from dataflows.sandbox.synthetic import SyntheticHospital, hospitals
from tests import warm
from tests.flows.hospitals.world import QUICK
from tests.processes import PATIENCE, Ended, Process, Program, until

ROWS = 40
AT_ONCE = 3
START = 0.1 if warm.POSSIBLE else 0.35
"""Seconds that a process takes until it asks the Directory for anything, more or less."""


class Trial:
    """One file after the other on its way into a Directory of its own, by processes that are ended at any moment."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.rng = Random(seed)
        self.seed = seed
        self.folder = folder
        self.file = folder / "hospitals.csv"
        self.box = Sandbox(seed=seed).start()
        self.directory = self.box.directory
        self.directory.faults.set(create_ms=20.0, jitter_ms=30.0, creates_per_minute=0, calls_per_minute=0)
        self.there: Counter[SyntheticHospital] = Counter()
        """The rows of the files that are done."""
        self.files = 0
        self.here = self.host("here")
        self.ended: Counter[int] = Counter()
        self._strike = _Strike(self.directory)

    def host(self, name: str) -> Program:
        """One machine: a data folder of its own."""
        settings = {**self.box.settings(), **QUICK, "DATA_DIR": str(self.folder / name)}
        return Program(self.folder / f"cwd {name}", settings)

    def __enter__(self) -> Trial:
        self.write()
        return self

    def __exit__(self, *_: object) -> None:
        self.box.stop()

    # --- the file ---------------------------------------------------------------------------------------------

    def write(self, count: int = ROWS) -> None:
        """Write a new file of rows that were never seen before, one of them twice."""
        self.files += 1
        rows = list(hospitals(count - 1, seed=self.seed * 1000 + self.files))
        self.save([*rows, rows[0]])

    def save(self, rows: list[SyntheticHospital]) -> None:
        """Write a file."""
        self.rows = rows
        with self.file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("name", "address", "phone"))
            writer.writerows((one.name, one.address, one.phone or "") for one in rows)

    def agrees(self) -> None:
        """Check that the Directory holds this file and those before it, every row once and active."""
        self.there.update(self.rows)
        held = Counter(SyntheticHospital(one["name"], one["address"], one["phone"]) for one in self.directory.records)
        assert held == self.there, f"trial {self.seed}: more {held - self.there}, less {self.there - held}"
        assert all(one["active"] for one in self.directory.records), f"trial {self.seed}"

    # --- processes --------------------------------------------------------------------------------------------

    def trouble(self) -> None:
        """Some answers are lost, some creates land late, some looks and activations fail."""
        self.directory.faults_of("create").set(lost_share=0.05, late_share=0.05, late_ms=150.0, error_share=0.03)
        self.directory.faults_of("look").set(error_share=0.1)
        self.directory.faults_of("activate").set(lost_share=0.3, error_share=0.1)

    def calm(self) -> None:
        """From now on all goes well."""
        for faults in self.directory.all_faults().values():
            faults.set(lost_share=0.0, late_share=0.0, error_share=0.0)

    def upload(self, *arguments: str) -> tuple[str, ...]:
        """The command line of an upload."""
        return ("hospitals-bulk", str(self.file), "--max-rows", "0", *arguments, "--json")

    def resume(self) -> tuple[str, ...]:
        """The command line that goes on with the latest run, or the upload where nothing waits."""
        runs = self.unfinished()
        return ("runs", "resume", runs[-1], "--json") if runs else self.upload()

    def unfinished(self) -> list[str]:
        """The runs that did not come to their end, oldest first, without mending anything there."""
        path = self.folder / "here" / "journal.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            found = db.execute("SELECT run_id FROM runs WHERE state IN ('running', 'resumable') ORDER BY seq")
            return [run_id for (run_id,) in found]

    def struck(self, *arguments: str, how: Callable[[Process], None], most: int = ROWS + 10) -> Ended:
        """Start the program and strike at a moment of chance, within so many requests; returns how it ended."""
        stage = self.rng.choice(["time", "arrives", "arrives", "leaves", "leaves"])
        delay = (
            self.rng.uniform(0.0, 2 * START) if stage == "time" else self.rng.choice([0.0, self.rng.uniform(0, 0.03)])
        )
        with self.here.start(*arguments) as process:
            self._strike.arm(stage, self.rng.randint(1, most), delay, lambda: how(process))
            ended = process.ended()
            self._strike.disarm()
        return ended

    def nothing_is_under_way(self) -> None:
        """Wait until the Directory has done all that those who are gone had asked for."""
        until(lambda: self._strike.under_way == 0, "the end of all that was under way")

    def to_the_end(self, *arguments: str) -> Ended:
        """Let the program run until it is done, three times at most."""
        for _ in range(3):
            ended = self.here.run(*arguments)
            if ended.code == 0:
                break
        assert ended.code == 0, f"trial {self.seed}: {ended.err}"
        return ended


class _Strike:
    """Does something at the n-th request of a Directory as it arrives or as its answer leaves, or after some time."""

    def __init__(self, directory: Any) -> None:
        self._lock = threading.Lock()
        self._stage, self._left, self._delay = "", 0, 0.0
        self._action: Callable[[], None] | None = None
        self._timers: list[threading.Timer] = []
        self.under_way = 0
        """Requests that have arrived and that the Directory still works on, whoever is gone."""
        arrived, leaves = directory.arrived, directory.leaves

        def arriving(request: Request) -> Exchange:
            exchange: Exchange = arrived(request)
            self._count("arrives")
            return exchange

        def leaving(*arguments: Any) -> None:
            leaves(*arguments)
            self._count("leaves")

        directory.arrived, directory.leaves = arriving, leaving

    def arm(self, stage: str, number: int, delay: float, action: Callable[[], None]) -> None:
        with self._lock:
            self._stage, self._left, self._delay, self._action = stage, number, delay, action
        if stage == "time":
            self._later()

    def disarm(self) -> None:
        with self._lock:
            self._action = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _count(self, stage: str) -> None:
        with self._lock:
            self.under_way += 1 if stage == "arrives" else -1
            if stage != self._stage or self._action is None:
                return
            self._left -= 1
            due = self._left == 0
        if due:
            self._later()

    def _later(self) -> None:
        timer = threading.Timer(self._delay, self._act)
        self._timers.append(timer)
        timer.start()

    def _act(self) -> None:
        action = self._action
        if action is not None:
            action()


def kill(victim: Process) -> None:
    """kill -9, from any thread; whoever waits for the process goes on waiting for its end."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(victim.pid).kill()


def side_by_side(folder: Path, trial: Callable[[Trial], Any], seeds: range) -> list[Any]:
    """Make several trials at a time; returns what each of them says."""

    def one(seed: int) -> Any:
        with Trial(folder / f"trial {seed}", seed) as here:
            return trial(here)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, seeds))


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def killed(trial: Trial, kills: int, going_on: Callable[[Trial], tuple[str, ...]]) -> int:
    """Kill the program so many times; whenever a file is done it must be right, and another begins."""
    trial.trouble()
    arguments, count = trial.upload(), 0
    while count < kills:
        ended = trial.struck(*arguments, how=kill)
        if ended.code == 0:
            trial.agrees()
            trial.write()
            arguments = trial.upload()
            continue
        count += ended.code not in (11, 13)
        arguments = going_on(trial)
    trial.calm()
    trial.to_the_end(*arguments)
    trial.agrees()
    assert not trial.unfinished()
    return count


def the_same_command(trial: Trial) -> tuple[str, ...]:
    return trial.upload()


def resuming(trial: Trial) -> tuple[str, ...]:
    return trial.resume()


def without_its_journal(trial: Trial) -> tuple[str, ...]:
    """The journal is lost, and all that belongs to it."""
    for path in (trial.folder / "here").glob("journal.db*"):
        path.unlink()
    return trial.upload()


def with_anything(trial: Trial) -> tuple[str, ...]:
    return trial.rng.choice([the_same_command, resuming, without_its_journal])(trial)


@pytest.mark.parametrize("going_on", [the_same_command, resuming, without_its_journal])
def test_after_kills_at_any_moment_every_row_is_there_once(
    tmp_path: Path, going_on: Callable[[Trial], tuple[str, ...]]
) -> None:
    counts = side_by_side(tmp_path, lambda trial: killed(trial, 9, going_on), range(2))
    assert sum(counts) >= 18


# --- taking back ------------------------------------------------------------------------------------------------------


def begun(trial: Trial) -> None:
    """A run of this file that was killed with some rows on their way; and then nothing is done about it."""
    for _ in range(20):
        trial.struck(*trial.upload(), how=kill, most=len(trial.rows))
        if any(not one["active"] for one in trial.directory.records):
            return
        trial.directory.restart()  # it had come to its end, or not begun
    raise AssertionError(f"trial {trial.seed}: never killed in time")


def abandoned(trial: Trial) -> None:
    trial.trouble()
    begun(trial)
    trial.nothing_is_under_way()  # an activation, perhaps
    live = [one for one in trial.directory.records if one["active"]]
    command = ("runs", "abandon", trial.unfinished()[0], "--json")
    trial.struck(*command, how=kill, most=4)
    trial.calm()
    for run_id in trial.unfinished():
        assert trial.here.run("runs", "abandon", run_id, "--json").code == 0
    assert [one for one in trial.directory.records if one not in live] == []
    assert not trial.unfinished()


def test_abandon_that_is_killed_leaves_nothing_when_it_is_repeated(tmp_path: Path) -> None:
    side_by_side(tmp_path, abandoned, range(10, 15))


def replaced(trial: Trial) -> None:
    trial.write(20)
    trial.trouble()
    begun(trial)
    trial.save([*trial.rows[:-1], *hospitals(1, seed=trial.seed + 77)])
    before = trial.unfinished()
    trial.struck(*trial.upload("--replace"), how=kill, most=45)
    trial.calm()
    began = set(trial.unfinished()) - set(before)
    trial.to_the_end(*(trial.resume() if began and trial.rng.random() < 0.7 else trial.upload("--replace")))
    trial.agrees()
    assert not trial.unfinished()


def test_a_replacement_that_is_killed_leaves_no_orphans(tmp_path: Path) -> None:
    side_by_side(tmp_path, replaced, range(20, 26))


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def stopped(trial: Trial) -> int:
    trial.trouble()
    how = trial.rng.choice([Process.interrupt, Process.terminate])
    ended = trial.struck(*trial.upload(), how=how)
    if ended.out:
        ended.keeps_the_contract()
    trial.calm()
    again = trial.resume() if ended.code != 0 else trial.upload()
    trial.to_the_end(*again)
    trial.agrees()
    return ended.code


def test_a_run_that_is_stopped_at_any_moment_can_be_resumed(tmp_path: Path) -> None:
    codes = side_by_side(tmp_path, stopped, range(30, 38))
    assert 130 in codes


# --- two machines -----------------------------------------------------------------------------------------------------


def met(trial: Trial) -> list[int]:
    """The same file on two machines at once; whoever gave way goes on afterwards."""
    there = trial.host("there")
    if trial.seed % 2:
        _together(trial.directory)
    with trial.here.start(*trial.upload()) as one:
        threading.Event().wait(trial.rng.choice([0.0, 0.05, 0.1, 0.3]))
        with there.start(*trial.upload()) as other:
            codes = [other.ended().keeps_the_contract().code, one.ended().keeps_the_contract().code]
    for code, program in zip(codes, (there, trial.here), strict=True):
        if code != 0:
            assert program.run(*trial.upload()).code == 0
    trial.agrees()
    return codes


def _together(directory: Any) -> None:
    """Hold the first two requests until both are there, so that both machines find nothing and begin."""
    arrived, meeting = directory.arrived, threading.Barrier(2)

    def arriving(request: Request) -> Exchange:
        exchange: Exchange = arrived(request)
        if exchange.number <= 2:
            meeting.wait(PATIENCE)
        return exchange

    directory.arrived = arriving


def test_two_machines_with_one_file_end_with_every_row_once(tmp_path: Path) -> None:
    codes = Counter(code for two in side_by_side(tmp_path, met, range(40, 48)) for code in two)
    assert set(codes) <= {0, 11}
    assert codes[11] > 0
