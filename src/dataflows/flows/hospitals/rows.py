"""The values of this flow: a hospital as it is sent, and the row of the file that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Hospital(NamedTuple):
    """The exact text that is sent: trimmed, never empty; ``phone`` is None where the file has none."""

    name: str
    address: str
    phone: str | None


class HospitalRow(NamedTuple):
    """One hospital of a file; ``number`` is 1 for the first record below the header (as in seed 003)."""

    number: int
    hospital: Hospital


def batches(rows: Sequence[HospitalRow], size: int) -> list[Sequence[HospitalRow]]:
    """The rows in their order, ``size`` (1 or more) at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
