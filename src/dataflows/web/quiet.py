"""uvicorn's own access log would show the token that stands in an address of /files."""

from __future__ import annotations

import logging


class _WithoutQuery(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Cut what follows the ? out of a line of uvicorn.access (client, method, path, HTTP version, status)."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            record.args = (client, method, str(path).partition("?")[0], *rest)
        return True


class _Nothing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave everything out."""
        return False


def quiet_access_log() -> None:
    """Keep queries out of the logs of a uvicorn that somebody else has started and set up."""
    for name, kind in (("uvicorn.access", _WithoutQuery), ("uvicorn.asgi", _Nothing)):
        logger = logging.getLogger(name)
        if not any(isinstance(one, kind) for one in logger.filters):
            logger.addFilter(kind())
