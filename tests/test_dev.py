"""``tools/dev.py``: what README tells a newcomer to run; here without a network and without installing anything."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def ran() -> list[tuple[str, ...]]:
    """The commands that were run, without the Python in front."""
    return []


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[tuple[str, ...]]) -> Any:
    spec = spec_from_file_location("dev", ROOT / "tools" / "dev.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*command: str, to_stderr: bool = False) -> int:
        ran.append(command[1:])
        return 0

    home = tmp_path / ".venv"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").touch()
    monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(module, "PYTHON", home / "bin" / "python")
    monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(module, "pip_of_environment", lambda: ["python", "-m", "pip"])
    return module


def installed(ran: list[tuple[str, ...]]) -> list[str]:
    return [command[-1] for command in ran if command[:3] == ("-m", "pip", "install")]


def test_the_first_call_installs_and_the_second_does_not(dev: Any, ran: list[tuple[str, ...]]) -> None:
    assert dev.main(["demo"]) == 0
    assert dev.main(["demo", "--keep"]) == 0
    assert installed(ran) == ["."]
    assert ran[-1] == ("-m", "dataflows", "demo", "--keep")


def test_what_was_installed_for_the_tests_will_do_for_the_demo(dev: Any, ran: list[tuple[str, ...]]) -> None:
    assert dev.main(["test", "-k", "delta"]) == 0
    assert ran[-1][:2] == ("-m", "pytest") and ran[-1][-2:] == ("-k", "delta")
    assert dev.main(["demo"]) == 0
    assert installed(ran) == [".[dev]"]


def test_a_folder_that_was_moved_is_installed_again(
    dev: Any, ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dev.main(["demo"])
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    dev.main(["demo"])
    assert installed(ran) == [".", "."]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["lint"]])
def test_anything_else_is_explained(
    dev: Any, ran: list[tuple[str, ...]], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(arguments) == 2
    assert "tools/dev.py demo" in capsys.readouterr().err
    assert ran == []


def test_another_python_is_asked_for(
    dev: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert dev.main(["demo"]) == 2
    assert "3.11 to 3.14" in capsys.readouterr().err


def test_without_ensurepip_the_pip_of_this_python_will_do(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    monkeypatch.setattr(venv, "create", lambda _, *, with_pip, clear: no_ensurepip(made, with_pip))
    monkeypatch.setattr(dev, "find_spec", lambda _: "found")
    dev.make_environment()
    assert made == [True, False]


def test_without_any_pip_it_says_what_to_install_and_leaves_nothing(dev: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venv, "create", lambda _, *, with_pip, clear: no_ensurepip([], with_pip))
    monkeypatch.setattr(dev, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="apt install python3"):
        dev.make_environment()
    assert not dev.HOME.exists()


def no_ensurepip(made: list[bool], with_pip: bool) -> None:
    made.append(with_pip)
    if with_pip:
        raise subprocess.CalledProcessError(1, "ensurepip")
