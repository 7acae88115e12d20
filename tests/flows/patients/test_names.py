from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.errors import WrongUsage
from dataflows.flows.practice.patients import objects

PERSON = st.text(st.sampled_from("aZäÖß é-_'.ő"), min_size=1, max_size=12).map(lambda text: f"x{text}y")


@pytest.mark.parametrize(
    ("name", "lastname", "firstname", "token"),
    [
        ("Mustermann_Max_2025-07-05_0b1ab67b.json", "Mustermann", "Max", "0b1ab67b"),
        ("mustermann_max_20250705_0B1AB67B.json", "mustermann", "max", "0B1AB67B"),
        ("von der Höhe_Anna-Lena_2025-07-05_" + "f" * 64 + ".json", "von der Höhe", "Anna-Lena", "f" * 64),
        ("Müller_Lüdenscheidt_Jörg_2025-07-05_0b1ab67b.json", "Müller_Lüdenscheidt", "Jörg", "0b1ab67b"),
        ("Null_20250101_2025-07-05_0b1ab67b.json", "Null", "20250101", "0b1ab67b"),
        ("A_B_2024-02-29_12345678_2025-07-05_0b1ab67b.json", "A_B_2024-02-29", "12345678", "0b1ab67b"),
    ],
)
def test_names_are_parsed_from_the_end(name: str, lastname: str, firstname: str, token: str) -> None:
    found = objects.usual(name)
    assert found is not None
    assert (found["lastname"], found["firstname"], objects.token_of(found)) == (lastname, firstname, token)


@pytest.mark.parametrize(
    "name",
    [
        "", "x.json", "Mustermann_2025-07-05_0b1ab67b.json", "_Max_2025-07-05_0b1ab67b.json",
        "Mustermann__2025-07-05_0b1ab67b.json", "Mustermann_Max_2025-02-30_0b1ab67b.json",
        "Mustermann_Max_2025-7-5_0b1ab67b.json", "Mustermann_Max_2025-07-05_0b1ab67.json",
        "Mustermann_Max_2025-07-05_0b1ab67g.json", "Mustermann_Max_2025-07-05_" + "0" * 65 + ".json",
        "Mustermann_Max_2025-07-05_0b1ab67b.json.bak", "Mustermann_Max_2025-07-05_0b1ab67b",
        "2025/Mustermann_Max_2025-07-05_0b1ab67b.json", "Muster\nmann_Max_2025-07-05_0b1ab67b.json",
        "Mustermann_Max_２０２５-07-05_0b1ab67b.json", "Mustermann_Max_2025-07-05_0b1ab67b.json\n",
    ],
)  # fmt: skip
def test_what_is_no_name_of_a_registration(name: str) -> None:
    assert objects.usual(name) is None


@given(PERSON, PERSON.map(lambda text: text.replace("_", "")), st.dates(), st.integers(0, 16**40), st.booleans())
def test_whatever_is_put_together_comes_apart(last: str, first: str, day: object, token: int, short: bool) -> None:
    written = str(day).replace("-", "") if short else str(day)
    found = objects.usual(f"{last}_{first}_{written}_{token:08x}.json")
    assert found is not None
    assert found.groupdict() == {"lastname": last, "firstname": first, "date": written, "token": f"{token:08x}"}


def test_a_rule_of_ones_own() -> None:
    found = objects.rule(r"form-(?P<token>\d+)\.json")("form-17.json")
    assert found is not None
    assert objects.token_of(found) == "17"
    plain = objects.rule(r".*\.json")("x.json")
    assert plain is not None and objects.token_of(plain) is None
    assert objects.rule(r"form")("form-17.json") is None
    with pytest.raises(WrongUsage):
        objects.rule("(")
