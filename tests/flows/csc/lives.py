"""What becomes of synthetic children between two nights: things added, changed, emptied and gone, at random."""

from __future__ import annotations

import copy
from random import Random

from tests.flows.csc.children import Child, episode, plan


def later(rng: Random, child: Child) -> Child:
    """The child after one to three things happened; never what it was before. The original is left as it is."""
    after = copy.deepcopy(child)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_HAPPENINGS)(rng, after)
    return after if after != child else later(rng, child)


def nonsense(child: Child) -> Child:
    """The child with a value that the attribute rules refuse."""
    return {**child, "child_details": {"sex": "neither"}}


def _identity(rng: Random, child: Child) -> None:
    _toggle(rng, child, "mis_child_id", f"m-{rng.randint(1, 3)}")


def _details(rng: Random, child: Child) -> None:
    details = child.setdefault("child_details", {})
    _toggle(rng, details, rng.choice(["postcode", "ethnicity"]), rng.choice(["ZZ99", "NOBT"]))


def _block(rng: Random, child: Child) -> None:
    _toggle(rng, child, "child_details", {"first_name": f"Synthetic-{rng.randint(1, 9)}"})


def _scores(rng: Random, child: Child) -> None:
    scores = [{"date": "2024-02-01", "score": n} for n in range(rng.randint(0, 2))]
    _toggle(rng, child, "health_and_wellbeing", {"sdq_assessments": scores})


def _episodes(rng: Random, child: Child) -> None:
    episodes = child.setdefault("social_care_episodes", [])
    name = f"e{rng.randint(1, 3)}"
    known = [one for one in episodes if one["social_care_episode_id"] == name]
    if known:
        episodes.remove(known[0])
    else:
        episodes.append(episode(name, closure_date=rng.choice([None, "2024-06-30"])))


def _in_an_episode(rng: Random, child: Child) -> None:
    if not child.get("social_care_episodes"):
        return _episodes(rng, child)
    at = rng.choice(child["social_care_episodes"])
    what, value = rng.choice(
        [
            ("closure_date", "2024-06-30"),
            ("adoption", {"matched_date": f"2024-03-0{rng.randint(1, 9)}"}),
            ("care_worker_details", [{"worker_id": "w1"}, {"worker_id": "w1", "start_date": "2024-02-02"}]),
            ("child_protection_plans", [plan(f"p{rng.randint(1, 4)}")]),
        ]
    )
    return _toggle(rng, at, what, value)


def _toggle(rng: Random, at: Child, name: str, value: object) -> None:
    if name in at and rng.random() < 0.5:
        del at[name]
    else:
        at[name] = value


_HAPPENINGS = [_identity, _details, _block, _scores, _episodes, _in_an_episode, _in_an_episode]
