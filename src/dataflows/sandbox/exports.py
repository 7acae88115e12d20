"""Made-up exports in CQC's two layouts, with what makes the real ones hard: quotes, line breaks, odd first letters.

Names say that they are synthetic, postcodes are of the area ZZ99 and telephone numbers of the range 01632 960, which
nobody has. The same numbers give the same records; each edition is a little different from the one before.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

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
