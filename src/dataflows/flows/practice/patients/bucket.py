"""The bucket, through Google's own client: list, download, delete, each bound to one generation.

Repeating is left to ``remote.retry``, the wire to our session. Nothing of what the library raises is passed on: its
texts hold the object's name, which is a person's.
"""

from __future__ import annotations

import base64
import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown
from dataflows.flows.practice.patients.failures import (
    DELETE,
    GET,
    LIST,
    Damaged,
    damaged,
    endless,
    is_closed,
    translated,
    unreadable,
)  # fmt: skip
from dataflows.flows.practice.patients.objects import Deletion, ListedObject, ObjectListing, Vanished
from dataflows.flows.practice.values import moment_of
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.route import shown

if TYPE_CHECKING:
    from google.cloud import storage

    from dataflows.settings import Settings

T = TypeVar("T")

MOST = 50_000
"""Objects that one pass looks at: the oldest; what is left is for the next pass."""

_FIELDS = "kind,items(name,generation,size,crc32c,timeCreated),nextPageToken"
_LONGEST_NAME = 1024  # characters; the bucket's own limit, in bytes
_LARGEST_NUMBER = 2**63 - 1


@dataclass(frozen=True)
class Keeping:
    """How long the bucket keeps what is deleted; None where the account may not know."""

    versioning: bool | None
    soft_delete_seconds: int | None


class BucketClient:
    """One bucket. Every method raises ServiceDown, AccessRefused or SettingUnusable; none names an object.

    ``may_delete`` is asked before every attempt to delete, and raises what forbids it.
    """

    def __init__(
        self,
        settings: Settings,
        policy: RetryPolicy | None = None,
        may_delete: Callable[[], None] | None = None,
        broken_off: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._broken_off = broken_off
        self._policy = policy or RetryPolicy.of(settings)
        self._may_delete = may_delete or (lambda: None)
        self._timeout = (settings.http_connect_timeout_seconds, settings.http_timeout_seconds)
        self._client: storage.Client | None = None

    @property
    def where(self) -> str:
        """Host and port that are asked."""
        return shown(self._settings.storage_emulator_host or "https://storage.googleapis.com")

    def objects(self) -> ObjectListing:
        """Return the objects, oldest first, and not more than ``MOST``."""
        return self._call(self._listed)

    def download(self, wanted: ListedObject) -> bytes:
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
            from dataflows.remote.google import storage_client

            self._client = storage_client(self._settings, self._settings.patient_max_bytes, self._broken_off)
        return self._client.bucket(self._settings.gcs_bucket)

    def _listed(self) -> ObjectListing:
        found = heapq.nsmallest(MOST + 1, self._pages(), key=lambda one: (one.moment, one.generation))
        return ObjectListing(found[:MOST], len(found) <= MOST)

    def _pages(self) -> Iterator[ListedObject]:
        """Every object, page by page, each page checked for being one: a stranger's ``{}`` is no empty bucket."""
        until = time.monotonic() + self._settings.http_deadline_seconds
        listing = self._bucket().list_blobs(fields=_FIELDS, timeout=self._timeout, retry=None)
        before: object = None
        for page in listing.pages:
            raw = page.raw_page
            if raw.get("kind") != "storage#objects":
                raise unreadable()
            yield from (_read(one) for one in raw.get("items", ()))
            if listing.next_page_token is not None and (listing.next_page_token == before or time.monotonic() > until):
                raise endless()
            before = listing.next_page_token

    def _downloaded(self, wanted: ListedObject) -> bytes:
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
            raise Vanished("the object was deleted or replaced meanwhile", reason="object-gone")
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


class PatientBucket:
    """The bucket as a pass uses it: an object that it does not give waits for the next pass, and does not end this one.

    ``unanswered``: about how many objects in a row it gave no good answer.
    """

    def __init__(self, client: BucketClient) -> None:
        self._client = client
        self.unanswered = 0
        self._why: DataflowsError | None = None
        self._refused: AccessRefused | None = None

    def objects(self) -> ObjectListing:
        """As ``BucketClient.objects``."""
        return self._client.objects()

    def download(self, wanted: ListedObject) -> bytes | DataflowsError:
        """The bytes of an object, or why they cannot be had. Raises what concerns all objects."""
        return self._answered(lambda: self._client.download(wanted))

    def delete(self, wanted: ListedObject) -> Deletion | DataflowsError:
        """Delete an object; likewise."""
        return self._answered(lambda: self._client.delete(wanted.name, wanted.generation))

    def check(self) -> None:
        """Raise AccessRefused when it refused an object, ServiceDown when it gave no answer about the last one."""
        if self._refused is not None:
            raise self._refused
        if self.unanswered and self._why is not None:
            raise ServiceDown(
                f"the bucket does not answer ({self.unanswered} objects in a row): {self._why.message}",
                reason="bucket-no-answer",
                hint="nothing is lost: run the same command again later; dataflows test-endpoint --target bucket",
            )

    def _answered(self, request: Callable[[], T]) -> T | DataflowsError:
        try:
            found = request()
        except (Vanished, Damaged) as error:
            return error
        except (ServiceDown, AccessRefused) as error:
            if is_closed(error):
                raise
            self.unanswered += 1
            self._why = error
            self._refused = error if isinstance(error, AccessRefused) else self._refused  # it may hold this one only
            return error
        self.unanswered = 0
        return found


def _read(raw: Any) -> ListedObject:
    """One object of a list, judged alone: one that is odd must not keep the others from being imported.

    Raises ServiceDown for what is no object at all.
    """
    if not isinstance(raw, dict):
        raise unreadable()
    given, crc32c = raw.get("name"), raw.get("crc32c")
    name = given if isinstance(given, str) and len(given) <= _LONGEST_NAME else ""
    return ListedObject(
        name,
        (_number(raw.get("generation")) or 0) if name else 0,
        _number(raw.get("size")),
        crc32c if isinstance(crc32c, str) else "",
        moment_of(raw.get("timeCreated")) or datetime.now(UTC),
    )


def _number(given: Any) -> int | None:
    text = str(given)[:20]
    number = int(text) if text.isascii() and text.isdigit() else None
    return number if number is not None and number <= _LARGEST_NUMBER else None


def _vanished() -> tuple[type[Exception], ...]:
    from google.api_core import exceptions

    return (exceptions.NotFound, exceptions.PreconditionFailed)


def _crc32c(data: bytes) -> str:
    import google_crc32c

    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
