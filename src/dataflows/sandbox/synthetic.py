"""Synthetic children and hospitals, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, NamedTuple

_KINDS = ("General Hospital", "Children's Hospital", "Eye Clinic", "Community Hospital", "Rehabilitation Centre")
_STREETS = ("Example Street", "Sample Road", "Specimen Lane", "Beispielstraße", "Placeholder Avenue")
_TOWNS = ("Exampleton", "Sampleford", "Musterhofen über Beispiel", "Little Specimen")


class SyntheticHospital(NamedTuple):
    """One row of a CSV: a third have no phone."""

    name: str
    address: str
    phone: str | None


def hospitals(count: int, seed: int = 0) -> Iterator[SyntheticHospital]:
    """So many hospitals, all different; the same seed gives the same ones, a longer list begins like a shorter one."""
    rng = Random(f"hospitals/{seed}")  # noqa: S311 - chance that repeats
    for number in range(1, count + 1):
        name = f"Synthetic {rng.choice(_KINDS)} {number}"
        address = f"{number} {rng.choice(_STREETS)}, {rng.choice(_TOWNS)}, ZZ99 {rng.randint(1, 9)}CZ"
        phones = (f"01632 960{rng.randrange(1000):03d}", f"(020) 7946 0{rng.randrange(1000):03d}", None)
        yield SyntheticHospital(name, address, rng.choice(phones))


Object = dict[str, Any]

_TODAY = date(2026, 3, 1)
_DISABILITIES = ["MOB", "HAND", "PC", "INC", "COMM", "LD", "HEAR", "VIS", "BEH", "CON", "AUT", "DDA"]
_FACTORS = ["1A", "1B", "2A", "2B", "3A", "3B", "4A", "5A", "6A", "8B", "11A", "13A", "16A", "18B", "21"]


def synthetic_child(rng: Random, n: int) -> Object:
    """One valid child, about 3 KB as JSON; ``n`` makes its ids (unique per ``n``, the same in every run)."""
    born = _day(rng, 16 * 365, 300)
    child: Object = {
        "la_child_id": f"SYN{n:07d}",
        "mis_child_id": f"SYN-MIS-{n:07d}",
        "child_details": _details(rng, n, born),
        "health_and_wellbeing": {
            "sdq_assessments": [{"date": _text(_day(rng, 700)), "score": rng.randint(0, 40)} for _ in range(2)],
            "purge": False,
        },
        "social_care_episodes": [_episode(rng, f"{n:07d}-{k}", 900 - 700 * k) for k in range(rng.choice([1, 2, 2]))],
        "purge": False,
    }
    return child


def _day(rng: Random, most: int, least: int = 0) -> date:
    """A day between ``most`` and ``least`` days ago."""
    return _TODAY - timedelta(days=rng.randint(least, most))


def _text(day: date) -> str:
    return day.isoformat()


def _span(rng: Random, ago: int, open_share: float = 0.3) -> Object:
    start = _day(rng, ago, ago // 2)
    span = {"start_date": _text(start)}
    if rng.random() >= open_share:
        span["end_date"] = _text(start + timedelta(days=rng.randint(14, 120)))
    return span


def _details(rng: Random, n: int, born: date) -> Object:
    return {
        "unique_pupil_number": f"Z{n:012d}",
        "first_name": f"Synthetic-A{n}",
        "surname": f"Synthetic-B{n}",
        "date_of_birth": _text(born),
        "sex": rng.choice("MFU"),
        "ethnicity": rng.choice(["WBRI", "WOTH", "MWBC", "AIND", "BCRB", "REFU", "NOBT"]),
        "disabilities": rng.sample(_DISABILITIES, rng.choice([0, 1, 2])),
        "postcode": f"ZZ99 {rng.randint(1, 9)}{rng.choice('ABCZ')}Z",
        "uasc_flag": False,
        "purge": False,
    }


def _episode(rng: Random, key: str, ago: int) -> Object:
    opened = _day(rng, ago, ago // 2)
    episode: Object = {
        "social_care_episode_id": _id("EP", key, 0),
        "referral_date": _text(opened),
        "referral_source": rng.choice(["1A", "1C", "2A", "3A", "5B", "6", "8"]),
        "referral_no_further_action_flag": False,
        "care_worker_details": [{"worker_id": f"SYN-W{rng.randint(1, 80):04d}", **_span(rng, ago)} for _ in range(2)],
        "child_and_family_assessments": [_assessment(rng, key, k, ago) for k in range(2)],
        "child_in_need_plans": [_plan(rng, "child_in_need_plan_id", "CIN", key, ago)],
        "section_47_assessments": [_enquiry(rng, key, ago)],
        "child_protection_plans": [_plan(rng, "child_protection_plan_id", "CP", key, ago)],
        "child_looked_after_placements": [_placement(rng, key, k, ago) for k in range(2)],
        "purge": False,
    }
    if rng.random() < 0.2:
        episode["adoption"] = {"initial_decision_date": _text(_day(rng, ago)), "purge": False}
    if rng.random() < 0.3:
        episode["care_leavers"] = {"contact_date": _text(_day(rng, 90)), **_leaving(rng), "purge": False}
    return episode


def _id(what: str, key: str, number: int) -> str:
    return f"SYN-{what}-{key}-{number:02d}"


def _assessment(rng: Random, key: str, number: int, ago: int) -> Object:
    started = _day(rng, ago, ago // 2)
    return {
        "child_and_family_assessment_id": _id("CFA", key, number),
        "start_date": _text(started),
        "authorisation_date": _text(started + timedelta(days=rng.randint(10, 45))),
        "factors": rng.sample(_FACTORS, rng.randint(1, 4)),
        "purge": False,
    }


def _plan(rng: Random, id_field: str, what: str, key: str, ago: int) -> Object:
    return {id_field: _id(what, key, 0), **_span(rng, ago), "purge": False}


def _enquiry(rng: Random, key: str, ago: int) -> Object:
    enquiry = {"section_47_assessment_id": _id("S47", key, 0), **_span(rng, ago), "icpc_required_flag": True}
    return {**enquiry, "icpc_date": _text(_day(rng, ago)), "purge": False}


def _placement(rng: Random, key: str, number: int, ago: int) -> Object:
    return {
        "child_looked_after_placement_id": _id("CLA", key, number),
        **_span(rng, ago),
        "start_reason": rng.choice("SPLTU"),
        "placement_type": rng.choice(["U1", "U2", "U4", "K2", "P1", "R1"]),
        "postcode": f"ZZ99 {rng.randint(1, 9)}CZ",
        "end_reason": rng.choice(["X1", "E4A", "E11"]),
        "change_reason": rng.choice(["CARPL", "CHILD", "ENDRP"]),
        "purge": False,
    }


def _leaving(rng: Random) -> Object:
    return {"activity": rng.choice(["F1", "F2", "P1", "G4"]), "accommodation": rng.choice("BCDKU")}
