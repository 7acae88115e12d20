"""Set up everything in a virtual environment of the project's own, then run what was asked for.

    python3 tools/dev.py demo     installs the program, runs `dataflows demo`
    python3 tools/dev.py test     installs the program and its test tools, runs all tests

Needs nothing but Python 3.11 to 3.14; works from any folder, on Windows and Linux. What follows is handed on, such as
`tools/dev.py test -k delta`.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
BIN = HOME / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def main(arguments: list[str]) -> int:
    """Do one of the two; returns the exit code of what was run."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        print(f"dataflows needs Python 3.11 to 3.14, and this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    task, *rest = arguments or [""]
    if task not in ("demo", "test"):
        print(__doc__, file=sys.stderr)
        return 2
    prepare(extra="[dev]" if task == "test" else "")
    if task == "demo":
        return run("-m", "dataflows", "demo", *rest)
    return run("-m", "pytest", "-n", str(min(os.cpu_count() or 1, 4)), *rest)


def prepare(extra: str) -> None:
    """Make the environment where it is missing and bring it to what the project asks for."""
    stamp = HOME / f".prepared{extra}"
    wanted = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "constraints.txt"))
    if not PYTHON.exists():
        make_environment()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print("installing dataflows and what it needs into .venv (once) ...", file=sys.stderr, flush=True)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt", "-e", f".{extra}"]
    if run(*pip) != 0:
        sys.exit("the installation failed: see above")
    stamp.write_text(wanted, encoding="utf-8")


def make_environment() -> None:
    """Make the virtual environment. Debian's Python comes without what venv needs, so say what to install."""
    try:
        venv.create(HOME, with_pip=True)
    except (subprocess.CalledProcessError, ModuleNotFoundError):
        version = sysconfig.get_python_version()
        sys.exit(f"this Python cannot make virtual environments; on Debian: apt install python{version}-venv")


def run(*arguments: str) -> int:
    """Run the environment's Python in the project folder."""
    return subprocess.run([str(PYTHON), *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
