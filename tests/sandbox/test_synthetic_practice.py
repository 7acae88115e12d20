"""Made-up patients and therapists, as the two imports would meet them."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dataflows.sandbox.synthetic_practice import (
    Layout,
    again,
    registration,
    registrations,
    therapist,
    write_large_file,
    write_therapists,
)

OBJECT_NAME = re.compile(r"(.+_)+(\d{4}-\d{2}-\d{2}|\d{8})_[0-9a-fA-F]{8,64}\.json")


def test_registrations_have_names_and_bodies_of_the_real_form() -> None:
    made = registrations(200)

    assert len({one.name for one in made}) == 200
    assert all(OBJECT_NAME.fullmatch(one.name) for one in made)
    assert {"patient_data", "consent_metadata", "registration_timestamp", "registration_token"} == {
        key for one in made for key in one.document
    }
    assert all(one.document["registration_token"] in one.name.lower() for one in made)


def test_people_are_marked_as_synthetic_and_reach_nobody() -> None:
    for one in registrations(50):
        patient = one.document["patient_data"]
        assert "Synthetisch" in patient["nachname"]
        assert patient["email"].endswith("@example.org")
        assert patient["telefon"].startswith("030 23125 ")
        assert patient["plz"].startswith("00")


def test_names_have_what_names_can_have() -> None:
    names = [one.name for one in registrations(40)]

    assert any("ü" in name for name in names)
    assert any("Ü" in name for name in names)
    assert any(" " in name for name in names)
    assert any(name.count("_") > 3 for name in names)
    assert any("null" in name.lower() for name in names)


def test_the_same_seed_gives_the_same_people() -> None:
    assert registrations(5, seed=3) == registrations(5, seed=3)
    assert registrations(5, seed=3) != registrations(5, seed=4)


def test_fields_can_be_changed_and_left_out() -> None:
    patient = registration(Random(1), 1, email=None, extra_field="x").document["patient_data"]

    assert "email" not in patient
    assert patient["extra_field"] == "x"


def test_somebody_can_register_again() -> None:
    first = registration(Random(1), 1)
    later = again(first, 2, ort="Neustadt")

    assert later.name != first.name
    assert later.document["consent_metadata"]["timestamp_utc"] > first.document["consent_metadata"]["timestamp_utc"]
    assert later.document["patient_data"] == first.document["patient_data"] | {"ort": "Neustadt"}


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_therapist_files_are_as_the_scraper_writes_them(tmp_path: Path) -> None:
    paths = write_therapists(tmp_path, ["00074", "00066"], count=40)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["20260308/00074.json", "20260308/00066.json"]

    found = load(paths[0])
    assert found["metadata"]["total_therapists"] == len(found["therapists"]) == 40
    assert found["metadata"]["new_therapists"] == 40
    assert {(one["id"], one["status"]) for one in found["therapists"]} == {(f"praxis{n}", "new") for n in range(40)}


def test_the_old_layout_has_neither_id_nor_status(tmp_path: Path) -> None:
    [path] = write_therapists(tmp_path, ["00074"], count=3, layout="old", dated=False)

    found = load(path)
    assert path == tmp_path / "00074.json"
    assert set(found["metadata"]) == {"timestamp", "scrape_id", "source", "version"}
    assert found["statistics"]["total_therapists"] == 3
    assert all({"id", "status"}.isdisjoint(one) for one in found["therapists"])


@pytest.mark.parametrize("edition", [2, 3, 7])
def test_the_status_of_a_later_edition_is_true(edition: int) -> None:
    before, now = ([therapist(n, edition=one) for n in range(1000)] for one in (edition - 1, edition))
    differ = {n for n in range(1000) if before[n]["contact"]["phone"] != now[n]["contact"]["phone"]}
    statuses = Counter(one["status"] for one in now)

    assert {n for n in range(1000) if now[n]["status"] == "modified"} <= differ
    assert all(now[n]["status"] != "unchanged" for n in differ)
    assert statuses["deleted"] == 20
    assert 40 <= statuses["modified"] <= 50


@pytest.mark.parametrize("edition", [1, 2])
def test_the_counts_of_a_file_are_those_of_its_entries(tmp_path: Path, edition: int) -> None:
    [path] = write_therapists(tmp_path, ["00074"], count=120, edition=edition)

    found = load(path)
    counts = Counter(one["status"] for one in found["therapists"])
    assert {key: found["metadata"][f"{key}_therapists"] for key in ("new", "modified", "deleted")} == {
        key: counts[key] for key in ("new", "modified", "deleted")
    }


def test_nobody_is_there_twice() -> None:
    people = [therapist(n)["basic_info"] for n in range(5000)]

    assert len({(one["first_name"], one["last_name"]) for one in people}) == 5000


@pytest.mark.parametrize("layout", ["new", "old"])
def test_a_large_file_is_written_in_little_memory(tmp_path: Path, layout: Layout) -> None:
    tracemalloc.start()
    size = write_large_file(tmp_path / "00074.json", 2000, layout=layout)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 1_500 < size / 2000 < 2_500
    assert most < size / 4
    assert len(load(tmp_path / "00074.json")["therapists"]) == 2000
