"""The seeds' HTTP routes and the run page over the same jobs. ``uvicorn dataflows.web:app`` starts it, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from dataflows.runs.runner import Outcome
    from dataflows.settings import Settings


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    # kept, since uvicorn asks twice: without that it would find the module of this name, which is imported by now
    made = globals()["app"] = _app_of_environment()
    return made


def _app_of_environment() -> FastAPI:
    """Make the app from the environment and the env file.

    On which address it listens is known to each connection only, so that decides who needs the token.

    Raises:
        SystemExit: a setting cannot be used; why is told by the server's own log.
    """
    import logging

    from dataflows.errors import DataflowsError, marked
    from dataflows.runs.logs import RunLog
    from dataflows.settings import load
    from dataflows.store.umask import close_to_others
    from dataflows.web.access import Access
    from dataflows.web.application import make_app
    from dataflows.web.context import ServerContext

    close_to_others()
    server = logging.getLogger("uvicorn.error")
    try:
        settings = load()
        access = Access(settings.run_token)
    except DataflowsError as error:
        server.error("%s\nhint: %s", marked(error.message, error.reason), error.hint)
        raise SystemExit(int(error.exit_code)) from None
    for warning in settings.warnings:
        server.warning("%s", warning)
    log = RunLog(settings.data_dir, "serve", level=settings.log_level, keep_days=settings.log_keep_days)
    return make_app(ServerContext(settings, access), log=log)


def opened_app(
    settings: Settings,
    watch: Mapping[str, float],
    on_outcome: Callable[[Outcome], None],
    *,
    local: bool,
    anonymous: bool,
) -> FastAPI:
    """Make the app of ``serve`` and open its journal.

    Args:
        watch: imports to run in the background, with the seconds from pass to pass.
        on_outcome: is called with every outcome, in the thread of its job.
        local: it listens to this machine alone.
        anonymous: whoever can connect is welcome.

    Raises:
        SettingUnusable, BadInput, ServiceDown: the token, the data folder or the journal cannot be used.
    """
    from dataflows.web.access import Access
    from dataflows.web.application import make_app
    from dataflows.web.context import ServerContext

    context = ServerContext(settings, Access(settings.run_token, local or anonymous, anonymous=anonymous), on_outcome)
    app = make_app(context, watch=watch)
    context.open()
    return app
