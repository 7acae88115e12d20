"""``test-endpoint --target bucket``: the bucket of patient-import and the rights on it. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.errors import ExitCode

if TYPE_CHECKING:
    from dataflows.flows.practice.patients.bucket import BucketClient
    from dataflows.settings import Settings

_DAY = 86_400  # seconds


def check_bucket(settings: Settings) -> Iterator[Check]:
    """The bucket: can it be reached, may we list, get and delete, and does it keep what is deleted."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    yield Check("GCS_BUCKET", True, f"{settings.gcs_bucket}, from the {settings.origin('GCS_BUCKET')}")
    yield Check("credentials", True, _credentials(settings))
    with closing(_BucketCheck(settings)) as asked:
        yield attempt("connection", asked.connection)
        for right in ("list", "get", "delete"):
            yield attempt(right, partial(asked.right, right), "connection")
        yield attempt("what is deleted", asked.keeping, "connection")


class _BucketCheck:
    """The bucket, asked once each: a diagnosis says what is, and does not try again."""

    def __init__(self, settings: Settings) -> None:
        from dataflows.flows.practice.patients.bucket import BucketClient
        from dataflows.remote.retry import RetryPolicy

        once = RetryPolicy(attempts=1, deadline=settings.http_deadline_seconds, max_wait=0)
        self._bucket: BucketClient = BucketClient(settings, once)
        self._rights: set[str] = set()

    def connection(self) -> str:
        self._rights = self._bucket.rights()
        return f"{self._bucket.where} answers"

    def right(self, name: str) -> Check:
        right = f"storage.objects.{name}"
        if right in self._rights:
            return Check(name, True, f"{right} is granted")
        return Check(
            name, False, f"{right} is not granted", "give the account a role that has it", ExitCode.ACCESS_REFUSED
        )

    def keeping(self) -> Check:
        """Deleted is not gone where the bucket keeps versions, or deleted objects for some days."""
        found = self._bucket.keeping()
        if found.versioning is None:
            return Check(_DELETED, True, "the bucket's settings may not be read, so this is not known", _LOOK)
        kept = ["old versions (versioning is on)"] if found.versioning else []
        if found.soft_delete_seconds:
            kept.append(f"deleted objects for {found.soft_delete_seconds / _DAY:g} days (soft delete)")
        if kept:
            return Check(_DELETED, True, f"warning: the bucket keeps {' and '.join(kept)}", _LOOK)
        return Check(_DELETED, True, "is gone")

    def close(self) -> None:
        self._bucket.close()


_DELETED = "what is deleted"
_LOOK = "registrations hold personal data: switch versioning and soft delete off, or shorten what is kept"


def _credentials(settings: Settings) -> str:
    if settings.storage_emulator_host:
        return "none: STORAGE_EMULATOR_HOST names a stand-in"
    if settings.google_application_credentials:
        return f"the key file {settings.google_application_credentials}"
    return "what Google finds by itself"
