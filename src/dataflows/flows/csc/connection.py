"""Opens the CSC API: its connections, and a first token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dataflows.flows.csc.receiver import CscApi, RequestCounts, RequestPacer, children_url
from dataflows.remote.oauth import TokenSource
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session

if TYPE_CHECKING:
    from dataflows.events import Retrying
    from dataflows.flows.csc.schema import ChildSchema
    from dataflows.runs.runner import Run
    from dataflows.settings import Settings


def open_api(
    settings: Settings,
    run: Run,
    closing: ExitStack,
    *,
    workers: int,
    may_send: Callable[[], None],
    figures: RequestCounts,
    schema: ChildSchema,
) -> CscApi:
    """Return the CSC API, with a first token: access that is refused is known before anything is touched.

    Args:
        run: stops it, and is told of retries.
        closing: closes its connections.
        may_send, figures, schema: as of ``CscApi``.

    Raises:
        SettingUnusable: a setting of the API is missing.
        AccessRefused: the token endpoint does not accept our credentials.
        ServiceDown: it does not answer.
    """

    def retrying(event: Retrying) -> None:
        figures.retries += 1
        run.notify(event)

    settings.require("SUPPLIER_KEY", "TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE")
    session, for_tokens = (make_session(settings, count, run.stop.grace_is_over) for count in (workers, 1))
    closing.callback(session.close)
    closing.callback(for_tokens.close)
    policy = RetryPolicy.of(settings, stop=run.stop, on_retry=retrying)
    tokens = TokenSource(settings, for_tokens, policy)
    tokens.token()
    return CscApi(
        url=children_url(settings),
        supplier_key=settings.supplier_key.reveal() if settings.supplier_key else "",
        session=session,
        tokens=tokens,
        policy=policy,
        timeout=(settings.http_connect_timeout_seconds, settings.http_timeout_seconds),
        pace=RequestPacer(settings.csc_min_interval_ms / 1000, run.stop),
        may_send=may_send,
        figures=figures,
        schema=schema,
    )
