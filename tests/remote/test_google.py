"""Google's credentials are looked for within a time, and in our session alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from google.auth.exceptions import DefaultCredentialsError

from dataflows.remote import google
from dataflows.settings import Settings
from tests.remote.loopback import serving
from tests.remote.test_bounds import without_end


@pytest.mark.parametrize("how", ["interim", "slow headers", "drip"])
def test_a_machine_that_never_says_who_it_is_is_given_up(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google, "_LOOK_UP_SECONDS", 0.3)
    with serving(without_end(how)) as server:
        for name in ("GCE_METADATA_IP", "GCE_METADATA_HOST"):
            monkeypatch.setenv(name, server.url.removeprefix("http://"))
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        began = time.monotonic()
        with pytest.raises(DefaultCredentialsError):
            google.storage_client(Settings(data_dir=tmp_path), 1000)
        assert time.monotonic() - began < 10
