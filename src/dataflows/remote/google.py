"""Google's own client on our session: our certificates, proxies and bounds, no redirect, and no repetition unseen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import google.auth
from google.auth import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.remote.connections import Stopped
from dataflows.remote.session import Session

if TYPE_CHECKING:
    from dataflows.settings import Settings

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_LOOK_UP_SECONDS = 15.0
"""So long a machine of Google's is asked who it is: there it answers at once, and elsewhere nobody may be there."""


class GoogleSession(Session, AuthorizedSession):
    """Our session, with Google's credentials on every request."""


def storage_client(settings: Settings, size: int, broken_off: Callable[[], bool] | None = None) -> storage.Client:
    """The client of Cloud Storage for these settings; objects of up to ``size`` bytes can be downloaded.

    Tokens are asked for in a session of their own. Raises SettingUnusable for a key file that cannot be read, and
    what ``google.auth`` raises.
    """
    tokens = Session(settings, broken_off=broken_off)
    credentials = _credentials(settings, tokens)
    session = GoogleSession(
        settings,
        broken_off=broken_off,
        credentials=credentials,
        auth_request=Request(tokens),
    )
    session.adapter.largest = max(size, session.adapter.largest)
    endpoint = settings.storage_emulator_host
    client = storage.Client(
        project="none",  # objects are found by their bucket; a project would only be asked for to make one
        credentials=credentials,
        _http=session,
        client_options={"api_endpoint": endpoint.rstrip("/")} if endpoint else None,
    )
    vars(client)["_bucket_metadata_cache"] = None  # it asks for the bucket by itself, from a thread of its own
    return client


class _LookUp(Request):
    """What credentials are looked for with: our session, and an end to it all, which the library has not."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._until = time.monotonic() + _LOOK_UP_SECONDS

    def __call__(self, url: str, *args: Any, timeout: float = _LOOK_UP_SECONDS, **more: Any) -> Any:
        """Send a request. Raises TransportError, which is tried again, until there is no time left for it."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise exceptions.DefaultCredentialsError("nobody answers")  # type: ignore[no-untyped-call]
        try:
            return super().__call__(url, *args, **{**more, "timeout": min(timeout, left)})  # type: ignore[no-untyped-call]
        except Stopped:
            raise
        except ServiceDown as error:
            raise exceptions.TransportError(error.message) from None  # type: ignore[no-untyped-call]


def _credentials(settings: Settings, tokens: Session) -> Any:
    if settings.storage_emulator_host:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    path = settings.google_application_credentials
    if path is not None:
        try:
            return google.auth.load_credentials_from_file(str(path), scopes=[_SCOPE])[0]  # type: ignore[no-untyped-call]
        except OSError as error:  # of the file; a run would take it for a bucket that is away
            raise SettingUnusable(
                f"GOOGLE_APPLICATION_CREDENTIALS cannot be read ({error.strerror}): {path}",
                reason="google-credentials",
                hint="name the key file of a service account, and let this account read it",
            ) from None
    return google.auth.default(scopes=[_SCOPE], request=_LookUp(tokens))[0]
