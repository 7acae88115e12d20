"""Whether a file is a whole and right export, decided while it streams by and without a second pass.

The measure is the standard library's strict ``csv`` on the whole file. It costs 7 ms per MB, so most of the file takes
a shorter way: cut at its quotation marks, a block falls into parts outside and inside quotes, and if every mark stands
where a field begins or ends, the commas and line ends outside quotes are the separators. Where that cannot be shown
with ease (a stray mark, a blank or ragged line, a lone carriage return), ``csv`` itself reads the block.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller

from dataflows.errors import DataflowsError, ExitCode
from dataflows.flows.cqc.layout import Oddities, is_header, is_other_export
from dataflows.remote.download import BrokenOff

HEADER_WITHIN = 20
"""The header is looked for in so many lines from the top (the weekly directory has 4 lines above it)."""

LONGEST_RECORD = 256 * 1024
"""In bytes. A longer one means that a quotation mark is never closed; real records have under 10 KB."""

BLOCK = 64 * 1024
"""So many bytes are judged together, however small the pieces are in which they come."""

_LONGEST_TOP = 128 * 1024  # of the lines down to the header, in bytes
_STEPS_BACK = 64  # line ends inside quotes at the end of a block, before csv is asked
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n\xef\xbb\xbf"
_commas = methodcaller("count", b",")

csv.field_size_limit(LONGEST_RECORD)


class UnfitFile(DataflowsError):
    """The file came whole and is not what it should be; the same again would help nobody."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, code: str, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What a file holds: records below its header (ragged ones included), blank and ragged ones, its SHA-256.

    ``nameless`` rows have no identifier and are not records; ``headers`` are the places where the header stands again;
    ``is_twice``: all records come a second time.
    """

    rows: int
    blank: int
    ragged: int
    columns: tuple[str, ...]
    sha256: str
    nameless: int = 0
    headers: tuple[int, ...] = ()
    is_twice: bool = False


class Verifier:
    """Takes a file piece by piece. ``allow_ragged`` is how many records may have another width than the header,
    ``block`` how many bytes below it are judged together.

    ``take`` and ``finish`` raise UnfitFile for what another attempt would not mend, BrokenOff for a file that is cut.
    """

    def __init__(self, *, allow_ragged: int = 0, block: int = BLOCK) -> None:
        self.rows = self.blank = self.ragged = 0
        self._allow_ragged = allow_ragged
        self._digest = hashlib.sha256()
        self._block = block
        self._rest = b""  # what could not be judged yet
        self._new: list[bytes] = []  # what came since
        self._new_size = 0
        self._width = 0  # 0: the header was not seen yet
        self._odd: Oddities | None = None
        self._is_text = False

    @property
    def has_header(self) -> bool:
        """Whether the header was found in what was taken so far."""
        return self._width > 0

    def take(self, piece: bytes) -> None:
        """Look at the next bytes."""
        self._digest.update(piece)
        self._new.append(piece)
        self._new_size += len(piece)
        if self._width and self._new_size < self._block:
            return
        data = self._gathered()
        if not self._is_text:
            self._refuse_markup(data)
        if not self._width:
            data = self._below_header(data, last=False)
        if self._width:
            data = data[self._records(data) :]
            if len(data) > LONGEST_RECORD:
                raise UnfitFile(
                    "quotes",
                    f"a quotation mark near record {self._number()} is never closed",
                    reason="cqc-broken-record",
                )
        self._rest = data

    def finish(self) -> FileSummary:
        """Judge the end of the file, and the file as a whole."""
        data = self._gathered()
        if not self._width:
            data = self._below_header(data, last=True)
        data = data[self._records(data) :]
        self._read(data, last=True)
        if self.rows == 0:
            raise UnfitFile("empty", "the file has a header and no record below it", reason="cqc-incomplete")
        odd = self._odd
        assert odd is not None, "the header comes first"
        twice = odd.begins_again is not None and self.rows == 2 * odd.begins_again
        return FileSummary(
            self.rows, self.blank, self.ragged, tuple(odd.header), self._digest.hexdigest(),
            odd.nameless, tuple(odd.headers), twice,
        )  # fmt: skip

    def _gathered(self) -> bytes:
        data = b"".join((self._rest, *self._new))
        self._rest, self._new, self._new_size = b"", [], 0
        return data

    # --- the top ----------------------------------------------------------------------------------------------

    def _refuse_markup(self, data: bytes) -> None:
        text = data.lstrip(_SPACE)
        if text.startswith(b"<"):
            raise UnfitFile(
                "html",
                "the answer is an HTML page, not a CSV file",
                reason="cqc-not-csv",
                hint="open the address in a browser",
            )
        self._is_text = bool(text)

    def _below_header(self, data: bytes, *, last: bool) -> bytes:
        """Find the header and return what is below it; while it cannot be found yet, return everything."""
        end = len(data) if last else data.rfind(b"\n") + 1
        start = 0
        for _ in range(HEADER_WITHIN):
            record, used = _first_record(data[start : min(end, start + _LONGEST_TOP)])
            if is_header(record):
                _refuse_other_export(record)
                self._width = len(record)
                self._odd = Oddities(record, data[start : start + used].removeprefix(_BOM))
                return data[start + used :]
            start = data.find(b"\n", start, end) + 1 or end
        if last and not data.strip(_SPACE):
            raise BrokenOff("the file is empty", reason="cqc-incomplete", hint="try again later")
        if last or data.count(b"\n", 0, end) >= HEADER_WITHIN or len(data) > _LONGEST_TOP:
            raise UnfitFile(
                "header",
                f"no header with names and CQC ids within the first {HEADER_WITHIN} lines",
                reason="cqc-not-csv",
                hint="the address may serve something else, or the layout has changed: open it in a browser",
            )
        return data

    # --- the records ------------------------------------------------------------------------------------------

    def _records(self, data: bytes) -> int:
        """Count the records of ``data``, which begins with one; returns how many of its bytes were judged."""
        end = _last_line_end(data)
        first = self._begin(data) if end else False
        if end and (regular := _regular(data[:end], self._width)) is not None:
            rows, marked = regular
            if self._odd is not None and not self._odd.may_be_in(data[:end], marked, first=first):
                self.rows += rows
                return end
        return self._read(data[: end or data.rfind(b"\n") + 1], last=False)

    def _begin(self, data: bytes) -> bool:
        """Take note of the first record; returns whether ``data`` begins with it."""
        if self.rows or self._odd is None or self._odd.has_begun:
            return False
        record, used = _first_record(data)
        if len(record) == self._width:
            self._odd.begin(record, data[:used])
        return self._odd.has_begun

    def _read(self, block: bytes, *, last: bool) -> int:
        """Count records as ``csv`` sees them; returns where the last whole one ends."""
        lines = _Lines(block)
        reader = csv.reader(lines, strict=True)
        ended = 0
        while True:
            try:
                record = next(reader, None)
            except csv.Error as error:
                if lines.exhausted and "unexpected end" in str(error):
                    if last:
                        raise _cut("inside quotes") from None
                    return ended
                raise UnfitFile(
                    "quotes",
                    f"record {self._number()} has a misplaced quotation mark",
                    reason="cqc-broken-record",
                ) from None
            if record is None:
                return ended
            ended = lines.used
            if last and lines.open and len(record) != self._width and "".join(record).strip():
                raise _cut("inside a record")
            self._count(record)

    def _count(self, record: Sequence[str]) -> None:
        if len(record) != self._width:
            if not "".join(record).strip() and len(record) <= 1:
                self.blank += 1
                return
            if not "".join(record).strip() and self._odd is not None:
                self._odd.nameless += 1
                return
            self.ragged += 1
            if self.ragged > self._allow_ragged:
                raise UnfitFile(
                    "ragged",
                    f"record {self._number()} has {len(record)} columns and the header {self._width}",
                    reason="cqc-broken-record",
                    hint="open the file in a browser; --allow-ragged N accepts up to N such records",
                )
        elif self._odd is not None and self._odd.is_no_record(record, self.rows):
            return
        self.rows += 1

    def _number(self) -> int:
        return self.rows + self.blank + (self._odd.nameless if self._odd else 0) + 1


class _Lines(Iterator[str]):
    """The lines of a block for ``csv``, with a count of the bytes that were given out."""

    def __init__(self, block: bytes) -> None:
        self._lines = io.StringIO(block.decode("latin-1"), newline="")  # one character per byte
        self.used = 0
        self.exhausted = False
        self.open = False

    def __next__(self) -> str:
        line = self._lines.readline()
        if not line:
            self.exhausted = True
            raise StopIteration
        self.used += len(line)
        self.open = line[-1] not in "\r\n"
        return line


def _regular(block: bytes, width: int) -> tuple[int, bytes] | None:
    """How many rows a block of whole lines has, if it can be shown that all of them are ``width`` wide.

    Beside it the block, with a mark in the place of each quoted text that is not blank.
    """
    parts = block.split(b'"')
    outside = parts[::2]
    if len(parts) > 1:
        if len(parts) % 2 == 0 or not _at_edges(outside):
            return None
        parts[1::2] = [b'"' if text.strip() else b"" for text in parts[1::2]]
        block = b"".join(parts)
    if block.count(b"\r") != block.count(b"\r\n"):
        return None
    lines = block.split(b"\n")
    lines.pop()
    return (len(lines), block) if set(map(_commas, lines)) == {width - 1} else None


def _refuse_other_export(header: Sequence[str]) -> None:
    if is_other_export(header):
        raise UnfitFile(
            "layout",
            f"this is a different CQC export: most of its {len(header)} columns are neither the search's nor the"
            " directory's",
            reason="cqc-other-export",
            hint="check the address of the source: only the search export and the weekly directory are read",
        )


def _at_edges(outside: list[bytes]) -> bool:
    """Whether quotes open after a separator and close before one; an empty part is a doubled quote.

    The set is for files that quote every field: nearly all of their parts are the same comma.
    """
    if (outside[0] and outside[0][-1] not in b",\n") or outside[-1][:1] not in (b",", b"\r", b"\n"):
        return False
    return all(not part or (part[0] in b",\r\n" and part[-1] in b",\n") for part in set(outside[1:-1]))


def _last_line_end(data: bytes) -> int:
    """Where the last line ends that does not end inside quotes; 0 when none is found nearby."""
    end = data.rfind(b"\n") + 1
    marks = data.count(b'"', 0, end)
    for _ in range(_STEPS_BACK):
        if end == 0 or marks % 2 == 0:
            return end
        before = data.rfind(b"\n", 0, end - 1) + 1
        marks -= data.count(b'"', before, end)
        end = before
    return 0


def _first_record(text: bytes) -> tuple[list[str], int]:
    """The first record of a text, and how many bytes it takes; nothing where it is no record."""
    lines = _Lines(text.removeprefix(b"\xef\xbb\xbf"))
    try:
        record = next(csv.reader(lines, strict=True), [])
    except csv.Error:
        return [], 0
    return record, lines.used + (3 if text.startswith(b"\xef\xbb\xbf") else 0)


def _cut(where: str) -> BrokenOff:
    return BrokenOff(f"the file ends {where}", reason="cqc-incomplete", hint="try again later")
