"""The fields of a patient as a registration sends them, checked with pydantic. No message ever repeats a value.

Names, types and choices: patients.md. Limits of length are here and nowhere else, so that both databases agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError

from dataflows.errors import DataflowsError, ExitCode

NAME_LIMIT, LINE_LIMIT, TEXT_LIMIT = 200, 1_000, 100_000  # characters


class NotARegistration(DataflowsError):
    """The content of a file is no registration: waiting does not mend it. The message names field and rule only."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, code: str, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.code = code


def _trimmed(value: object) -> object:
    """Trim a text and bring its umlauts into one form."""
    return unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value


def _tidy(value: object) -> object:
    """The same; what is empty counts as absent."""
    value = _trimmed(value)
    return None if value in ("", [], {}) else value


def _day(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return date.fromisoformat(value)
    if value is None:
        return None
    raise ValueError("no date")


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError("no e-mail address")
    return text


LineText = Annotated[str, Field(strict=True, max_length=LINE_LIMIT)]
LongText = Annotated[str, Field(strict=True, max_length=TEXT_LIMIT)]
NameText = Annotated[str, Field(strict=True, min_length=1, max_length=NAME_LIMIT)]
Name = Annotated[NameText, BeforeValidator(_trimmed)]
Line = Annotated[LineText | None, BeforeValidator(_tidy)]
Text = Annotated[LongText | None, BeforeValidator(_tidy)]
Email = Annotated[Annotated[LineText, AfterValidator(_address)] | None, BeforeValidator(_tidy)]
Yes = Annotated[StrictBool | None, BeforeValidator(_tidy)]
Day = Annotated[date | None, BeforeValidator(lambda value: _day(_tidy(value)))]


class PatientData(BaseModel):
    """The section ``patient_data``; the fields are the columns of the table ``patients``."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    anrede: Annotated[Literal["Herr", "Frau"], BeforeValidator(_trimmed)]
    geschlecht: Annotated[Literal["männlich", "weiblich", "divers", "keine_Angabe"], BeforeValidator(_tidy)]
    vorname: Name
    nachname: Name
    strasse: Line = None
    plz: Line = None
    ort: Line = None
    email: Email = None
    telefon: Line = None
    geburtsdatum: Day = None
    hausarzt: Line = None
    krankenkasse: Line = None
    krankenversicherungsnummer: Line = None
    diagnose: Text = None
    symptome: Annotated[LongText | list[LongText] | None, BeforeValidator(_tidy)] = None
    erfahrung_mit_psychotherapie: Yes = None
    letzte_sitzung_vorherige_psychotherapie: Day = None
    vertraege_unterschrieben: Yes = None
    psychotherapeutische_sprechstunde: Yes = None
    offen_fuer_gruppentherapie: Yes = None
    offen_fuer_diga: Yes = None
    empfehler_der_unterstuetzung: Text = None
    zeitliche_verfuegbarkeit: Annotated[dict[str, list[LineText]] | None, BeforeValidator(_tidy)] = None
    raeumliche_verfuegbarkeit: Annotated[dict[str, Any] | None, BeforeValidator(_tidy)] = None
    verkehrsmittel: Annotated[Literal["Auto", "ÖPNV"] | None, BeforeValidator(_tidy)] = None
    bevorzugtes_therapeutengeschlecht: Annotated[
        Literal["Männlich", "Weiblich", "Egal"] | None, BeforeValidator(_tidy)
    ] = None
    bevorzugtes_therapieverfahren: Annotated[
        Literal["egal", "Verhaltenstherapie", "tiefenpsychologisch_fundierte_Psychotherapie"] | None,
        BeforeValidator(_tidy),
    ] = None
    ausgeschlossene_therapeuten: Annotated[list[Any] | None, BeforeValidator(_tidy)] = None

    FORM_KEYS: ClassVar[Mapping[str, str]] = {"hat_ptv11": "psychotherapeutische_sprechstunde"}
    """Names that the form uses for a field."""


def checked(section: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Check the section ``patient_data``.

    Returns the fields by column without those that are absent or empty, what no column is made for, and codes of what
    is odd.

    Raises:
        NotARegistration: a field breaks its rule; all such fields are named.
    """
    by_column, warnings = dict(section), []
    for key, column in PatientData.FORM_KEYS.items():
        if key in by_column and _tidy(by_column.get(column)) is None:
            by_column[column] = by_column.pop(key)
        elif key in by_column and by_column[key] == by_column[column]:
            del by_column[key]
        elif key in by_column:
            warnings.append("form_key_differs")  # the column's own name counts, the other value stays in extra
    found = _validated(by_column)
    if isinstance(found, NotARegistration):  # raised here, outside the except block: what led to it quotes values
        raise found
    extra = dict(found.model_extra or {})
    known = {name: getattr(found, name) for name in PatientData.model_fields}
    if extra:
        warnings.append("unknown_field")
    return {name: value for name, value in known.items() if value is not None}, extra, warnings


def _validated(section: dict[str, Any]) -> PatientData | NotARegistration:
    try:
        return PatientData.model_validate(section)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_context=True, include_url=False)
    broken = dict.fromkeys(f"patient_data.{problem['loc'][0]}: {_rule(problem)}" for problem in problems)
    return NotARegistration("invalid", "; ".join(broken), reason="registration-invalid")


def _rule(problem: Mapping[str, Any]) -> str:
    """The rule that a field breaks, in our words: pydantic's may quote the value."""
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind == "literal_error":
        return f"has to be one of {context.get('expected', '')}".replace("'", "")
    if kind == "string_too_long":
        return f"is longer than {context.get('max_length')} characters"
    name = str(problem["loc"][0])
    return _EITHER.get(name) or _RULES.get(kind) or _BY_FIELD.get(name) or "is not of the form that it should have"


_RULES = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "string_type": "has to be text",
    "bool_type": "has to be true or false",
    "dict_type": "has to be an object",
    "list_type": "has to be a list",
}
_EITHER = {"symptome": "has to be text, or a list of texts"}  # pydantic tells of both ways to be right
_BY_FIELD = {
    "email": "has to be an e-mail address",
    "geburtsdatum": "has to be a date, YYYY-MM-DD",
    "letzte_sitzung_vorherige_psychotherapie": "has to be a date, YYYY-MM-DD",
}
