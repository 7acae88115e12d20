"""The sources: their addresses, what is said when asking them, and what their answers mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflows.errors import AccessRefused, DataflowsError, ExitCode, WrongUsage
from dataflows.remote.download import DownloadLimits, DownloadResult, download
from dataflows.remote.route import shown

if TYPE_CHECKING:
    from dataflows.remote.session import Session
    from dataflows.settings import Settings

_SEARCH = (
    "https://www.cqc.org.uk/search/all?query=&location-query=&radius=&display=csv&sort=relevance&last-published=week"
    "&filters[]=archived:active{homes}&filters[]=lastPublished:all&filters[]=more_services:all"
    "&filters[]=overallRating:Not%20rated&filters[]=overallRating:Inadequate"
    "&filters[]=overallRating:Requires%20improvement&filters[]=services:{service}&filters[]=specialisms:all"
)
DEFAULTS: Mapping[str, str] = {
    "homecare": _SEARCH.format(homes="", service="homecare-agencies"),
    "carehomes": _SEARCH.format(homes="&filters[]=careHomes:all", service="care-home"),
}
"""The two exports that are fetched when nobody says otherwise."""

HEADERS: Mapping[str, str] = {
    "User-Agent": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"
        " (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
    ),
    "Accept": "text/csv,application/csv,application/octet-stream;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip",
}
"""CQC's site turns programs away that do not look like a browser."""


class Unavailable(DataflowsError):
    """The service answers, but has no file for us."""

    exit_code = ExitCode.SOME_FAILED
    code = "unavailable"


@dataclass(frozen=True, slots=True)
class ExportSource:
    """One export: its name (part of the file names) and its address."""

    name: str
    url: str


def configured(settings: Settings) -> dict[str, ExportSource]:
    """All sources by name: the two of CQC, and those of CQC_URL_<NAME>."""
    return {name: ExportSource(name, url) for name, url in {**DEFAULTS, **settings.cqc_urls}.items()}


def chosen(settings: Settings, names: Collection[str]) -> list[ExportSource]:
    """The sources of these names, each once; without names all of them.

    Raises:
        WrongUsage: there is no source of some name.
    """
    known = configured(settings)
    wanted = list(dict.fromkeys(name.lower() for name in names)) or list(known)
    for name in wanted:
        if name not in known:
            raise WrongUsage(
                f"there is no source {name!r}", hint=f"known are {', '.join(known)}; CQC_URL_{name.upper()} adds one"
            )
    return [known[name] for name in wanted]


def fetch(
    session: Session, source: ExportSource, take: Callable[[bytes], object], limits: DownloadLimits
) -> DownloadResult:
    """Get the file of a source once, its bytes handed to ``take``.

    Raises what ``download`` and ``take`` raise; AccessRefused and Unavailable for answers that bring no file.
    """
    arrival = download(session, source.url, take, headers=HEADERS, limits=limits)
    host = shown(source.url)
    if arrival.status in (401, 403):
        raise AccessRefused(
            f"{host} answered {arrival.status}: it takes us for a robot, or keeps this file to itself",
            hint="look at the address in a browser; asking less often can help",
        )
    if arrival.status != 200:
        raise Unavailable(f"{host} answered {arrival.status}", hint="check the address of the source")
    return arrival
