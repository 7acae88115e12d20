"""The token may stand in an address, where it belongs (of /files) and where it does not: no log shows it."""

from __future__ import annotations

import logging
from urllib.parse import quote, unquote

from dataflows.settings import Secret


def masked(text: str, token: Secret | None) -> str:
    """A text without the token."""
    return text if token is None else text.replace(token.reveal(), "***")


class _WithoutToken(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[Secret] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut what follows the ? out of a line of uvicorn.access (client, method, path, HTTP version, status)."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            record.args = (client, self._masked(str(method)), quote(self._masked(_address(path)), safe="/*"), *rest)
        return True

    def _masked(self, text: str) -> str:
        for token in self.tokens:
            text = masked(text, token)
        return text


def _address(path: object) -> str:
    return unquote(str(path).partition("?")[0])


class _Nothing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave everything out."""
        return False


_access, _asgi = _WithoutToken(), _Nothing()


def quiet_access_log(token: Secret | None) -> None:
    """Keep queries and the token out of the logs of a uvicorn that somebody else has started and set up."""
    if token is not None and token not in _access.tokens:
        _access.tokens.append(token)
    logging.getLogger("uvicorn.access").addFilter(_access)  # a second time changes nothing
    logging.getLogger("uvicorn.asgi").addFilter(_asgi)
