"""How far a run has come: the figures, and the lines for pipes and schedulers."""

from __future__ import annotations

import pytest

from dataflows.cli.progress import LineProgress, ProgressState
from dataflows.events import Done, Event, Failed, Planned, Reached, Retrying, Skipped, Step, Tally, Waiting
from dataflows.runs.wording import span, took


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Feed:
    """Shows events as a run would."""

    def __init__(self, face: LineProgress | ProgressState) -> None:
        self._face = face
        self._tally = Tally()

    def __call__(self, event: Event) -> None:
        self._tally.add(event)
        if isinstance(self._face, ProgressState):
            self._face.take(event, self._tally)
        else:
            self._face.show(event, self._tally)


def test_figures_of_a_run() -> None:
    clock = Clock()
    standing = ProgressState(clock)
    feed = Feed(standing)
    for event in (Planned(8, "rows"), Done("1"), Failed("2", "x", "y"), Skipped("3"), Done("4")):
        feed(event)
    clock.now += 2
    assert (standing.ended, standing.rate, standing.left) == (4, 2.0, 2.0)
    assert standing.counts() == "2 done, 1 failed, 1 unchanged, 4 pending"


def test_items_before_a_last_step_move_the_bar_and_are_no_success_yet() -> None:
    clock = Clock()
    standing = ProgressState(clock)
    feed = Feed(standing)
    feed(Planned(8, "rows"))
    feed(Failed("2", "x", "y"))
    feed(Reached(1, "created"))
    feed(Reached(5, "created"))
    clock.now += 2
    assert (standing.ended, standing.advanced, standing.rate) == (1, 6, 3.0)
    assert standing.counts() == "0 done, 1 failed, 5 created, 2 pending"
    for key in "13456":
        feed(Done(key))
    feed(Reached(0, "created"))
    assert standing.counts() == "5 done, 1 failed, 2 pending"


def test_nobody_knows_the_end_before_the_total() -> None:
    standing = ProgressState(Clock())
    Feed(standing)(Done("1"))
    assert standing.left is None


def test_a_wait_is_shown_until_it_is_over() -> None:
    clock = Clock()
    standing = ProgressState(clock)
    feed = Feed(standing)
    feed(Step("sending"))
    feed(Retrying("receiver", 3, 12.0, "answered 503"))
    assert standing.doing() == "waiting 12 s for receiver (attempt 3: answered 503)"
    clock.now += 12
    assert standing.doing() == "sending"


def test_a_wait_that_is_no_retry_says_why() -> None:
    standing = ProgressState(Clock())
    Feed(standing)(Waiting(28.0, "creates without an answer may still land"))
    assert standing.doing() == "waiting 28 s (creates without an answer may still land)"


def test_a_short_run_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    feed = Feed(LineProgress("csc-submit", Clock()))
    for number in range(100):
        feed(Done(str(number)))
    assert capsys.readouterr().err == ""


def test_a_line_every_five_seconds_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    feed = Feed(LineProgress("csc-submit", clock))
    feed(Planned(100, "rows"))
    feed(Step("sending"))
    for number in range(20):
        clock.now += 1
        feed(Done(str(number)))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "csc-submit: 5 of 100 rows, 5 done, 0 failed, 95 pending, 1.0/s, 1 min 35 s left; sending"


def test_a_long_wait_is_said_at_once_and_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    feed = Feed(LineProgress("csc-submit", Clock()))
    for _worker in range(4):
        feed(Retrying("the receiver", 2, 60.0, "answered 429"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; waiting 60 s for the receiver (attempt 2: answered 429)")


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_lengths_of_time(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_short_times_have_a_decimal() -> None:
    assert (took(0.04), took(9.96), took(48.2)) == ("0.0 s", "10.0 s", "48 s")
