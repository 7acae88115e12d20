"""tools/house.py: the figures by which a change of the structure is judged, on trees whose figures are known."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "house.py"))


def tree(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def test_code_lines_are_those_without_blanks_comments_and_docstrings(tool: dict[str, Any], tmp_path: Path) -> None:
    text = (
        '"""A page.\n\nOf text.\n"""\n\n# why\nx = 1  # beside\n\n\ndef f():\n    """Docs."""\n    return """a\nb"""\n'
    )
    house = tool["measure"](tree(tmp_path, a=text))
    assert (house.modules, house.lines, house.code_lines) == (1, 13, 4)


def test_names_circles_collaborators_and_length(tool: dict[str, Any], tmp_path: Path) -> None:
    many = "".join(f"import m{number}\n" for number in range(9))
    long_ = "def f():\n    '''Docs.'''\n" + "    x = 1\n" * 41
    house = tool["measure"](
        tree(
            tmp_path,
            **{f"m{number}": "" for number in range(9)},
            a="import b\nclass Same: ...\n",
            b="import c\nclass Same: ...\n",
            c="def late():\n    import a\n",
            d=many + long_,
            e=long_.removesuffix("    x = 1\n"),
        )
    )
    assert house.behind["circles of imports"] == ["a > b > c"]
    assert house.behind["class names in several modules"] == ["Same: a, b"]
    assert house.behind["modules with more than 8 collaborators"] == ["d (9)"]
    assert house.behind["functions over 40 lines"] == ["d.f (41)"]


def test_a_run_that_stands_twice(tool: dict[str, Any], tmp_path: Path) -> None:
    same = "".join(f"value_{number} = compute({number})\n" for number in range(7))
    house = tool["measure"](tree(tmp_path, a=same, b=f"# other\n{same}", c=same[: same.index("value_5")]))
    assert house.behind["duplicated runs"] == ["a ~ b (7 lines)"]
