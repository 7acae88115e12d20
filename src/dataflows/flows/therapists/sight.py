"""Where and when the entries of a file were seen."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

__all__ = ["Sighting"]


class Sighting(NamedTuple):
    """Where and when entries were seen: the file's scrape date, its name below the import folder, its area."""

    date: datetime
    name: str
    area: str
