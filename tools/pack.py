"""Put what was built in dist/ into dist/release.zip, with SHA256SUMS: python tools/pack.py VERSION.

The same files give the same bytes: entries are in order, and all of the same time.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDES = (".env.example", "CHANGELOG.md", "LICENSE", "README.md")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write the archive; returns 0, or 1 when there is nothing to put into it."""
    [version] = arguments
    dist = root / "dist"
    built = [path for path in files(dist) if path.name != "release.zip"]
    if not built:
        print("pack: there is nothing in dist", file=sys.stderr)
        return 1
    named = {path.relative_to(dist).as_posix(): path for path in built}
    named |= {name: root / name for name in BESIDES} | {
        path.relative_to(root).as_posix(): path for path in files(root / "docs")
    }
    write(dist / "release.zip", f"dataflows-{version}", named)
    return 0


def write(archive: Path, folder: str, named: dict[str, Path]) -> None:
    """Write all files below one folder, and their checksums as sha256sum writes and checks them."""
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in sorted(named.items()))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, path in sorted(named.items()):
            target.writestr(entry(f"{folder}/{name}", 0o755 if os.access(path, os.X_OK) else 0o644), path.read_bytes())
        target.writestr(entry(f"{folder}/SHA256SUMS", 0o644), sums)
    print(f"{archive.name}: {len(named)} files, {archive.stat().st_size / 1e6:.1f} MB")


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    """The head of one file in the archive."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    return info


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder, links left out."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
