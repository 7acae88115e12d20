"""Made-up patients and therapists: of real shape, and marked as synthetic wherever a reader would look.

Postcodes begin with 00, which no German one does; telephone numbers are of the range 030 23125 that is kept free for
films; addresses end in example.org, and the IP address is one for documentation. The same seed gives the same people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final

import orjson

Object = dict[str, Any]

_FIRST_DAY: Final = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
_FIRST_NAMES: Final = ("Anna", "Björn", "Çağla", "Jürgen", "Zoë Marie", "Hans-Jörg", "Łucja", "Renée", "Søren", "Maria")
_LAST_NAMES: Final = ("Müller", "Weiß", "von der Größe", "Öztürk", "Müller Lüdenscheidt", "O'Brien", "Null", "Jäger")
_CONSONANTS, _VOWELS = "bdfgklmnrstw", "aeiou"


# --- patients -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SyntheticRegistration:
    """One registration: the name of its object and its bytes."""

    name: str
    data: bytes

    @property
    def document(self) -> Any:
        """The bytes, read as JSON."""
        return orjson.loads(self.data)


def registration(rng: Random, n: int, **changes: object) -> SyntheticRegistration:
    """One registration with every field; ``n`` makes the person (unique per ``n``), ``rng`` what they say.

    ``changes`` replace fields of ``patient_data``; None leaves a field out. Names of objects come in all the forms that
    were seen: lower, upper and mixed case, blanks and ``_`` in double names, dates with and without dashes.
    """
    patient = {**_patient(rng, n), **changes}
    return _filed(n, {key: value for key, value in patient.items() if value is not None}, n)


def again(earlier: SyntheticRegistration, n: int, **changes: object) -> SyntheticRegistration:
    """A later registration of the same person, under a token and a time of its own (later for a larger ``n``)."""
    patient = {**earlier.document["patient_data"], **changes}
    return _filed(n, {key: value for key, value in patient.items() if value is not None}, n + 1_000_000)


def _filed(n: int, patient: Object, seconds: int) -> SyntheticRegistration:
    moment = _FIRST_DAY + timedelta(seconds=seconds)
    token = f"{n * 2_654_435_761 % 2**32:08x}" * (1 + n % 8)  # 8 to 64 digits
    document = {
        "patient_data": patient,
        "consent_metadata": {
            "ip_address": "192.0.2.1",
            "user_agent": "Mozilla/5.0 (synthetic)",
            "timestamp_utc": moment.isoformat().replace("+00:00", "Z"),
            "consent_version": "synthetic-1",
            "consent_given": True,
        },
        "registration_timestamp": f"{moment:%Y-%m-%d %H:%M:%S}",
        "registration_token": token,
    }
    return SyntheticRegistration(
        _object_name(n, patient, moment, token), orjson.dumps(document, option=orjson.OPT_INDENT_2)
    )


def _object_name(n: int, patient: Object, moment: datetime, token: str) -> str:
    names = f"{patient['nachname']}_{patient['vorname']}"
    names = (names.lower(), names.upper(), names, names.replace(" ", "_"))[n % 4].replace("/", "-")
    day = f"{moment:%Y-%m-%d}" if n % 3 else f"{moment:%Y%m%d}"
    return f"{names}_{day}_{token.upper() if n % 5 == 0 else token}.json"


def _patient(rng: Random, n: int) -> Object:
    """Every field that patients.md lists."""
    sex = rng.choice(["männlich", "weiblich", "divers", "keine_Angabe"])
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(20_000))
    return {
        "anrede": "Herr" if sex == "männlich" else "Frau",
        "geschlecht": sex,
        "vorname": _FIRST_NAMES[n % len(_FIRST_NAMES)],
        "nachname": f"{_LAST_NAMES[n % len(_LAST_NAMES)]}-Synthetisch {_word(n)}",
        "strasse": f"Synthetische Straße {rng.randint(1, 200)}",
        "plz": f"00{n % 1000:03d}",
        "ort": "Musterstadt",
        "email": f"synthetic.{n}@example.org",
        "telefon": _telephone(n),
        "geburtsdatum": born.isoformat(),
        "hausarzt": "Dr. Synthetisch",
        "krankenkasse": "Synthetische Kasse",
        "krankenversicherungsnummer": f"X{n:09d}",
        "diagnose": rng.choice(["F32.1", "F41.0", "F43.2"]),
        "symptome": rng.choice(["Schlafstörungen", ["Ängste", "Erschöpfung"]]),
        "erfahrung_mit_psychotherapie": rng.random() < 0.5,
        "letzte_sitzung_vorherige_psychotherapie": "2024-05-17",
        "vertraege_unterschrieben": True,
        "hat_ptv11" if n % 2 else "psychotherapeutische_sprechstunde": rng.random() < 0.5,
        "offen_fuer_gruppentherapie": rng.random() < 0.5,
        "offen_fuer_diga": rng.random() < 0.5,
        "empfehler_der_unterstuetzung": "synthetisch, für Proben",
        "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"], "freitag": ["14:00-16:00", "17:00-18:00"]},
        "raeumliche_verfuegbarkeit": {"max_km": rng.choice([5, 15, 30])},
        "verkehrsmittel": rng.choice(["Auto", "ÖPNV"]),
        "bevorzugtes_therapeutengeschlecht": rng.choice(["Männlich", "Weiblich", "Egal"]),
        "bevorzugtes_therapieverfahren": rng.choice(
            ["egal", "Verhaltenstherapie", "tiefenpsychologisch_fundierte_Psychotherapie"]
        ),
        "ausgeschlossene_therapeuten": [],
    }


# --- therapists -----------------------------------------------------------------------------------------------------


def therapist(n: int, zip_code: str = "00074", edition: int = 1) -> Object:
    """One entry of a scraper's file; ``n`` makes the person (unique per ``n`` and ZIP code).

    Edition 1 has everybody as new. In each later one, every 20th person has another telephone number and address than
    in the edition before (``modified``), and every 50th is gone (``deleted``). The old layout has no id and no status.
    """
    entry = _entry(n, zip_code, _moved(n, edition))
    stamp = _without_zone(_FIRST_DAY + timedelta(weeks=edition))
    return {"id": f"praxis{n}", "status": _status(n, edition), "last_modified": stamp, **entry}


def _without_zone(moment: datetime) -> str:
    """As the scraper writes it (seed 002)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"


def _status(n: int, edition: int) -> str:
    if edition == 1:
        return "new"
    if _gone(n, edition):
        return "deleted"
    if _gone(n, edition - 1) and edition > 2:
        return "new"  # seen again
    return "modified" if _moved(n, edition) != _moved(n, edition - 1) else "unchanged"


def _gone(n: int, edition: int) -> bool:
    return n % 50 == 49 - edition % 50


def _moved(n: int, edition: int) -> int:
    """How often somebody has moved up to this edition: every 20th person in each, in turn."""
    return sum((n + one) % 20 == 0 for one in range(2, edition + 1))


def _entry(n: int, zip_code: str, moved: int) -> Object:
    first, base = _FIRST_NAMES[n % len(_FIRST_NAMES)], _LAST_NAMES[n // 3 % len(_LAST_NAMES)]
    last, title = f"{base}-Synthetisch {_word(n)}", ("", "Dr.", "Dipl.-Psych.")[n % 3]
    return {
        "basic_info": {
            "salutation": ("Frau", "Herr")[n % 2],
            "title": title,
            "first_name": first,
            "last_name": last,
            "full_name": " ".join(part for part in (title, first, last) if part),
            "classification": "Psychologische Psychotherapeutin (synthetisch)",
        },
        "location": {
            "street": ("Synthetische Straße", "Beispielallee")[moved % 2],
            "house_number": str(1 + (n + moved) % 150),
            "postal_code": zip_code,
            "city": "Musterstadt",
        },
        "contact": {
            "phone": _telephone(n + 7 * moved),
            "email": f"praxis{n}.{zip_code}@example.org",
            "fax": _telephone(n + 500),
        },
        "languages": ["Deutsch", *_LANGUAGES[n % 4 :][:2]],
        "therapy_methods": list(_METHODS[n % 3 : n % 3 + 5]),
        "telephone_hours": {
            day: [f"{8 + n % 4:02d}:00-{9 + n % 4:02d}:30", "13:10-13:40", "16:00-16:50"] for day in _DAYS
        },
    }


_DAYS: Final = ("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag")
_LANGUAGES: Final = ("Englisch", "Türkisch", "Französisch", "Polnisch", "Ukrainisch")
_METHODS: Final[Sequence[str]] = (
    "Verhaltenstherapie (Einzeltherapie, Erwachsene, gesetzlich Versicherte)",
    "Verhaltenstherapie (Gruppentherapie, Erwachsene, gesetzlich Versicherte)",
    "Tiefenpsychologisch fundierte Psychotherapie (Einzeltherapie, Erwachsene)",
    "Analytische Psychotherapie (Einzeltherapie, Erwachsene, gesetzlich Versicherte)",
    "Systemische Therapie (Einzel- und Gruppentherapie, Erwachsene)",
    "Kinder- und Jugendlichenpsychotherapie (bis zum 21. Lebensjahr)",
)


def _telephone(n: int) -> str:
    return f"030 23125 {n % 1000:03d}"


def _word(n: int) -> str:
    """A number as a word that can be spoken, another one for each number."""
    word = ""
    while True:
        n, syllable = divmod(n, len(_CONSONANTS) * len(_VOWELS))
        word += _CONSONANTS[syllable // len(_VOWELS)] + _VOWELS[syllable % len(_VOWELS)]
        if not n:
            return word.capitalize()
