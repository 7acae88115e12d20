"""Files that arrive in any order come to the same, but for the cases that docs/therapist-import.md names."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.flows.therapists.test_properties import File, Practice, engine, practice
from tests.flows.therapists.world import therapist

__all__ = ["engine", "practice"]

FIRST, MIDDLE, LAST = "2025-07-01T03:00", "2025-07-08T03:00", "2025-07-15T03:00"
OLD = therapist("Anna", "Alt", street="Altweg", email=None)
RENAMED = therapist("Anna", "Neu", street="Altweg", email=None)
MOVED = therapist("Anna", "Neu", street="Neuweg", postal_code="52001", email=None)


def files(*entries: Any, one_zip: bool = False) -> list[File]:
    """A file of its own for each entry, a week apart, of ZIP codes of their own or of one that is scraped anew."""
    dates = (FIRST, MIDDLE, LAST)
    return [File(f"5200{0 if one_zip else n}.json", dates[n], (entry,)) for n, entry in enumerate(entries)]


def after(practice: Practice, *given: File) -> list[tuple[str, str | None, str | None, bool]]:
    """Who is there after these files: last name, street, phone, and whether they are active."""
    practice.forget()
    practice.apply(given)
    return sorted((one["last_name"], one["street"], one["phone"], one["active"]) for one in practice.therapists())


ONE_CHANGE = {
    "renamed": (OLD, RENAMED),
    "moved": (RENAMED, MOVED),
    "another id": (OLD, {**OLD, "id": "praxis8"}),
    "another person's id": (OLD, therapist("Berta", street="Altweg")),
    "deleted": (OLD, {**OLD, "status": "deleted"}),
    "back again": ({**OLD, "status": "deleted"}, OLD),
    "a second layout": ({name: value for name, value in OLD.items() if name not in ("id", "status")}, OLD),
}


@pytest.mark.parametrize("change", ONE_CHANGE)
def test_one_change_between_two_files_comes_out_the_same_in_both_orders(practice: Practice, change: str) -> None:
    # an address that differs between two ZIP codes is a further listing, and which one is first depends on arrival
    first, second = files(*ONE_CHANGE[change], one_zip=change == "moved")
    assert after(practice, second, first) == after(practice, first, second)


def test_a_rename_and_a_move_are_one_person_in_the_order_of_their_dates_only(practice: Practice) -> None:
    """The file in between is the only one that says that both are the same; nobody is merged who is there already."""
    in_order = files(OLD, RENAMED, MOVED, one_zip=True)
    for order in permutations(in_order):
        names = [name for name, *_ in after(practice, *order)]
        assert names == (
            ["Neu"] if list(order) == in_order or order[:2] == (in_order[1], in_order[0]) else ["Alt", "Neu"]
        )


def test_what_newer_data_left_empty_older_data_does_not_fill(practice: Practice) -> None:
    first, second = files(therapist(phone="030 23125 101"), therapist(phone=None))
    [(_, _, kept, _)] = after(practice, first, second)
    [(_, _, never, _)] = after(practice, second, first)
    assert (kept, never) == ("030 23125 101", None)


def test_of_two_versions_of_a_path_in_one_day_the_one_imported_last_counts(practice: Practice) -> None:
    shown = File("52074.json", "2025-07-08T03:00", (OLD,))
    gone = File("52074.json", "2025-07-08T09:00", ({**OLD, "status": "deleted"},))
    assert [active for *_, active in after(practice, shown, gone)] == [False]
    assert [active for *_, active in after(practice, gone, shown)] == [True]
