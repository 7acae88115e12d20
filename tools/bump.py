"""Write a new version: into the package, and into the changelog, whose unreleased part becomes that version's.

python tools/bump.py [--show] major|minor|patch|X.Y.Z      --show only prints the new version
python tools/bump.py --current                             prints the present one
python tools/bump.py --notes                               prints what the changelog says of it
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_VERSION = re.compile(r"(?<=^__version__ = \")\d+\.\d+\.\d+(?=\"$)", re.MULTILINE)
_PLACES = ("major", "minor", "patch")
_UNRELEASED = "## Unreleased\n"


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Do it; returns 0, or 1 with a message when the wish cannot be fulfilled."""
    package, changelog = root / "src" / "dataflows" / "__init__.py", root / "CHANGELOG.md"
    if arguments == ["--current"]:
        print(current(package.read_text(encoding="utf-8")))
        return 0
    if arguments == ["--notes"]:
        try:
            print(notes(changelog.read_text(encoding="utf-8"), current(package.read_text(encoding="utf-8"))))
        except ValueError as error:
            print(f"bump: {error}", file=sys.stderr)
            return 1
        return 0
    wish = next((word for word in arguments if word != "--show"), "")
    try:
        source, changes = package.read_text(encoding="utf-8"), changelog.read_text(encoding="utf-8")
        new = bumped(current(source), wish)
        released = dated(changes, new, datetime.now(UTC).date())
    except ValueError as error:
        print(f"bump: {error}", file=sys.stderr)
        return 1
    print(new)
    if "--show" not in arguments:
        package.write_text(_VERSION.sub(new, source), encoding="utf-8", newline="\n")
        changelog.write_text(released, encoding="utf-8", newline="\n")
    return 0


def current(source: str) -> str:
    """The version in the text of the package."""
    found = _VERSION.search(source)
    if found is None:
        raise ValueError("the package says no version")
    return found[0]


def bumped(version: str, wish: str) -> str:
    """The version that is wished for; it has to be higher than the present one."""
    numbers = [int(number) for number in version.split(".")]
    if wish in _PLACES:
        place = _PLACES.index(wish)
        return ".".join(map(str, [*numbers[:place], numbers[place] + 1, 0, 0][:3]))
    if re.fullmatch(r"\d+\.\d+\.\d+", wish) is None:
        raise ValueError(f"{wish!r} is no version: major, minor, patch or X.Y.Z")
    if [int(number) for number in wish.split(".")] <= numbers:
        raise ValueError(f"{wish} is not higher than {version}")
    return wish


def notes(changes: str, version: str) -> str:
    """What the changelog says of a version, without its heading."""
    found = re.search(rf"^## {re.escape(version)} .*\n((?:.*\n)*?)(?=## |\Z)", changes, re.MULTILINE)
    if found is None:
        raise ValueError(f"the changelog says nothing of {version}")
    return found[1].strip()


def dated(changes: str, version: str, day: date) -> str:
    """The changelog with its unreleased part under the new version, and a new, empty one above."""
    before, heading, after = changes.partition(_UNRELEASED)
    unreleased = after.partition("\n## ")[0]
    if not heading or not unreleased.strip():
        raise ValueError("the changelog has nothing unreleased")
    return f"{before}{_UNRELEASED}\n## {version} ({day.isoformat()})\n{after}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
