"""Set up everything in a virtual environment of the project's own (.venv), then run what was asked for.

    python3 tools/dev.py demo     installs the program, runs `dataflows demo`
    python3 tools/dev.py test     installs the program and its test tools, runs all tests

Needs nothing but Python 3.11 to 3.14 (on Windows: py tools\\dev.py demo); works from any folder. What follows is handed
on, such as `tools/dev.py test -k delta`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NO_PIP = """this Python cannot make a virtual environment: pip, venv or ensurepip is missing
on Debian and Ubuntu: apt install python{0}-venv, then run the same command again"""


def main(arguments: list[str]) -> int:
    """Do one of the two; returns the exit code of what was run."""
    task, *rest = arguments or [""]
    if task not in ("demo", "test"):
        print(__doc__, file=sys.stderr)
        return 2
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        found = sys.version.split()[0]
        print(f"dataflows needs Python 3.11 to 3.14, and this is {found}: start it with another one", file=sys.stderr)
        return 2
    prepare(for_tests=task == "test")
    if task == "demo":
        return run(str(PYTHON), "-m", "dataflows", "demo", *rest)
    # one more than there are processors: many tests wait for another process
    return run(str(PYTHON), "-m", "pytest", "-n", str(min((os.cpu_count() or 1) + 1, 4)), *rest)


def prepare(*, for_tests: bool) -> None:
    """Make the environment where it is missing, and install where the project asks for something else than before."""
    stamps = [HOME / "prepared-test"] if for_tests else [HOME / "prepared-demo", HOME / "prepared-test"]
    wanted = f"{ROOT}\n" + "".join(text(name) for name in ("pyproject.toml", "constraints.txt"))
    if PYTHON.exists() and any(stamp.exists() and stamp.read_text(encoding="utf-8") == wanted for stamp in stamps):
        return
    print("installing into .venv, once; this can take some minutes ...", file=sys.stderr, flush=True)
    pip = pip_of_environment()
    extra = "[dev]" if for_tests else ""
    options = ["--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt"]
    if run(*pip, "install", *options, "--editable", f".{extra}", to_stderr=True) != 0:
        sys.exit("the installation failed, see above; behind a proxy, HTTPS_PROXY has to be set")
    stamps[0].write_text(wanted, encoding="utf-8")


def pip_of_environment() -> list[str]:
    """Make the environment if it is not there, and return how to call a pip that installs into it."""
    if not PYTHON.exists():
        make_environment()
    own = [str(PYTHON), "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    return [sys.executable, "-m", "pip", "--python", str(PYTHON)]


def make_environment() -> None:
    """Make the virtual environment; one without pip will do where this Python has a pip of its own."""
    try:
        import venv

        try:
            venv.create(HOME, with_pip=True, clear=True)
        except subprocess.CalledProcessError:  # Debian keeps ensurepip in a package of its own
            if find_spec("pip") is None:
                raise
            venv.create(HOME, with_pip=False, clear=True)
    except (ImportError, subprocess.CalledProcessError):
        shutil.rmtree(HOME, ignore_errors=True)  # half an environment would pass for one the next time
        sys.exit(NO_PIP.format(".".join(map(str, sys.version_info[:2]))))


def text(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command: str, to_stderr: bool = False) -> int:
    """Run a command in the project folder and return its exit code."""
    with subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr if to_stderr else None) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the command was told too, and may have something to tidy up
                continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
