"""``--show``: the object behind a keyed hash, for an operator at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import WrongUsage
from dataflows.flows.practice.patients.bucket import BucketClient
from dataflows.flows.practice.patients.objects import files_in
from dataflows.flows.practice.patients.tracking import names
from dataflows.runs.keys import IdentifierCipher
from dataflows.store.practice.database import is_missing, open_engine, translated
from dataflows.store.practice.migrate import version_of

if TYPE_CHECKING:
    from dataflows.settings import Settings

_SHORTEST = 6  # digits; fewer could mean many


def behind(settings: Settings, wanted: str, folder: Path | None = None) -> list[str]:
    """Return the names whose keyed hash begins so: of objects that were ever seen, else of those in the bucket now.

    Args:
        folder: look at the names of these local copies instead.

    Raises:
        WrongUsage: it is no hash, or none of ours.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST},16}}", wanted.lower()):
        raise WrongUsage(
            "--show needs a hash, as given in mails and by `runs show`",
            reason="object-hash",
            hint="such as --show 3f9a0c1e77b2d845",
        )
    cipher = IdentifierCipher.of(settings.data_dir)
    for source in (_copies(folder), _tracked(settings), _in_the_bucket(settings, folder)):
        found = sorted({name for name in source if cipher.fingerprint(name).startswith(wanted.lower())})
        if found:
            return found
    raise WrongUsage(
        "no object matches this hash",
        reason="object-hash",
        hint="hashes are made with a key of the data folder: run this on the same machine with the same DATA_DIR",
    )


def _copies(folder: Path | None) -> Iterator[str]:
    if folder is not None:
        yield from (path.name for path in files_in(folder))


def _tracked(settings: Settings) -> Iterator[str]:
    if is_missing(settings):
        return
    engine = open_engine(settings)
    try:
        with translated():
            known = version_of(engine) is not None
        if known:
            yield from names(engine)
    finally:
        engine.dispose()


def _in_the_bucket(settings: Settings, folder: Path | None) -> Iterator[str]:
    if folder is None:
        with closing(BucketClient(settings)) as bucket:
            yield from (one.name for one in bucket.objects().objects)
