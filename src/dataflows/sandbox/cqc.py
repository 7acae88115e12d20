"""The CQC's exports, made anew for each request from synthetic locations."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

from dataflows.sandbox.faults import Faults
from dataflows.sandbox.service import Answer, Request, Route, Service

SEARCH_COLUMNS = (
    "Name", "Address 1", "Address 2", "Town/City", "County", "Postcode", "Phone number",
    "CQC Provider ID (for office use only)", "CQC Location ID (for office use only)", "Website", "Local authority",
    "Region", "Report publication date", "URL", "Also known as", "Specialisms/services", "Service types",
    "Provider name",
)  # fmt: skip
DIRECTORY_COLUMNS = (
    "Name", "Also known as", "Address", "Postcode", "Phone number", "Service's website (if available)",
    "Service types", "Date of latest check", "Specialisms/services", "Provider name", "Local authority", "Region",
    "Location URL", "CQC Location (for office use only", "CQC Provider ID (for office use only)",
)  # fmt: skip
PREAMBLE = (
    "Synthetic care directory, made for rehearsals; no service in it exists",
    "Made up by the sandbox of dataflows",
    "",
    '"It imitates a file with four lines, above the header"',
)
"""What stands above the header of the weekly directory."""

NEW_PER_EDITION, GONE_PER_EDITION = 3, 2
"""How many records each edition gains at its end and loses at its beginning."""
CHANGED_EVERY = 20
"""Every so many-th record has another telephone number in each edition."""

_ODD = (
    "Synthetic",
    " Synthetic",
    "'Synthetic",
    "#Synthetic",
    "(Synthetic)",
    "=Synthetic",
    '"Synthetic"',
    "Synthetic, Ltd",
)
_SERVICES = {
    "homecare": "Homecare agencies",
    "carehomes": "Residential homes|Nursing homes",
    "directory": "Homecare agencies",
}


def text_of(source: str, rows: int, edition: int) -> str:
    """One export as CSV text, without BOM: ``directory`` in the weekly layout, every other in that of the search."""
    stream = io.StringIO()
    weekly = source == "directory"
    writer = csv.writer(stream, lineterminator="\r\n" if weekly else "\n")
    if weekly:
        stream.write("".join(f"{line}\r\n" for line in PREAMBLE))
    columns = DIRECTORY_COLUMNS if weekly else SEARCH_COLUMNS
    writer.writerow(columns)
    writer.writerows(_arranged(record, columns) for record in _records(source, rows, edition))
    return stream.getvalue()


def numbers_of(source: str, rows: int, edition: int) -> Sequence[int]:
    """The numbers of the records of an edition, in their order; a tenth of care homes are homecare agencies too."""
    first = rows - rows // 10 if source == "carehomes" else 0
    return range(first + GONE_PER_EDITION * (edition - 1), first + rows + NEW_PER_EDITION * (edition - 1))


def _records(source: str, rows: int, edition: int) -> Iterator[dict[str, str]]:
    for number in numbers_of(source, rows, edition):
        yield _record(number, edition, _SERVICES.get(source, "Homecare agencies"), source)


def _record(number: int, edition: int, services: str, source: str) -> dict[str, str]:
    name = f"{_ODD[number % len(_ODD)]} Care {number}"
    provider_itself = number % 25 == 24 and source != "directory"
    calls = edition if number % CHANGED_EVERY == 7 else 0
    return {
        "Name": name,
        "Also known as": "Synthetic\nin two lines" if number % 40 == 11 else "",
        "Address": f"{number % 90 + 1} Example Street, Sampletown, Sampleshire",
        "Address 1": f"{number % 90 + 1} Example Street",
        "Address 2": "Flat 2, Example House" if number % 5 == 0 else "",
        "Town/City": "Sampletown",
        "County": "Sampleshire",
        "Postcode": f"ZZ99 {number % 9 + 1}ZZ",
        "Phone number": f"01632 960{(number + 37 * calls) % 1000:03d}",
        "CQC Provider ID": f"1-99{number // 3:07d}",
        "CQC Location ID": "" if provider_itself else f"1-88{number:07d}",
        "CQC Location": f"1-88{number:07d}",
        "Website": f"https://www.example.org/{number}",
        "Service's website": f"https://www.example.org/{number}",
        "Local authority": "Sample Council",
        "Region": "South East",
        "Report publication date": "01/02/2026",
        "Date of latest check": "01/02/2026",
        "URL": f"https://www.example.org/location/{number}",
        "Location URL": f"https://www.example.org/location/{number}",
        "Specialisms/services": "Dementia|Caring for adults over 65 yrs, and under",
        "Service types": services,
        "Provider name": f"Synthetic Provider {number // 3}",
    }


def _arranged(record: dict[str, str], columns: Sequence[str]) -> list[str]:
    return [record[column.partition(" (")[0]] for column in columns]


SOURCES = ("homecare", "carehomes", "directory")

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Synthetic, please wait</title></head><body>a, b,\nc, d</body></html>\n"
_BOM = b"\xef\xbb\xbf"


@dataclass
class CqcFaults(Faults):
    """What the exports are like, and their faults.

    Attributes:
        rows: records of each source in its first edition.
        edition: raise it, and the exports are those of a later day: some records are new, gone and changed.
        content: the right file; an HTML page; a file with its header only; one record with a column too many or too
            few; a quotation mark that is never closed; columns of something else; nothing at all.
        content_next: so many answers are like that, then they are right again (0: all).
        content_type: what the header says, true or not.
        framing: with a declared length, in chunks, or by the end of the connection. ``cut_next`` and ``cut_share``
            break off any of them.
        gzip: packed for those who accept it. ``gzip_cut_next``: so many answers lack the end of the gzip stream while
            the framing around it is whole.
        bom, newline: begin with a byte order mark; line ends of the layout (empty), ``lf`` or ``crlf``.
        redirect_to: 302 to this address.
        bytes_per_second: how fast a body comes (0: at once).
    """

    rows: int = 400
    edition: int = 1
    content: str = field(
        default="right",
        metadata={"choices": ("right", "html", "header_only", "extra", "missing", "open_quote", "other", "empty")},
    )
    content_next: int = 0
    content_type: str = "text/csv; charset=UTF-8"
    framing: str = field(default="length", metadata={"choices": ("length", "chunked", "close")})
    gzip: bool = False
    gzip_cut_next: int = 0
    bom: bool = False
    newline: str = field(default="", metadata={"choices": ("", "lf", "crlf")})
    redirect_to: str = ""
    bytes_per_second: float = 0.0

    def next_content(self) -> str:
        """What the next answer carries; counts ``content_next`` down."""
        with self._lock:
            kind = self.content
            if self.content_next:
                self.content_next -= 1
                self.content = kind if self.content_next else "right"
            return kind

    def next_gzip_is_cut(self) -> bool:
        """Whether the next gzip stream lacks its end."""
        with self._lock:
            return self._take("gzip_cut_next")


class Cqc(Service):
    """Makes an export for each request."""

    name = "cqc"
    faults: CqcFaults

    def __init__(self, *, seed: int = 0, lean: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(CqcFaults(seed=seed, clock=clock), lean=lean)

    def routes(self) -> Iterable[Route]:
        """One path per source, whatever the query."""
        return [Route("GET", re.compile(rf"/cqc/(?P<source>{'|'.join(SOURCES)})\.csv"), self._export)]

    def export(self, source: str) -> bytes:
        """The right file of a source as it is now."""
        faults = self.faults
        text = text_of(source, faults.rows, faults.edition)
        if faults.newline:
            text = text.replace("\r\n", "\n").replace("\n", "\r\n" if faults.newline == "crlf" else "\n")
        return (_BOM if faults.bom else b"") + text.encode()

    def _export(self, request: Request) -> Answer:
        faults = self.faults
        if faults.redirect_to:
            return Answer(302, b"", "text/html", {"Location": faults.redirect_to})
        body = _spoilt(faults.next_content(), self.export(request.parts["source"]))
        headers = {
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
            "Date": formatdate(usegmt=True),
            "Last-Modified": "Sun, 01 Mar 2026 06:00:00 GMT",
        }
        if faults.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1, mtime=0)
            body = body[: len(body) // 2] if faults.next_gzip_is_cut() else body
        return Answer(
            200, body, faults.content_type, headers, framing=faults.framing, bytes_per_second=faults.bytes_per_second
        )


def _spoilt(content: str, body: bytes) -> bytes:
    """The file with what is wrong with it."""
    if content in ("extra", "missing", "open_quote"):
        return _spoilt_record(content, body)
    others = {
        "html": _PAGE,
        "header_only": _down_to_header(body),
        "other": b"synthetic,columns\nof,something\n",
        "empty": b"",
    }
    return others.get(content, body)


def _spoilt_record(content: str, body: bytes) -> bytes:
    """The last record of the file is spoilt, the line is ended as all others are."""
    end = b"\r\n" if body.endswith(b"\r\n") else b"\n"
    whole = body.removesuffix(end)
    start, last_comma = whole.rfind(b"\n") + 1, whole.rfind(b",")
    if content == "extra":
        return whole + b",synthetic" + end
    if content == "missing":
        return whole[:start] + b"synthetic,record" + end
    return whole[: last_comma + 1] + b'"synthetic' + end


def _down_to_header(body: bytes) -> bytes:
    begin = body.index(b"Name,")
    return body[: body.index(b"\n", begin) + 1]
