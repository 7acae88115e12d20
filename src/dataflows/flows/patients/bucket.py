"""The bucket, through Google's own client: list, download, delete, each bound to one generation.

Repeating is left to ``remote.retry``, certificates to ``remote.route``. Nothing of what the library raises is passed
on: its texts hold the object's name, which is a person's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dataflows.errors import AccessRefused, DataflowsError, SettingUnusable
from dataflows.flows.patients.failures import DELETE, GET, LIST, damaged, translated
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.route import shown

if TYPE_CHECKING:
    from google.cloud import storage

    from dataflows.settings import Settings

T = TypeVar("T")

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass(frozen=True, slots=True)
class Listed:
    """One object as the list shows it; ``moment`` is when this generation was made.

    What the list does not say, or says in no usable form: a generation of 0, a size of None, no checksum.
    """

    name: str
    generation: int
    size: int | None
    crc32c: str
    moment: datetime


class Deletion(Enum):
    """What became of a deletion: done now, gone already, or somebody put a new version there."""

    DONE = "done"
    GONE = "gone"
    REPLACED = "replaced"


class Vanished(DataflowsError):
    """This generation is not in the bucket any more: deleted, or replaced by a new version."""

    code = "vanished"


@dataclass(frozen=True)
class Keeping:
    """How long the bucket keeps what is deleted; None where the account may not know."""

    versioning: bool | None
    soft_delete_seconds: int | None


class Bucket:
    """One bucket. Every method raises ServiceDown, AccessRefused or SettingUnusable; none names an object.

    ``may_delete`` is asked before every attempt to delete, and raises what forbids it.
    """

    def __init__(self, settings: Settings, policy: RetryPolicy, may_delete: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self._policy = policy
        self._may_delete = may_delete or (lambda: None)
        self._timeout = (settings.http_connect_timeout_seconds, settings.http_timeout_seconds)
        self._client: storage.Client | None = None

    @property
    def where(self) -> str:
        """Host and port that are asked."""
        return shown(self._settings.storage_emulator_host or "https://storage.googleapis.com")

    def objects(self) -> list[Listed]:
        """Return all objects, oldest first."""
        return sorted(self._call(self._listed), key=lambda one: (one.moment, one.generation))

    def download(self, wanted: Listed) -> bytes:
        """Return the bytes of one generation, checked against the checksum of the list.

        Raises:
            Vanished: it is not there any more.
            Damaged: the bytes are wrong each time.
        """
        return self._call(partial(self._downloaded, wanted))

    def delete(self, name: str, generation: int) -> Deletion:
        """Delete one generation; a repeated delete whose first answer was lost finds it gone, which is as good."""
        return self._call(partial(self._deleted, name, generation))

    def rights(self) -> set[str]:
        """Which of the rights to list, get and delete this account has."""
        return self._call(self._granted)

    def keeping(self) -> Keeping:
        """Whether the bucket keeps what is deleted."""
        try:
            return self._call(self._kept)
        except AccessRefused:
            return Keeping(None, None)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # --- requests -----------------------------------------------------------------------------------------------------

    def _call(self, request: Callable[[], T]) -> T:
        def once() -> T:
            with translated(self._settings.gcs_bucket):
                return request()

        return self._policy.call(once, "the bucket")

    def _bucket(self) -> Any:
        if self._client is None:
            self._client = _client(self._settings)
        return self._client.bucket(self._settings.gcs_bucket)

    def _listed(self) -> list[Listed]:
        fields = "items(name,generation,size,crc32c,timeCreated,updated),nextPageToken"
        found = self._bucket().list_blobs(fields=fields, timeout=self._timeout, retry=None)
        return [_as_listed(one) for one in found]

    def _downloaded(self, wanted: Listed) -> bytes:
        data: bytes | None = None
        try:
            data = (
                self._bucket()
                .blob(wanted.name)
                .download_as_bytes(
                    if_generation_match=wanted.generation,
                    raw_download=True,  # the bytes as they are stored: the checksum is theirs
                    single_shot_download=True,
                    checksum="crc32c",
                    timeout=self._timeout,
                    retry=None,
                )
            )
        except _vanished():
            pass
        if data is None:
            raise Vanished("the object was deleted or replaced meanwhile")
        if wanted.crc32c and _crc32c(data) != wanted.crc32c:  # an answer without a checksum would pass the library
            raise damaged()
        return data

    def _deleted(self, name: str, generation: int) -> Deletion:
        from google.api_core import exceptions

        self._may_delete()
        try:
            self._bucket().blob(name).delete(if_generation_match=generation, timeout=self._timeout, retry=None)
        except exceptions.NotFound:
            return Deletion.GONE
        except exceptions.PreconditionFailed:
            return Deletion.REPLACED
        return Deletion.DONE

    def _granted(self) -> set[str]:
        return set(self._bucket().test_iam_permissions([LIST, GET, DELETE], timeout=self._timeout, retry=None))

    def _kept(self) -> Keeping:
        bucket = self._bucket()
        bucket.reload(timeout=self._timeout, retry=None)
        policy = bucket.soft_delete_policy
        return Keeping(bool(bucket.versioning_enabled), int(policy.retention_duration_seconds or 0) if policy else 0)


def _as_listed(one: Any) -> Listed:
    """An object of the list, whatever it is like: one that is odd must not keep the others from being imported."""
    return Listed(
        str(one.name or ""),
        _said(lambda: int(one.generation)) or 0,
        _said(lambda: int(one.size)),
        _said(lambda: str(one.crc32c or "")) or "",
        _said(lambda: one.time_created.astimezone(UTC)) or datetime.now(UTC),
    )


def _said(read: Callable[[], T]) -> T | None:
    """What the library makes of one detail; it raises for those that are of no known form."""
    try:
        return read()
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _client(settings: Settings) -> storage.Client:
    """The library's client over a session of ours: our certificates, and no repetition that nobody sees."""
    import requests
    from google.auth.transport.requests import AuthorizedSession, Request
    from google.cloud import storage

    credentials = _credentials(settings)
    trusting = _trusting(settings)
    renewal = requests.Session()
    renewal.mount("https://", trusting)
    session = AuthorizedSession(credentials, auth_request=Request(renewal))  # type: ignore[no-untyped-call]
    session.mount("https://", trusting)
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
    import google.auth
    from google.auth.credentials import AnonymousCredentials

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


def _trusting(settings: Settings) -> Any:
    """What lets a requests session trust what every other request of this program trusts."""
    from requests.adapters import HTTPAdapter

    from dataflows.remote import route

    context = route.trusted(settings.requests_ca_bundle)

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options, ssl_context=context)

        def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
            return super().proxy_manager_for(*arguments, **options, ssl_context=context)

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            super().cert_verify(conn, url, verify, cert)
            conn.ca_certs = conn.ca_cert_dir = None  # else requests would load its own list over ours

    return Trusting()


def _vanished() -> tuple[type[Exception], ...]:
    from google.api_core import exceptions

    return (exceptions.NotFound, exceptions.PreconditionFailed)


def _crc32c(data: bytes) -> str:
    import google_crc32c

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
