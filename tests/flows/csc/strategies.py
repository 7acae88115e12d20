"""Valid children, and edits of them, for property tests. All of it is synthetic.

Small pools of ids and dates on purpose: what breaks a delta is the same id in another place, not an exotic value.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from dataflows.flows.csc.schema import CHILD, ObjectKind

Object = dict[str, Any]

_DAYS = st.sampled_from(["2019-12-31", "2020-02-29", "2023-07-14", "2024-01-01"])
_FLAG = st.booleans()
_CODE = st.sampled_from(["", "A", "é", "0"])
_CODES = st.lists(st.sampled_from(["1A", "2B", "3C", "21"]), max_size=3, unique=True)
_NAMES = st.sampled_from(["", "Synthetic-A1", "Synthetic-O'B2", "Synthetic-Ünï3"])
_POSTCODES = st.sampled_from(["ZZ99 3CZ", "ZZ993VZ"])
_WORKERS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"worker_id": st.sampled_from(["w1", "w-2"]), "start_date": _DAYS, "end_date": _DAYS}
    ),
    max_size=3,
)
_SCORES = st.lists(st.fixed_dictionaries({}, optional={"date": _DAYS, "score": st.integers(-1, 40)}), max_size=2)
_UPN = st.sampled_from(["SYNTHETIC0001", "SYNTHETIC0002"])
_SPELL = {"start_date": _DAYS, "end_date": _DAYS}

# An object's own attributes; its single objects and id lists come from the shape.
_OWN: dict[str, dict[str, SearchStrategy[Any]]] = {
    "child": {"mis_child_id": st.sampled_from(["", "syn-m_1", "syn-m_2"])},
    "child_details": {
        "unique_pupil_number": _UPN,
        "former_unique_pupil_number": _UPN,
        "unique_pupil_number_unknown_reason": _CODE,
        "first_name": _NAMES,
        "surname": _NAMES,
        "date_of_birth": _DAYS,
        "expected_date_of_birth": _DAYS,
        "sex": _CODE,
        "ethnicity": _CODE,
        "disabilities": _CODES,
        "postcode": _POSTCODES,
        "uasc_flag": _FLAG,
        "uasc_end_date": _DAYS,
    },
    "health_and_wellbeing": {"sdq_assessments": _SCORES},
    "social_care_episodes": {
        "referral_date": _DAYS,
        "referral_source": _CODE,
        "closure_date": _DAYS,
        "closure_reason": _CODE,
        "referral_no_further_action_flag": _FLAG,
        "care_worker_details": _WORKERS,
    },
    "child_and_family_assessments": {"start_date": _DAYS, "authorisation_date": _DAYS, "factors": _CODES},
    "child_in_need_plans": _SPELL,
    "section_47_assessments": {**_SPELL, "icpc_required_flag": _FLAG, "icpc_date": _DAYS},
    "child_protection_plans": _SPELL,
    "child_looked_after_placements": {
        **_SPELL,
        "start_reason": _CODE,
        "placement_type": _CODE,
        "postcode": _POSTCODES,
        "end_reason": _CODE,
        "change_reason": _CODE,
    },
    "adoption": {"initial_decision_date": _DAYS, "matched_date": _DAYS, "placed_date": _DAYS},
    "family_meetings": {"held_on": _DAYS, "topics": _CODES},
    "court_order": {"order_code": _CODE, "granted_on": _DAYS},
    "care_leavers": {"contact_date": _DAYS, "activity": _CODE, "accommodation": _CODE},
}
_ITEM_IDS = ["", "i1", "I1", "i_2", "i-3"]
_CHILD_IDS = st.sampled_from(["SYN1", "syn1", "SYN2", "9"])


@st.composite
def children(draw: DrawFn, purge_flags: bool = False, kind: ObjectKind = CHILD) -> Object:
    """Valid children of every shape; with ``purge_flags`` some objects carry ``purge: false``, as real ones do."""
    child = draw(_object(kind, purge_flags))
    return {"la_child_id": draw(_CHILD_IDS), **child}


@st.composite
def edited(draw: DrawFn, child: Object, purge_flags: bool = False, kind: ObjectKind = CHILD) -> Object:
    """The same child later: a few attributes, items or blocks added, changed, reordered, emptied or gone.

    Sometimes nothing changed, sometimes everything.
    """
    if draw(st.integers(0, 9)) == 0:
        return {**draw(children(purge_flags, kind)), "la_child_id": child["la_child_id"]}
    later = copy.deepcopy(child)
    for _ in range(draw(st.integers(0, 4))):
        _edit(draw, kind, later, purge_flags)
    return later


def _own(kind: ObjectKind) -> dict[str, SearchStrategy[Any]]:
    """An object's own attributes but its id, those that a grown schema knows besides included."""
    known = _OWN[kind.name]
    names = {*kind.fields, *kind.plain_lists} - {kind.id_field}
    return {name: known.get(name, _CODE) for name in sorted(names)}


def _object(kind: ObjectKind, purge_flags: bool) -> SearchStrategy[Object]:
    optional: dict[str, SearchStrategy[Any]] = _own(kind)
    optional |= {name: _object(below, purge_flags) for name, below in kind.single.items()}
    optional |= {name: _listed(below, purge_flags) for name, below in kind.listed.items()}
    if purge_flags and kind.purgeable:
        optional["purge"] = st.just(False)
    return st.fixed_dictionaries({}, optional=optional)


def _listed(kind: ObjectKind, purge_flags: bool) -> SearchStrategy[list[Object]]:
    return st.lists(st.sampled_from(_ITEM_IDS), max_size=2, unique=True).flatmap(
        lambda ids: st.tuples(*(_item(kind, one, purge_flags) for one in ids)).map(list)
    )


def _item(kind: ObjectKind, item_id: str, purge_flags: bool) -> SearchStrategy[Object]:
    return _object(kind, purge_flags).map(lambda item: {str(kind.id_field): item_id, **item})


def _edit(draw: DrawFn, kind: ObjectKind, at: Object, purge_flags: bool) -> None:
    """Change one thing in ``at``, or in something below it."""
    own = _own(kind)
    name = draw(st.sampled_from(sorted([*own, *kind.single, *kind.listed])))
    if name in at and draw(st.integers(0, 3)) == 0:
        del at[name]
    elif name in kind.single:
        _edit_single(draw, kind.single[name], at, name, purge_flags)
    elif name in kind.listed:
        _edit_list(draw, kind.listed[name], at.setdefault(name, []), purge_flags)
    else:
        at[name] = draw(own[name])


def _edit_single(draw: DrawFn, kind: ObjectKind, at: Object, name: str, purge_flags: bool) -> None:
    if name in at:
        _edit(draw, kind, at[name], purge_flags)
    else:
        at[name] = draw(_object(kind, purge_flags))


def _edit_list(draw: DrawFn, kind: ObjectKind, items: list[Object], purge_flags: bool) -> None:
    used = [item[str(kind.id_field)] for item in items]
    unused = [one for one in _ITEM_IDS if one not in used]
    match draw(st.sampled_from(["change", "change", "insert", "remove", "reorder", "empty"])):
        case "insert" if unused:
            where = draw(st.integers(0, len(items)))
            items.insert(where, draw(_item(kind, draw(st.sampled_from(unused)), purge_flags)))
        case "remove" if items:
            del items[draw(st.integers(0, len(items) - 1))]
        case "reorder":
            items[:] = draw(st.permutations(items))
        case "empty":
            items.clear()
        case _ if items:
            _edit(draw, kind, draw(st.sampled_from(items)), purge_flags)
        case _:
            pass
