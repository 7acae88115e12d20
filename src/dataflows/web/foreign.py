"""The app for a server that somebody else starts: ``uvicorn dataflows.web:app``, the seeds' way."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from dataflows.errors import DataflowsError
from dataflows.runs.logs import RunLog
from dataflows.settings import load
from dataflows.store.umask import close_to_others
from dataflows.web.access import Access
from dataflows.web.application import make_app
from dataflows.web.desk import COMMAND, ServerContext


def app_of_environment() -> FastAPI:
    """Make the app from the environment and the env file.

    On which address it listens is known to each connection only, so that decides who needs the token.

    Raises:
        SystemExit: a setting cannot be used; why is told by the server's own log.
    """
    close_to_others()
    server = logging.getLogger("uvicorn.error")
    try:
        settings = load()
        access = Access(settings.run_token)
    except DataflowsError as error:
        server.error("%s\nhint: %s", error.message, error.hint)
        raise SystemExit(int(error.exit_code)) from None
    for warning in settings.warnings:
        server.warning("%s", warning)
    log = RunLog(settings.data_dir, COMMAND, level=settings.log_level, keep_days=settings.log_keep_days)
    return make_app(ServerContext(settings, access), log=log)
