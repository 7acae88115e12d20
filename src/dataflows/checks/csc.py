"""The CSC API (settings, way, token, whether it lets us in; no record is sent), and the rules of a child's record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import orjson

from dataflows.checks.check import ENV_FILE, Attempt, Check, LazySession, env_file, origin
from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable

if TYPE_CHECKING:
    from dataflows.settings import Settings

_FOR_TOKEN = ("TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE")
_NEEDED = (*_FOR_TOKEN, "API_ENDPOINT", "SUPPLIER_KEY")


def check_csc(settings: Settings) -> Iterator[Check]:
    """The CSC API: settings, the way to it, a token, and whether it lets us in (asked with an empty batch)."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    for name in _NEEDED:
        yield attempt(name, partial(origin, settings, name))
    with closing(_Endpoint(settings)) as endpoint:
        yield attempt("address", endpoint.address, "API_ENDPOINT")
        yield attempt("certificates", endpoint.line.certificates)
        yield attempt("connection", endpoint.connection, "address", "certificates")
        yield attempt("token", endpoint.token, *_FOR_TOKEN, "certificates")
        yield attempt("access", endpoint.access, "address", "SUPPLIER_KEY", "token")


class _Endpoint:
    """The CSC API and its token endpoint, asked once each: a diagnosis says what is, and does not try again."""

    def __init__(self, settings: Settings) -> None:
        self.line, self._to_tokens = LazySession(settings), LazySession(settings)
        self._settings = settings
        self._token = ""

    def address(self) -> str:
        from dataflows.flows.csc.receiver import children_url

        return children_url(self._settings)

    def connection(self) -> str:
        """Any answer will do. A HEAD request carries neither token nor key."""
        url = self.address()
        return self.line.way(url, self.line.ask("HEAD", url).seconds)

    def token(self) -> str:
        from dataflows.remote.oauth import TokenSource
        from dataflows.remote.retry import RetryPolicy

        once = RetryPolicy(attempts=1, deadline=self._settings.http_deadline_seconds, max_wait=0)
        source = TokenSource(self._settings, self._to_tokens.session, once)
        facts = source.describe()
        self._token = source.token()
        way = self._to_tokens.proxy(self._settings.token_endpoint or "")
        return f"tenant {facts.tenant}, scope {facts.scope}, good for {facts.expires_in // 60} minutes, {way}"

    def access(self) -> str:
        from dataflows.flows.csc.receiver import headers

        key = self._settings.supplier_key
        carried = headers(self._token, key.reveal() if key else "")
        reply = self.line.ask("POST", self.address(), carried, b"[]")
        if reply.status == 200 and not _is_the_api(reply.body):
            raise SettingUnusable(
                "API_ENDPOINT answers 200 with something that is not JSON",
                reason="csc-not-json",
                hint="check API_ENDPOINT; a proxy or a sign-in page may also be in between",
            )
        if reply.status in (200, 204, 400):
            return f"authorised: an empty batch was answered with {reply.status} in {1000 * reply.seconds:.0f} ms"
        raise _refusal(reply.status)

    def close(self) -> None:
        self.line.close()
        self._to_tokens.close()


def _is_the_api(body: bytes) -> bool:
    """Whether an answer 200 can be the API's: receipts in JSON, or nothing. A sign-in page also comes with 200."""
    if not body.strip():
        return True
    try:
        orjson.loads(body)
    except ValueError:
        return False
    return True


def _refusal(status: int) -> DataflowsError:
    text = f"the API answered {status} to an empty batch"
    if status == 401:
        return AccessRefused(
            text, reason="csc-access", hint="check SCOPE and SUPPLIER_KEY, and that DfE has admitted CLIENT_ID"
        )
    if status == 403:
        return AccessRefused(
            text, reason="csc-access", hint="check SUPPLIER_KEY and LA_CODE, and that DfE has admitted this supplier"
        )
    if status in (408, 429) or status >= 500:
        return ServiceDown(text, reason="csc-access", hint="run again later")
    return SettingUnusable(text, reason="csc-access", hint="check API_ENDPOINT and LA_CODE")


_SHOWN = 30


def check_rules(settings: Settings) -> Iterator[Check]:
    """The rules of a child's record."""
    yield Attempt()("attribute rules", partial(_rules, settings))


def _rules(settings: Settings) -> str:
    """Say which rules hold.

    Raises:
        SettingUnusable: the document that CSC_SCHEMA names cannot be used.
    """
    from dataflows.flows.csc.schema import built_in, differences, load_schema

    ours, schema = built_in(), load_schema(settings.csc_schema)
    if schema.source is None:
        return f"DfE's schema {schema.version}, built in"
    found = differences(ours, schema)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    differs = f"differs from the built-in {ours.version}: {'; '.join(found[:_SHOWN])}{more}"
    same = f"says the same as the built-in {ours.version}"
    return f"DfE's schema {schema.version} from {schema.source} {differs if found else same}"
