"""Lengths of time as operators write them."""

from __future__ import annotations

import re
from datetime import timedelta

from dataflows.errors import WrongUsage

_AGE = re.compile(r"(\d{1,9})(d|h|min|m)", re.ASCII)
_LONGEST = timedelta(days=100 * 365)


def age(text: str, option: str) -> timedelta:
    """Read ``30d``, ``12h`` or ``90min``.

    Raises:
        WrongUsage: it is no such length, over 100 years, or in ``m``, which may mean minutes or months.
    """
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise WrongUsage(
            f"{option} {text!r} is not a valid age", reason="age-invalid", hint="write it as 30d, 12h or 90min"
        )
    number, unit = int(found[1]), found[2]
    if unit == "m":
        raise WrongUsage(
            f"{option} {text!r} may mean months or minutes",
            reason="age-invalid",
            hint=f"write it as {number * 30}d or {number}min",
        )
    length = timedelta(**{{"d": "days", "h": "hours", "min": "minutes"}[unit]: number})
    if length > _LONGEST:
        raise WrongUsage(
            f"{option} {text} is over 100 years", reason="age-invalid", hint="write it as 30d, 12h or 90min"
        )
    return length
