"""Who asks what is held of them, or to be forgotten: as they gave their names, and what tells them from others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from dataflows.errors import BadInput, DataflowsError
from dataflows.flows.practice.values import folded

__all__ = ["FIELDS", "PersonAsked", "Seen", "SeveralPeople"]

FIELDS: Mapping[str, str] = {
    "first_name": "First name",
    "last_name": "Last name",
    "email": "E-mail (leave empty if it is not known)",
    "date_of_birth": "Date of birth, YYYY-MM-DD (likewise)",
    "postcode": "Postcode of a therapist's practice (likewise)",
}
"""What is asked for, in this order; the names are those of the JSON on stdin."""


class SeveralPeople(BadInput):
    """More than one person fits what was given."""

    code = "several_people"


@dataclass(frozen=True)
class Seen:
    """A person as a row or a file has them, every text folded; what is not said is empty."""

    first_name: str = field(repr=False)
    last_name: str = field(repr=False)
    email: str = field(default="", repr=False)
    born: date | None = field(default=None, repr=False)
    postcode: str = field(default="", repr=False)

    @classmethod
    def of(
        cls, first_name: object, last_name: object, email: object = None, born: object = None, postcode: object = None
    ) -> Seen:
        """Take what may be anything; what is of another type is not said."""
        texts = [folded(one) if isinstance(one, str) else "" for one in (first_name, last_name, email, postcode)]
        return cls(texts[0], texts[1], texts[2], born if isinstance(born, date) else _day(born), texts[3])


@dataclass(frozen=True)
class PersonAsked:
    """Who is meant. ``patients`` and ``therapists`` choose among several who fit, by the ids of their rows."""

    who: Seen
    patients: tuple[int, ...] = ()
    therapists: tuple[int, ...] = ()

    @classmethod
    def read(
        cls, given: Mapping[str, Any], patients: tuple[int, ...] = (), therapists: tuple[int, ...] = ()
    ) -> PersonAsked:
        """Read the fields of ``FIELDS``.

        Raises:
            BadInput: names are missing, a date is none, or a field is not known; no value is repeated.
        """
        texts = {name: str(given.get(name) or "").strip() for name in FIELDS}
        wrong = [name for name in given if name not in FIELDS] and "a field has another name than these"
        if not wrong and not (folded(texts["first_name"]) and folded(texts["last_name"])):
            wrong = "first_name and last_name are needed"
        if not wrong and texts["date_of_birth"] and _day(texts["date_of_birth"]) is None:
            wrong = "date_of_birth is not of the form YYYY-MM-DD"
        if wrong:
            raise BadInput(
                f"who is meant cannot be read: {wrong}",
                reason="person-not-named",
                hint=f"the fields are {', '.join(FIELDS)}",
            )
        return cls(Seen.of(*texts.values()), patients, therapists)

    def is_named(self, other: Seen) -> bool:
        """Whether both names are the same."""
        return (self.who.first_name, self.who.last_name) == (other.first_name, other.last_name)

    def fits(self, other: Seen) -> bool:
        """Whether nothing that was given speaks against it: what one side does not say is no difference."""
        mine = self.who
        pairs = ((mine.email, other.email), (mine.born, other.born), (mine.postcode, other.postcode))
        return self.is_named(other) and not any(one and two and one != two for one, two in pairs)

    def is_named_by(self, name: str) -> bool:
        """Whether the name of an object or file holds both names, each as a whole."""
        words = f" {_words(folded(name))} "
        return all(f" {_words(one)} " in words for one in (self.who.first_name, self.who.last_name))

    def chosen(self, patients: Mapping[int, Seen], therapists: Mapping[int, Seen]) -> tuple[list[int], list[int]]:
        """The patients and therapists who are meant, of those who fit.

        Raises:
            SeveralPeople: more than one fits and none was chosen; the message names ids only.
            BadInput: one was chosen who does not fit.
        """
        if self.patients or self.therapists:
            if set(self.patients) - patients.keys() or set(self.therapists) - therapists.keys():
                raise BadInput(
                    "a row that was chosen is not of this person",
                    reason="person-several",
                    hint="see: dataflows person find",
                )
            return list(self.patients), list(self.therapists)
        if len(patients) + len(therapists) > 1:
            raise several(patients, therapists)
        return list(patients), list(therapists)


def several(patients: Mapping[int, Seen], therapists: Mapping[int, Seen]) -> DataflowsError:
    """The error for more than one who fit; rows that are one person's are chosen together."""
    rows = [
        *(f"patient {one}" for one in sorted(patients)),
        *(f"therapist {one}" for one in sorted(therapists)),
    ]
    return SeveralPeople(
        f"{len(rows)} people fit: {', '.join(rows[:20])}",
        reason="person-several",
        hint="give the e-mail or the date of birth as well, or choose rows: --patient ID, --therapist ID (repeatable)",
    )


def _words(text: str) -> str:
    return " ".join(re.split(r"[\W_]+", text)).strip()


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value.strip()) if isinstance(value, str) and value.strip() else None
    except ValueError:
        return None
