"""The attribute rules of one child: DfE's schema (OpenAPI 1.0.1, May 2026), row by row as csc.md lists it.

Nothing may be null, no other attribute is allowed, and dates are text. ``payload`` turns these rules into a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Required

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, with_config
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import TypedDict


def _unique(items: list[str]) -> list[str]:
    if len(set(items)) != len(items):
        raise PydanticCustomError("not_unique", "an item appears twice")
    return items


@dataclass(frozen=True, slots=True)
class ById:
    """Marks a list whose items are told apart by the field ``name``: no two items may carry the same value."""

    name: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._each_once, handler(source))

    def _each_once(self, items: list[dict[str, str]]) -> list[dict[str, str]]:
        seen: set[str] = set()
        for index, item in enumerate(items):
            if item[self.name] in seen:
                raise PydanticCustomError("id_twice", "an id appears twice", {"index": index, "name": self.name})
            seen.add(item[self.name])
        return items


# `$` is the very end here: pydantic's regular expressions, unlike Python's, let no line feed pass behind it.
DATE: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
LETTERS_DIGITS: Final = r"^[A-Za-z0-9]+$"
LETTERS_DIGITS_DASHES: Final = r"^[A-Za-z0-9_-]*$"
THIRTEEN: Final = r"(?s)^.{13}$"

# What fromisoformat makes is thrown away: payloads are judged here, never converted. Without the pattern it would also
# take 20240229 and 2024-W09-4.
Date = Annotated[str, Field(pattern=DATE), AfterValidator(date.fromisoformat)]
ChildId = Annotated[str, Field(pattern=LETTERS_DIGITS, max_length=20)]
Id36 = Annotated[str, Field(pattern=LETTERS_DIGITS_DASHES, max_length=36)]
Id12 = Annotated[str, Field(pattern=LETTERS_DIGITS_DASHES, max_length=12)]
PupilNumber = Annotated[str, Field(pattern=THIRTEEN)]
Text1 = Annotated[str, Field(max_length=1)]
Text2 = Annotated[str, Field(max_length=2)]
Text3 = Annotated[str, Field(max_length=3)]
Text4 = Annotated[str, Field(max_length=4)]
Text6 = Annotated[str, Field(max_length=6)]
Text8 = Annotated[str, Field(max_length=8)]

_strict = with_config(ConfigDict(extra="forbid", strict=True))


class Purgeable(TypedDict, total=False):
    purge: bool


@_strict
class ChildDetails(Purgeable, total=False):
    """Who the child is."""

    unique_pupil_number: PupilNumber
    former_unique_pupil_number: PupilNumber
    unique_pupil_number_unknown_reason: Text4
    first_name: str
    surname: str
    date_of_birth: Date
    expected_date_of_birth: Date
    sex: Text1
    ethnicity: Text4
    disabilities: Annotated[list[Text4], Field(max_length=12), AfterValidator(_unique)]
    postcode: Text8
    uasc_flag: bool
    uasc_end_date: Date


@_strict
class SdqAssessment(TypedDict, total=False):
    """One strengths and difficulties score; told from others by nothing."""

    date: Date
    score: int


@_strict
class HealthAndWellbeing(Purgeable, total=False):
    """The scores, and room for more."""

    sdq_assessments: list[SdqAssessment]


@_strict
class CareWorker(TypedDict, total=False):
    """One spell of one worker; the same worker may have several."""

    worker_id: Id12
    start_date: Date
    end_date: Date


@_strict
class ChildAndFamilyAssessment(Purgeable, total=False):
    """One assessment with the factors it found."""

    child_and_family_assessment_id: Required[Id36]
    start_date: Date
    authorisation_date: Date
    factors: Annotated[list[Text3], Field(max_length=41), AfterValidator(_unique)]


@_strict
class ChildInNeedPlan(Purgeable, total=False):
    """One spell on a child in need plan."""

    child_in_need_plan_id: Required[Id36]
    start_date: Date
    end_date: Date


@_strict
class Section47Assessment(Purgeable, total=False):
    """One enquiry under section 47 of the Children Act 1989."""

    section_47_assessment_id: Required[Id36]
    start_date: Date
    icpc_required_flag: bool
    icpc_date: Date
    end_date: Date


@_strict
class ChildProtectionPlan(Purgeable, total=False):
    """One spell on a child protection plan."""

    child_protection_plan_id: Required[Id36]
    start_date: Date
    end_date: Date


@_strict
class Placement(Purgeable, total=False):
    """One placement of a looked-after child."""

    child_looked_after_placement_id: Required[Id36]
    start_date: Date
    start_reason: Text1
    placement_type: Text3
    postcode: Text8
    end_date: Date
    end_reason: Text3
    change_reason: Text6


@_strict
class Adoption(Purgeable, total=False):
    """How far an adoption has come; one per episode."""

    initial_decision_date: Date
    matched_date: Date
    placed_date: Date


@_strict
class CareLeavers(Purgeable, total=False):
    """The latest contact with a care leaver; one per episode."""

    contact_date: Date
    activity: Text2
    accommodation: Text1


@_strict
class Episode(Purgeable, total=False):
    """One stretch of social care, from referral to closure, and all that happened in it."""

    social_care_episode_id: Required[Id36]
    referral_date: Date
    referral_source: Text2
    closure_date: Date
    closure_reason: Text3
    referral_no_further_action_flag: bool
    care_worker_details: list[CareWorker]
    child_and_family_assessments: Annotated[list[ChildAndFamilyAssessment], ById("child_and_family_assessment_id")]
    child_in_need_plans: Annotated[list[ChildInNeedPlan], ById("child_in_need_plan_id")]
    section_47_assessments: Annotated[list[Section47Assessment], ById("section_47_assessment_id")]
    child_protection_plans: Annotated[list[ChildProtectionPlan], ById("child_protection_plan_id")]
    child_looked_after_placements: Annotated[list[Placement], ById("child_looked_after_placement_id")]
    adoption: Adoption
    care_leavers: CareLeavers


@_strict
class Child(Purgeable, total=False):
    """The record that is sent."""

    la_child_id: Required[ChildId]
    mis_child_id: Id36
    child_details: ChildDetails
    health_and_wellbeing: HealthAndWellbeing
    social_care_episodes: Annotated[list[Episode], ById("social_care_episode_id")]
