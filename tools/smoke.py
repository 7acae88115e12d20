"""Run the smoke tests against what an operator installs: the wheel, the folder of programs, the single file.

    python tools/smoke.py [--all] [-- pytest options]

The wheel is built once and installed with its extras serve and kafka into a fresh environment of the newest Python that
is found beside this one, with --all of each from 3.11 to 3.14. The programs are built by PyInstaller for this system.
Prints a table at the end; what could not be run is SKIPPED and says why. (The source is smoked by the test suite, the
Windows programs by tools/windows.py.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PIPELINE = "pipeline or help_of_the_pipeline"  # the tests of csc_api_pipeline
QUIET = ("--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    outcome: str
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the whole has failed."""
        return self.outcome == "FAILED"


def main(arguments: Sequence[str]) -> int:
    """Run everything, print the table, and return 1 when anything failed."""
    options = [word for word in arguments if word not in ("--all", "--")]
    with tempfile.TemporaryDirectory(prefix="dataflows-smoke-") as name:
        rows = [*wheels(Path(name), options, everything="--all" in arguments), *bundles(Path(name), options)]
    for row in rows:
        print(f"{row.what:34} {row.outcome:44} {row.seconds:5.0f} s")
    return int(any(row.failed for row in rows))


# --- the wheel --------------------------------------------------------------------------------------------------------


def wheels(folder: Path, options: Sequence[str], *, everything: bool) -> Iterator[Row]:
    """The wheel, on the Pythons that are there."""
    found = {version: interpreter(version) for version in PYTHONS}
    there = [version for version, path in found.items() if path]
    here = "{}.{}".format(*sys.version_info[:2])
    chosen = there if everything else [version for version in there if version != here][-1:] or there[-1:]
    wheel = built(folder)
    for version in PYTHONS:
        path = found[version]
        if path is None:
            yield Row(f"wheel, Python {version}", "SKIPPED: not on this machine")
        elif version in chosen:
            yield timed(f"wheel, Python {version}", partial(of_wheel, folder, wheel, path, options))
        else:
            yield Row(f"wheel, Python {version}", "SKIPPED: left to --all")


def interpreter(version: str) -> str | None:
    """Where a Python of this version is, on the path or among those of pyenv."""
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"), reverse=True)
    for place in (*map(str, homes), *os.environ.get("PATH", "").split(os.pathsep)):
        path = shutil.which(f"python{version}", path=place)
        if (
            path
            and subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0
        ):
            return path
    return None


def built(folder: Path) -> Path:
    """Build the wheel."""
    must(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel"))
    [wheel] = (folder / "wheel").glob("*.whl")
    return wheel


def of_wheel(folder: Path, wheel: Path, python: str, options: Sequence[str]) -> bool:
    """Install the wheel into a fresh environment and smoke what that has."""
    home = folder / f"venv-{Path(python).name}"
    must(python, "-m", "venv", str(home))
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    wish = f"{wheel}[serve,kafka]"
    must(str(programs / "python"), "-m", "pip", "install", *QUIET, "-c", str(ROOT / "constraints.txt"), wish)
    return smoked(options, DATAFLOWS_TEST_COMMAND=str(programs / "dataflows"))


# --- what PyInstaller makes -------------------------------------------------------------------------------------------


def bundles(folder: Path, options: Sequence[str]) -> Iterator[Row]:
    """The folder with both programs, and csc_api_pipeline as a single file."""
    if not succeeds(sys.executable, "-m", "PyInstaller", "--version"):
        yield Row("bundle", 'SKIPPED: pip install -e ".[release]"')
        return
    yield timed("folder of programs", lambda: of_folder(options))
    yield timed("csc_api_pipeline, a single file", lambda: of_single_file(folder, options))


def of_folder(options: Sequence[str]) -> bool:
    """Build the folder and smoke it."""
    frozen("dist", one_file=False)
    return smoked(options, DATAFLOWS_TEST_COMMAND=str(ROOT / "dist" / "dataflows" / "dataflows"))


def of_single_file(folder: Path, options: Sequence[str]) -> bool:
    """Build the single file and smoke it, with the folder's ``dataflows`` beside it where a test needs that."""
    frozen(str(folder / "single"), one_file=True)
    command = str(ROOT / "dist" / "dataflows" / "dataflows")
    program = str(folder / "single" / "csc_api_pipeline")
    return smoked(["-k", PIPELINE, *options], DATAFLOWS_TEST_COMMAND=command, DATAFLOWS_TEST_PIPELINE=program)


def frozen(to: str, *, one_file: bool) -> None:
    """Let PyInstaller build."""
    command = (sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", "--distpath", to)
    must(*command, str(ROOT / "build_exe.spec"), DATAFLOWS_ONE_FILE=str(int(one_file)))


# --- helpers ----------------------------------------------------------------------------------------------------------


def timed(what: str, run: Callable[[], bool]) -> Row:
    """Run one part; whether it is green, and how long it took."""
    print(f"\n-- {what}", flush=True)
    began = time.monotonic()
    green = run()
    return Row(what, "passed" if green else "FAILED", time.monotonic() - began)


def smoked(options: Sequence[str], **environment: str) -> bool:
    """Run the smoke tests; whether all passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/smoke", *options]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode == 0


def succeeds(*command: str) -> bool:
    """Whether a command is there and ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def must(*command: str, **environment: str) -> None:
    """Run a step of the preparation; ends everything when it fails."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
