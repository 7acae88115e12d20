"""What Google's libraries raise, in an operator's words: their own texts hold the object's name, a person's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.remote.failures import Blocked
from dataflows.remote.retry import WORTH_ANOTHER_TRY, parse_retry_after

LIST, GET, DELETE = "storage.objects.list", "storage.objects.get", "storage.objects.delete"
"""The rights that the account needs on the bucket."""

_LIBRARIES = ("google", "requests", "urllib3", "json", "base64")  # what reads a bucket's answers
_LATER = "run again later; the objects stay in the bucket"


class Damaged(ServiceDown):
    """What arrived is not what the bucket says it holds (CRC32C)."""

    code = "damaged"


def is_closed(error: DataflowsError) -> bool:
    """Whether the way to the bucket is closed for every object, by something that waiting does not mend."""
    return isinstance(error, Blocked)


def damaged() -> Damaged:
    """The error for a download with another checksum than the bucket's."""
    return Damaged("a download does not match the bucket's checksum", reason="bucket-no-answer", hint=_LATER)


def unreadable() -> ServiceDown:
    """The error for an answer that is none of a bucket's."""
    return ServiceDown(
        "the bucket gave an unreadable answer",
        reason="bucket-no-answer",
        hint="check STORAGE_EMULATOR_HOST, or run again later",
    )


def endless() -> ServiceDown:
    """The error for a list that does not come to its end."""
    return ServiceDown("the bucket's list of objects never ends", reason="bucket-no-answer", hint=_LATER)


@contextmanager
def translated(bucket: str) -> Iterator[None]:
    """Turn what the libraries raise inside the block into one of our errors; a bug of ours stays what it is.

    Raises:
        ServiceDown: the bucket or Google's token service cannot be reached or cannot work now.
        AccessRefused: credentials or permission.
        SettingUnusable: no such bucket, no credentials.
    """
    try:
        yield
    except DataflowsError:
        raise
    except Exception as error:
        failure = _meaning(error, bucket)
        if failure is None:
            raise
        raise failure from None  # what led to it quotes the object's name


def _meaning(error: Exception, bucket: str) -> DataflowsError | None:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    if isinstance(error, GoogleAPICallError):
        return _by_status(int(error.code or 0), _wait(error), bucket)
    if isinstance(error, DataCorruption):
        return damaged()
    if isinstance(error, GoogleAuthError):
        return _of_credentials(error, bucket)
    return _of_the_library(error)


def _of_the_library(error: Exception) -> DataflowsError | None:
    import requests
    from urllib3.exceptions import HTTPError

    if isinstance(error, requests.exceptions.RequestException | HTTPError | OSError):
        return ServiceDown(
            "the bucket did not answer in time, or not completely", reason="bucket-no-answer", hint=_LATER
        )
    if isinstance(error, ValueError):
        return SettingUnusable(
            "the bucket's client cannot be set up", reason="bucket-refused", hint="check GCS_BUCKET and the credentials"
        )
    return unreadable() if _was_raised_by_others(error) else None


def _was_raised_by_others(error: Exception) -> bool:
    """Whether a library stumbled, as over an answer of the wrong shape: then it is no bug of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in _LIBRARIES


def _by_status(status: int, wait: float | None, bucket: str) -> DataflowsError:
    if status in (401, 403):
        return AccessRefused(
            f"the bucket answered {status}",
            reason="bucket-refused",
            hint=f"the account needs {LIST}, {GET} and {DELETE} on {bucket}: dataflows test-endpoint --target bucket",
        )
    if status == 404:
        return SettingUnusable(f"there is no bucket {bucket}", reason="bucket-refused", hint="check GCS_BUCKET")
    if status in WORTH_ANOTHER_TRY or status >= 500:
        return ServiceDown(f"the bucket answered {status}", reason="bucket-refused", hint=_LATER, wait=wait)
    return SettingUnusable(
        f"the bucket answered {status}", reason="bucket-refused", hint="check GCS_BUCKET and STORAGE_EMULATOR_HOST"
    )


def _of_credentials(error: Exception, bucket: str) -> DataflowsError:
    from google.auth import exceptions as auth

    if isinstance(error, auth.TransportError) or getattr(error, "retryable", False):
        return ServiceDown("Google's token service cannot be reached", reason="google-credentials", hint=_LATER)
    if isinstance(error, auth.InvalidOperation):  # a 401 to credentials that cannot be renewed
        return _by_status(401, None, bucket)
    if isinstance(error, auth.RefreshError):
        return AccessRefused(
            "Google does not accept the credentials",
            reason="google-credentials",
            hint="make a new key, or check the service account",
        )
    return SettingUnusable(
        "there are no usable Google credentials",
        reason="google-credentials",
        hint="let GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account",
    )


def _wait(error: Any) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return parse_retry_after(headers.get("Retry-After"), datetime.now(UTC).timestamp())
