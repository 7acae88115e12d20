"""``test-db``, ``test-endpoint``, ``test-schema``: named checks; all run, each passes or says what to do.

What depends on a check that failed is reported as skipped. Nothing is changed anywhere, and no record is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from dataflows.checks.check import ENV_FILE, Check, env_file
from dataflows.checks.csc import check_csc, check_rules
from dataflows.checks.databases import check_practice
from dataflows.checks.imports import check_bucket, check_kafka, check_mail
from dataflows.checks.services import check_cqc, check_healthchecks, check_hospitals
from dataflows.checks.staging import check_columns, check_staging

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["DATABASES", "SERVICES", "Check", "Target", "check_all", "check_schema"]


class Target(NamedTuple):
    """A service or database. ``names``: settings of which one has to be set somewhere, else it is not asked for.

    Some have addresses that are built in; these are checked unasked only where somebody wrote a setting of theirs.
    """

    check: Callable[[Settings], Iterator[Check]]
    names: tuple[str, ...]
    file: str = ""
    """The embedded database in DATA_DIR that counts as asked for once it is there."""

    def is_wanted(self, settings: Settings) -> bool:
        """Whether the settings ask for it."""
        if self.file and (settings.data_dir / self.file).exists():
            return True
        return any(_is_set(settings, name) for name in self.names)


def _is_set(settings: Settings, name: str) -> bool:
    from dataflows.settings.table import families

    entries = next((field for field, family in families() if family.prefix == name), None)
    if entries is not None:
        return bool(getattr(settings, entries))
    return settings.origin(name) != "default" and getattr(settings, name.lower()) is not None


SERVICES: Mapping[str, Target] = {
    "csc": Target(check_csc, ("API_ENDPOINT", "TOKEN_ENDPOINT", "CLIENT_ID", "SUPPLIER_KEY")),
    "hospitals": Target(check_hospitals, ("EXTERNAL_API_BASE_URL",)),
    "cqc": Target(check_cqc, ("CQC_URL_",)),
    "bucket": Target(check_bucket, ("GCS_BUCKET", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST")),
    "mail": Target(check_mail, ("SMTP_HOST",)),
    "kafka": Target(check_kafka, ("KAFKA_BOOTSTRAP_SERVERS",)),
    "healthchecks": Target(check_healthchecks, ("HEALTHCHECK_URL_",)),
}
"""What ``test-endpoint`` checks."""

DATABASES: Mapping[str, Target] = {
    "staging": Target(check_staging, ("DB_CONNECTION_STRING",), "staging.db"),
    "practice": Target(check_practice, ("IMPORT_DATABASE_URL",), "practice.db"),
}
"""What ``test-db`` checks."""


def check_all(targets: Mapping[str, Target], settings: Settings) -> Iterator[Check]:
    """Check those of the targets that are asked for, each check under the name of its target; the others are skipped.

    Where none is, the first one is checked, which says what to set.
    """
    yield Check(ENV_FILE, True, env_file(settings))
    wanted = [name for name, target in targets.items() if target.is_wanted(settings)] or [next(iter(targets))]
    for name, target in targets.items():
        if name not in wanted:
            yield Check(name, None, f"not configured: no {' or '.join(map(_shown, target.names))}")
            continue
        for check in target.check(settings):
            if check.name != ENV_FILE:
                yield replace(check, name=f"{name}: {check.name}")


def _shown(name: str) -> str:
    return f"{name}..." if name.endswith("_") else name


def check_schema(settings: Settings) -> Iterator[Check]:
    """What ``test-schema`` checks: the rules of a child's record, and the columns and indexes of the staging table."""
    yield from check_rules(settings)
    yield from check_columns(settings)
