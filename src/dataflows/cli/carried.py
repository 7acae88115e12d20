"""What a scheduled job would miss: settings that stand only in the environment of the console. For ``schedule``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from dataflows.errors import SettingUnusable
from dataflows.settings import envfile
from dataflows.settings.table import (
    COMMON,
    CQC,
    CSC,
    HOSPITALS,
    HTTP,
    KAFKA,
    MAIL,
    PATIENTS,
    PRACTICE,
    THERAPISTS,
    families,
    table,
)

if TYPE_CHECKING:
    from dataflows.settings import Settings

_FOREIGN = (
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"),
)
"""Variables of other programs that the flows obey."""
_JOBS = (CSC, CQC, HOSPITALS, PATIENTS, THERAPISTS)


def carried_settings(settings: Settings, job: str, variables: Collection[str]) -> dict[str, str]:
    """Return what the job needs and no file says, by name.

    Args:
        settings: as they are in force here.
        job: the command to be scheduled; only what concerns it is looked at.
        variables: the names that stand for options of commands.

    Raises:
        SettingUnusable: secrets are among it: they are never written into a task, a unit or a crontab.
    """
    written = {name.upper(): value for name, value in _written(settings).items()}
    carried: dict[str, str] = {}
    secrets: list[str] = []
    for name, value, secret in _in_the_environment(settings, job, variables):
        if written.get(name) == value:
            continue
        if secret:
            secrets.append(name)
        else:
            carried[name] = value
    if secrets:
        raise SettingUnusable(
            f"only the environment of this console says {', '.join(secrets)}, and the job would start without",
            hint="write what is secret into the env file and name it: dataflows --env-file PATH schedule ...",
        )
    return _one_line_each(carried)


def _written(settings: Settings) -> dict[str, str]:
    return envfile.read(settings.env_file) if settings.env_file else {}


def _in_the_environment(settings: Settings, job: str, variables: Collection[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield name, value and whether it is a secret."""
    flows = _flows(job)
    environment = {name.upper(): value.strip() for name, value in os.environ.items() if value.strip()}
    for spec in table():
        if spec.flow in flows and spec.name in environment and spec.name != "DATA_DIR":
            value = getattr(settings, spec.name.lower())
            yield spec.name, str(value) if spec.kind == "path" else environment[spec.name], spec.secret
    prefix = f"DATAFLOWS_{job}_".replace("-", "_").upper()
    for name, value in environment.items():
        family = next((family for _, family in families() if family.entry(name)), None)
        if family is not None and family.flow in flows:
            yield name, value, family.secret
        elif name in _FOREIGN or (name in variables and name.startswith(prefix)):
            yield name, value, "@" in value and "PROXY" in name  # a proxy's address can hold a password


def _flows(job: str) -> frozenset[str]:
    """The flows whose settings a job may look at; a check may look at all."""
    if job not in _JOBS:
        return frozenset(spec.flow for spec in table()) | {family.flow for _, family in families()}
    imports = (PRACTICE, KAFKA) if job in (PATIENTS, THERAPISTS) else ()
    return frozenset({job, COMMON, HTTP, MAIL, *imports})


def _one_line_each(carried: dict[str, str]) -> dict[str, str]:
    for name, value in carried.items():
        if any(character < " " for character in value):
            raise SettingUnusable(
                f"{name} holds a line break or another control character", hint="write it into the env file instead"
            )
    return carried
