"""Made-up hospitals, marked as synthetic: no such place, and phone numbers that are reserved for examples."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

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
