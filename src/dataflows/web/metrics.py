"""What Prometheus is told: the runs of the journal, whichever process ran them.

All are gauges: the journal forgets runs after RUNS_KEEP_DAYS, so no figure only grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import APIRouter, Depends, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from dataflows.runs.history import Latest, RunFigures, figures, latest
from dataflows.runs.journal import Journal
from dataflows.web.answers import responses
from dataflows.web.desk import AtDesk, as_usual

router = APIRouter(tags=["watching"], dependencies=[Depends(as_usual)])


@router.get(
    "/metrics", responses={200: {"content": {"text/plain": {}}}, **responses(401, 403, 500)}, response_class=Response
)
def metrics(desk: AtDesk) -> Response:
    """Runs, items and seconds by flow, in Prometheus' text format."""
    desk.see_what_died()
    return Response(exposition(desk.journal), media_type=CONTENT_TYPE_LATEST)


def exposition(journal: Journal) -> bytes:
    """The figures of the journal in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Runs(journal))
    return generate_latest(registry)


class _Runs(Collector):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found, last = figures(self._journal), latest(self._journal)
        yield from _kept(found)
        yield from _last(last)


def _kept(found: Iterable[RunFigures]) -> Iterator[GaugeMetricFamily]:
    runs = GaugeMetricFamily("dataflows_runs", "Runs in the journal.", labels=("command", "state"))
    items = GaugeMetricFamily("dataflows_items", "Items of those runs.", labels=("command", "run_state", "state"))
    seconds = GaugeMetricFamily("dataflows_runs_seconds", "What they took together.", labels=("command", "state"))
    for one in found:
        runs.add_metric((one.command, one.state), one.runs)
        seconds.add_metric((one.command, one.state), one.seconds)
        for state, count in one.items.items():
            items.add_metric((one.command, one.state, state), count)
    yield from (runs, items, seconds)


def _last(last: Iterable[Latest]) -> Iterator[GaugeMetricFamily]:
    ended = GaugeMetricFamily(
        "dataflows_last_run_end_timestamp_seconds", "When the latest ended run of a command ended.", labels=("command",)
    )
    code = GaugeMetricFamily("dataflows_last_run_exit_code", "How it ended.", labels=("command",))
    for one in last:
        ended.add_metric((one.command,), one.ended)
        code.add_metric((one.command,), one.exit_code)
    yield from (ended, code)
