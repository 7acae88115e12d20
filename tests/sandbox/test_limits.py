"""Fixed windows, with a clock that the test turns."""

from __future__ import annotations

from dataflows.sandbox import directory_memory
from dataflows.sandbox.directory_memory import FixedWindows


def test_a_window_begins_with_its_first_request_and_does_not_slide() -> None:
    now = [7.0]
    windows = FixedWindows(lambda: now[0])
    assert [windows.admits("a", 2, 60) for _ in range(2)] == [True, True]

    now[0] = 66.9
    assert not windows.admits("a", 2, 60)
    now[0] = 67.0
    assert [windows.admits("a", 2, 60) for _ in range(3)] == [True, True, False]


def test_each_key_has_its_own() -> None:
    windows = FixedWindows(lambda: 0.0)

    assert [windows.admits(key, 1, 60) for key in "aba"] == [True, True, False]


def test_no_limit_counts_nothing() -> None:
    windows = FixedWindows(lambda: 0.0)

    assert all(windows.admits("a", 0, 60) for _ in range(100))
    assert windows.admits("a", 1, 60)


def test_windows_that_are_over_are_forgotten() -> None:
    now = [0.0]
    windows = FixedWindows(lambda: now[0])
    for n in range(directory_memory._MANY):
        windows.admits(str(n), 1, 60)
    now[0] = 60.0
    windows.admits("a", 1, 60)

    assert list(windows._open) == ["a"]
