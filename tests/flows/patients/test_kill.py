"""kill -9 at any moment, then the next pass: the end is that of a pass which nobody disturbed."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import closing
from random import Random
from typing import Any

import pytest

from dataflows.runs.journal import Journal
from tests.flows.patients.fatal import STEPS, Victims, victims
from tests.flows.patients.world import World, registration, written

__all__ = ["victims"]

POISON = "Beispiel_Eva_2025-07-05_0b1ab67b.json"
ROUNDS = 25


def arriving(number: int = 0) -> dict[str, dict[str, Any]]:
    """Two registrations of one person, and one of another that comes twice; each round they are newer."""
    now, token = 1000.0 * number, f"{number:08x}"
    berta = registration("Berta", "Beispiel", after=now, token=token)
    return {
        f"Mustermann_Max_2025-07-05_{token}.json": registration(after=now, token=token, telefon=f"{number}.1"),
        f"Mustermann_Max_2025-07-06_{token}.json": registration(after=now + 60, token=token, telefon=f"{number}.2"),
        f"Beispiel_Berta_2025-07-05_{token}.json": berta,
        f"Beispiel_Berta_2025-07-06_{token}.json": berta,
    }


def fill(world: World, number: int = 0) -> dict[str, dict[str, Any]]:
    """Let a round arrive, beside a file that is no registration."""
    bodies = arriving(number)
    for place, (name, body) in enumerate(bodies.items()):
        world.arrive(body, name, after=1000.0 * number + place)
    world.bucket.put(POISON, b"poison")
    return bodies


def is_as_it_should_be(world: World, bodies: dict[str, dict[str, Any]]) -> None:
    """What has to be true in the end, however it came about: every registration exactly once."""
    contents = {hashlib.sha256(written(body)).hexdigest(): written(body) for body in bodies.values()}
    assert sorted(one.sha256 for one in world.registrations) == sorted(contents)
    assert sorted(one.file_sha256 for one in world.consents) == sorted(contents)
    assert sorted(patient.vorname for patient in world.patients) == ["Berta", "Max"]
    changes = {"imported": "patient.created", "updated": "patient.updated"}
    committed = Counter((changes[one.outcome], str(one.patient_id)) for one in world.registrations)
    assert Counter((event.event_type, event.key) for event in world.events) == committed
    assert sum(count for (kind, _), count in committed.items() if kind == "patient.created") == 2
    copies = [data for name, data in world.files().items() if not name.endswith(".reason.json")]
    assert sorted(data for data in copies if data != b"poison") == sorted(contents.values())
    assert list(world.bucket.objects) == [POISON]
    done = {row.object_name: row for row in world.tracked if row.object_name != POISON}
    assert done.keys() == bodies.keys()
    assert all(row.deleted_at is not None and row.patient_id and row.consent_id for row in done.values())


def resumable(world: World) -> int:
    with closing(Journal.open(world.data)) as journal:
        return len(journal.runs(state="resumable"))


@pytest.mark.parametrize("step", STEPS)
def test_killed_between_two_steps(world: World, victims: Victims, step: str) -> None:
    bodies = fill(world)
    if step == "Copies.put_aside after":
        for _ in range(4):  # the poison file is given up in the next pass
            world.bring_in("--pattern", "Beispiel_Eva.*")
    elif step.startswith("migrations"):
        world.forget()
    second = step in ("recording._keep_consent before", "Bucket.delete after")
    assert victims.killed_at(step, 2 if second else 1, world.environment)
    assert world.bring_in().code == 3
    is_as_it_should_be(world, bodies)
    assert resumable(world) == 0


@pytest.mark.parametrize("seed", [7, 8])
def test_killed_at_25_random_moments_twice(world: World, victims: Victims, seed: int) -> None:
    rng, kills, bodies = Random(seed), 0, fill(world)
    victims.seconds(world.environment)  # which also loads all that is heavy
    bodies |= fill(world, 1)
    first = longest = victims.seconds(world.environment)
    for number in range(2, 3 * ROUNDS):
        bodies |= fill(world, number)
        killed = victims.killed_after(rng.uniform(0.1, 1.0) * longest, world.environment)
        kills += killed
        longest = min(longest * 1.05, 1.5 * first) if killed else longest * 0.8  # the machine has other work too
        if kills == ROUNDS:
            break
    assert kills == ROUNDS
    assert world.bring_in().code in (0, 3, 4)  # 4: nothing but the poison file was left
    is_as_it_should_be(world, bodies)
