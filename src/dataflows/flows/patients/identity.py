"""Who is who: a registration belongs to a patient of the same e-mail and name (patients.md, decisions)."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """What tells people apart. The keys are SHA-256 of what was normalised; None without an e-mail."""

    email_key: str | None
    name_key: str
    born: date | None

    @property
    def identity_key(self) -> str | None:
        """Unique among patients; None without an e-mail, where nobody is ever matched."""
        if self.email_key is None:
            return None
        return _digest(self.email_key, self.name_key, self.born.isoformat() if self.born else "")

    def met(self, born: date | None) -> PatientIdentity:
        """The same person, once a date of birth is known."""
        return PatientIdentity(self.email_key, self.name_key, self.born or born)


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient who shares the e-mail."""

    id: int
    name_key: str
    born: date | None


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """The patient that a registration belongs to (None: a new one), and why a new one may be a duplicate.

    ``flag``: ``no_email``; ``birth_date`` (same e-mail and name, another date of birth); ``shared_email`` (another
    name); ``unclear`` (several patients would fit).
    """

    patient_id: int | None
    flag: str | None = None


def person(fields: Mapping[str, Any]) -> PatientIdentity:
    """The person behind a patient's fields (``vorname``, ``nachname``, ``email``, ``geburtsdatum``)."""
    email = fields.get("email")
    return PatientIdentity(
        _digest(normal(email)) if email else None,
        _digest(normal(fields["vorname"]), normal(fields["nachname"])),
        fields.get("geburtsdatum"),
    )


def normal(text: str) -> str:
    """Trimmed, NFC, case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).strip().casefold())


def match(who: PatientIdentity, sharing: Sequence[KnownPatient]) -> PatientMatch:
    """Find the patient among those who share the e-mail.

    The same date of birth (or none on both sides) counts most; one that is known on one side only fits when there is
    no choice. A known and different one makes a new patient.
    """
    if who.email_key is None:
        return PatientMatch(None, "no_email")
    same_name = [one for one in sharing if one.name_key == who.name_key]
    exact = [one for one in same_name if one.born == who.born]
    if exact:
        return PatientMatch(exact[0].id)
    open_ones = [one for one in same_name if one.born is None or who.born is None]
    if len(same_name) == 1 and open_ones:
        return PatientMatch(open_ones[0].id)
    if same_name:
        return PatientMatch(None, "unclear" if open_ones else "birth_date")
    return PatientMatch(None, "shared_email" if sharing else None)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
