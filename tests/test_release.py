"""``release.sh`` in a clone of this project: what it writes, what it refuses, and that a dry run changes nothing."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a shell script"),
    pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="this is no git clone"),
]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a remote of its own, in which this tree's release tools are committed."""
    folder, remote = tmp_path / "clone", tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(tmp_path, "clone", "--quiet", "--no-tags", str(ROOT), str(folder))
    for name in ("release.sh", "tools/bump.py", "tools/pack.py", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    git(folder, "config", "user.name", "Synthetic Releaser")
    git(folder, "config", "user.email", "releaser@example.org")
    git(folder, "remote", "set-url", "origin", str(remote))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "as it stands")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def release(
    clone: Path, *arguments: str, checks: str = "true", python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python, "CHECKS": checks}
    return subprocess.run(
        ["bash", "release.sh", "--no-bundle", *arguments],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        # whoever runs the tests in the background may have had them ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def state(clone: Path) -> tuple[str, str, str]:
    return git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "tag")


def test_a_release_is_a_version_packages_checksums_and_a_tag(clone: Path) -> None:
    done = release(clone, "9.8.7")
    assert done.returncode == 0, done.stderr
    assert git(clone, "tag") == "v9.8.7"
    assert git(clone, "status", "--porcelain") == ""
    assert '__version__ = "9.8.7"' in (clone / "src" / "dataflows" / "__init__.py").read_text(encoding="utf-8")
    assert "## 9.8.7 (" in (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    with zipfile.ZipFile(clone / "dist" / "release.zip") as archive:
        sums = archive.read("dataflows-9.8.7/SHA256SUMS").decode().splitlines()
        named = {line.partition("  ")[2]: line.partition("  ")[0] for line in sums}
        assert {"dataflows-9.8.7-py3-none-any.whl", "dataflows-9.8.7.tar.gz", "CHANGELOG.md"} <= set(named)
        assert all(sha256(archive.read(f"dataflows-9.8.7/{name}")).hexdigest() == sum_ for name, sum_ in named.items())
    assert git(clone, "ls-remote", "origin") == ""  # nothing was pushed


def test_two_builds_of_one_commit_are_the_same_bytes(clone: Path, tmp_path: Path) -> None:
    another = tmp_path / "another"
    git(tmp_path, "clone", "--quiet", str(clone), str(another))
    for path in another.rglob("*"):
        if path.is_file() and ".git" not in path.parts:  # another day, another umask
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1_000_000_000, 1_000_000_000))
    one, two = build(clone, tmp_path / "one"), build(another, tmp_path / "two")
    assert sorted(path.suffix for path in one) == [".gz", ".whl"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def build(clone: Path, to: Path) -> list[Path]:
    """Build wheel and sdist into a folder outside the clone."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(to)], cwd=clone, check=True)
    return sorted(to.iterdir())


def test_the_sdist_has_every_file_of_the_project_and_the_wheel_the_program(clone: Path, tmp_path: Path) -> None:
    (clone / "patients.csv").write_text("what lies about does not travel", encoding="utf-8")
    wheel, sdist = sorted(build(clone, tmp_path / "built"), key=lambda path: path.suffix, reverse=True)
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert packed == {*git(clone, "ls-files").splitlines(), "PKG-INFO"}
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"api_pipeline", "dataflows"}


def test_with_push_the_commit_and_the_tag_arrive_together(clone: Path) -> None:
    assert release(clone, "--push", "minor").returncode == 0
    pushed = git(clone, "ls-remote", "origin")
    assert f"{git(clone, 'rev-parse', 'HEAD')}\trefs/heads/" in pushed
    assert f"refs/tags/{git(clone, 'tag')}" in pushed


@pytest.mark.parametrize(
    ("arguments", "checks", "told"),
    [
        (["--dry-run", "minor"], "true", "nothing was changed"),
        (["minor"], "false", "the checks are red"),
        (["0.0.1"], "true", "is not higher than"),
        (["soon"], "true", "is no version"),
        ([], "true", "--dry-run"),
        (["--forse", "minor"], "true", "no option --forse"),
    ],
)
def test_nothing_is_changed(clone: Path, arguments: list[str], checks: str, told: str) -> None:
    before = state(clone)
    done = release(clone, *arguments, checks=checks)
    assert told in done.stdout + done.stderr
    assert (done.returncode == 0) == ("--dry-run" in arguments)
    assert state(clone) == before
    assert not (clone / "dist").exists()


def test_a_tree_that_is_not_clean_is_refused(clone: Path) -> None:
    (clone / "new.txt").write_text("?", encoding="utf-8")
    done = release(clone, "minor")
    assert (done.returncode, "not clean" in done.stderr) == (1, True)


def test_when_a_step_fails_version_and_changelog_are_as_they_were(clone: Path) -> None:
    (clone / "tools" / "pack.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "a packer that fails")
    before = state(clone)
    done = release(clone, "minor")
    assert (done.returncode, "as they were" in done.stderr) == (1, True)
    assert state(clone) == before


def test_an_interrupted_release_leaves_version_and_changelog_as_they_were(clone: Path) -> None:
    (clone / "tools" / "pack.py").write_text("import os\nos.kill(os.getppid(), 2)\n", encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "somebody presses Ctrl-C meanwhile")
    before = state(clone)
    assert release(clone, "minor").returncode == 130
    assert state(clone) == before


def test_without_its_tools_nothing_begins(clone: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    done = release(clone, "minor", python=str(python))
    assert (done.returncode, "run first: python3 tools/dev.py test" in done.stderr) == (1, True)


def test_the_icon_has_a_picture_for_every_size() -> None:
    data = (ROOT / "packaging" / "dataflows.ico").read_bytes()
    assert len(data) < 20_000
    assert struct.unpack_from("<HHH", data) == (0, 1, 7)
    sizes = []
    for number in range(7):
        _, _, _, _, _, bits, length, place = struct.unpack_from("<BBBBHHII", data, 6 + 16 * number)
        assert (data[place : place + 8], bits) == (b"\x89PNG\r\n\x1a\n", 32)
        assert data[place : place + length].endswith(b"IEND\xaeB`\x82")
        sizes.append(struct.unpack_from(">II", data, place + 16))
    assert sizes == [(size, size) for size in (16, 24, 32, 48, 64, 128, 256)]


def test_the_icon_is_what_its_tool_draws() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "icon.py"))
    data = (ROOT / "packaging" / "dataflows.ico").read_bytes()
    length, place = struct.unpack_from("<II", data, 6 + 16 * 2 + 8)  # the third one, of 32 pixels
    compressed = data[place : place + length].partition(b"IDAT")[2]
    assert zlib.decompressobj().decompress(compressed) == tool["pixels"](32)  # zlibs differ, their pixels do not


def test_the_notes_of_a_version_are_what_the_changelog_says(tmp_path: Path) -> None:
    bump = runpy.run_path(str(ROOT / "tools" / "bump.py"))
    changes = "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2026-12-01)\n\n### Added\n\n- this\n\n"
    changes += "## 1.1.0 (2026-11-01)\n\n- that\n"
    assert bump["notes"](changes, "1.2.0") == "### Added\n\n- this"
    assert bump["notes"](changes, "1.1.0") == "- that"
    with pytest.raises(ValueError, match=r"nothing of 1\.3\.0"):
        bump["notes"](changes, "1.3.0")


def test_the_least_glibc_of_a_folder_of_programs(tmp_path: Path) -> None:
    needed = runpy.run_path(str(ROOT / "tools" / "glibc.py"))["needed"]
    with pytest.raises(ValueError, match="no program for Linux"):
        needed(tmp_path)
    (tmp_path / "old.so").write_bytes(b"\x7fELF\x00GLIBC_2.9\x00GLIBC_2.17\x00")
    (tmp_path / "new.so").write_bytes(b"\x7fELF\x00GLIBC_2.2.5\x00GLIBC_2.34\x00")
    (tmp_path / "note.txt").write_bytes(b"\x00GLIBC_2.99\x00")
    assert needed(tmp_path) == (2, 34)


def test_what_the_single_file_leaves_out_is_called_so() -> None:
    """A name of build_exe.spec that nothing bears would leave nothing out, without a word."""
    text = (ROOT / "build_exe.spec").read_text(encoding="utf-8")
    flows = re.search(r'"dataflows\.flows\.\{flow\}" for flow in \(([^)]*)\)', text)
    assert flows is not None
    names = [*re.findall(r'"(dataflows\.[\w.]+)"', text)]
    names += [f"dataflows.flows.{flow}" for flow in re.findall(r"\w+", flows[1])]
    assert len(names) > 5
    assert [name for name in names if not name.endswith(".ico") and find_spec(name) is None] == []
