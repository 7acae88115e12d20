"""The app for a server that somebody else starts: ``uvicorn dataflows.web:app``, the seeds' way."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from dataflows.errors import DataflowsError
from dataflows.runs.logs import RunLog
from dataflows.settings import load
from dataflows.web.access import Access
from dataflows.web.application import make_app
from dataflows.web.desk import COMMAND, Desk


def app_of_environment() -> FastAPI:
    """Make the app from the environment and the env file.

    On which address it listens is known to each connection only, so that decides who needs the token.

    Raises:
        SystemExit: a setting cannot be used; why is told by the server's own log.
    """
    try:
        settings = load()
    except DataflowsError as error:
        logging.getLogger("uvicorn.error").error("%s\nhint: %s", error.message, error.hint)
        raise SystemExit(int(error.exit_code)) from None
    log = RunLog(settings.data_dir, COMMAND, level=settings.log_level, keep_days=settings.log_keep_days)
    return make_app(Desk(settings, Access(settings.run_token)), log=log)
