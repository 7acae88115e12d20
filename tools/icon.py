"""Draw the icon of the Windows programs: python tools/icon.py writes packaging/dataflows.ico.

Two arrows that pass each other on a rounded square, what comes in and what goes out. Drawn from shapes at each size, so
that it is sharp from 16 to 256 pixels: edges lie on sixteenths.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

ICON = Path(__file__).resolve().parent.parent / "packaging" / "dataflows.ico"
SIZES = (16, 24, 32, 48, 64, 128, 256)
FINE = 4  # samples of one pixel in each direction
GROUND, FORTH, BACK = (0x1F, 0x4E, 0x5F), (0xFF, 0xFF, 0xFF), (0x8F, 0xD3, 0xC1)  # red, green, blue
Colour = tuple[int, int, int]


def main() -> int:
    """Write the icon."""
    ICON.write_bytes(icon())
    print(f"{ICON.name}: {len(SIZES)} sizes, {ICON.stat().st_size} bytes")
    return 0


def icon() -> bytes:
    """The whole file: a head, an entry for each size, the pictures."""
    pictures = [png(size) for size in SIZES]
    head = struct.pack("<HHH", 0, 1, len(SIZES))
    entries, place = b"", len(head) + 16 * len(SIZES)
    for size, picture in zip(SIZES, pictures, strict=True):
        entries += struct.pack("<BBBBHHII", size % 256, size % 256, 0, 0, 1, 32, len(picture), place)
        place += len(picture)
    return head + entries + b"".join(pictures)


def png(size: int) -> bytes:
    """The picture at one size, 32 bits a pixel."""
    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels(size), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def pixels(size: int) -> bytes:
    """The rows of a PNG, each behind the number of its filter (none)."""
    return b"".join(b"\0" + bytes(row(size, y)) for y in range(size))


def chunk(kind: bytes, data: bytes) -> bytes:
    """One part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def row(size: int, y: int) -> Iterator[int]:
    """Red, green, blue and opacity of each pixel of a row: the mean of its samples."""
    for x in range(size):
        seen = [
            colour((x + (i + 0.5) / FINE) / size, (y + (j + 0.5) / FINE) / size)
            for i in range(FINE)
            for j in range(FINE)
        ]
        inside = [one for one in seen if one is not None]
        for channel in range(3):
            yield round(sum(one[channel] for one in inside) / len(inside)) if inside else 0
        yield round(255 * len(inside) / len(seen))


def colour(x: float, y: float) -> Colour | None:
    """What is at a place of the picture (0 to 1, from the upper left); None outside."""
    if not is_in_square(x, y):
        return None
    shapes: tuple[tuple[Callable[[float, float], bool], Colour], ...] = (
        (lambda x, y: is_in_arrow(x, y - 5 / 16), FORTH),
        (lambda x, y: is_in_arrow(1 - x, y - 11 / 16), BACK),
    )
    return next((paint for is_in, paint in shapes if is_in(x, y)), GROUND)


def is_in_square(x: float, y: float, radius: float = 0.2) -> bool:
    """A square as large as the picture, with round corners."""
    across, down = max(abs(x - 0.5) - 0.5 + radius, 0), max(abs(y - 0.5) - 0.5 + radius, 0)
    return across * across + down * down <= radius * radius


def is_in_arrow(x: float, y: float) -> bool:
    """An arrow to the right around the line y = 0."""
    shaft = 3 / 16 <= x <= 10 / 16 and abs(y) <= 1 / 16
    head = 9 / 16 <= x <= 13 / 16 and abs(y) <= (13 / 16 - x) * 0.75
    return shaft or head


if __name__ == "__main__":
    sys.exit(main())
