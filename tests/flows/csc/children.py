"""Small synthetic children for tests that say what they are about."""

from __future__ import annotations

from typing import Any

Child = dict[str, Any]


def child(number: int, **changes: Any) -> Child:
    """A synthetic child with one episode; keyword arguments replace top-level blocks."""
    return {
        "la_child_id": f"SYN{number}",
        "mis_child_id": f"m-{number}",
        "child_details": {"first_name": f"Synthetic-{number}", "sex": "F", "date_of_birth": "2015-05-05"},
        "social_care_episodes": [episode(f"e{number}")],
        **changes,
    }


def episode(name: str, **changes: Any) -> Child:
    """An episode with two plans; None takes a key away."""
    whole = {
        "social_care_episode_id": name,
        "referral_date": "2024-01-01",
        "closure_date": "2024-06-30",
        "care_worker_details": [{"worker_id": "w1", "start_date": "2024-01-02"}],
        "child_protection_plans": [plan("p1"), plan("p2")],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def plan(name: str) -> Child:
    """A child protection plan."""
    return {"child_protection_plan_id": name, "start_date": "2024-01-03"}
