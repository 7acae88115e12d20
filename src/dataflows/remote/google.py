"""Google's own client on our session: our certificates, proxies and bounds, no redirect, and no repetition unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import google.auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage

from dataflows.errors import SettingUnusable
from dataflows.remote.session import Session

if TYPE_CHECKING:
    from dataflows.settings import Settings

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class GoogleSession(Session, AuthorizedSession):
    """Our session, with Google's credentials on every request."""


def storage_client(settings: Settings, size: int, broken_off: Callable[[], bool] | None = None) -> storage.Client:
    """The client of Cloud Storage for these settings; objects of up to ``size`` bytes can be downloaded.

    Tokens are asked for in a session of their own. Raises SettingUnusable for a key file that cannot be read, and
    what ``google.auth`` raises.
    """
    credentials = _credentials(settings)
    tokens = Session(settings, broken_off=broken_off)
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


def _credentials(settings: Settings) -> Any:
    if settings.storage_emulator_host:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    path = settings.google_application_credentials
    if path is not None:
        try:
            return google.auth.load_credentials_from_file(str(path), scopes=[_SCOPE])[0]  # type: ignore[no-untyped-call]
        except OSError as error:  # of the file; a run would take it for a bucket that is away
            raise SettingUnusable(
                f"GOOGLE_APPLICATION_CREDENTIALS cannot be read ({error.strerror}): {path}",
                hint="name the key file of a service account, and let this account read it",
            ) from None
    return google.auth.default(scopes=[_SCOPE])[0]
