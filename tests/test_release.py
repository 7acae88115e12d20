"""``release.sh`` in a clone of this project: what it writes, what it refuses, and that a dry run changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a shell script"),
    pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="this is no git clone"),
]
builds = pytest.mark.skipif(find_spec("hatchling") is None, reason='builds a wheel: pip install -e ".[release]"')


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


def release(clone: Path, *arguments: str, checks: str = "true") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "CHECKS": checks}
    return subprocess.run(
        ["bash", "release.sh", "--no-bundle", *arguments],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def state(clone: Path) -> tuple[str, str, str]:
    return git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "tag")


@builds
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


@builds
def test_two_builds_of_one_commit_are_the_same_bytes(clone: Path) -> None:
    built = []
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", name], cwd=clone, check=True)
        built.append({path.name: path.read_bytes() for path in (clone / name).iterdir()})
    assert len(built[0]) == 2
    assert built[0] == built[1]


@builds
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


@builds
def test_when_a_step_fails_version_and_changelog_are_as_they_were(clone: Path) -> None:
    (clone / "tools" / "pack.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    git(clone, "commit", "--quiet", "--all", "--message", "a packer that fails")
    before = state(clone)
    done = release(clone, "minor")
    assert (done.returncode, "as they were" in done.stderr) == (1, True)
    assert state(clone) == before
