"""Print the least glibc that a folder of Linux programs needs, such as 2.35: python tools/glibc.py dist/dataflows.

Every ELF file names the versions of the symbols that it takes from glibc; the highest of them is what it needs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_VERSION = re.compile(rb"\x00GLIBC_(\d+)\.(\d+)(?=[.\x00])")


def needed(folder: Path) -> tuple[int, int]:
    """Return the highest version that any ELF file below a folder names.

    Raises:
        ValueError: there is no such file.
    """
    found = {
        (int(major), int(minor))
        for path in folder.rglob("*")
        if path.is_file() and (data := path.read_bytes()).startswith(b"\x7fELF")
        for major, minor in _VERSION.findall(data)
    }
    if not found:
        raise ValueError(f"no program for Linux in {folder}")
    return max(found)


if __name__ == "__main__":
    print("{}.{}".format(*needed(Path(sys.argv[1]))))
