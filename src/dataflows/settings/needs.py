"""What each command cannot do without: the settings that have no default that would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflows.settings.table import (
    COMMON,
    CQC,
    CSC,
    HOSPITALS,
    HTTP,
    MAIL,
    PATIENTS,
    PRACTICE,
    SERVE,
    THERAPISTS,
    Settings,
)

_DATABASE = "DB_CONNECTION_STRING"
_TO_LOOK = (_DATABASE, "API_ENDPOINT", "LA_CODE")
NEEDS: Mapping[str, tuple[str, ...]] = {
    CSC: (*_TO_LOOK, "TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE", "SUPPLIER_KEY"),
    THERAPISTS: ("THERAPIST_IMPORT_DIR",),
}
"""By command; the others have a default for everything."""
UNLESS: Mapping[str, str] = {
    _DATABASE: "staging.db is in DATA_DIR",
    "LA_CODE": "API_ENDPOINT ends in /children",
    "THERAPIST_IMPORT_DIR": "files or folders are named with the command",
}
"""When a command can do without."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    CSC: (CSC,),
    HOSPITALS: (HOSPITALS,),
    CQC: (CQC,),
    PATIENTS: (PRACTICE, PATIENTS),
    THERAPISTS: (PRACTICE, THERAPISTS),
    SERVE: (SERVE,),
}
"""What can be set up, and which groups of settings belong to it."""
ASKED: Mapping[str, tuple[str, ...]] = {
    CSC: (
        *("DB_CONNECTION_STRING", "TABLE_NAME", "LA_CODE", "API_ENDPOINT", "TOKEN_ENDPOINT"),
        *("CLIENT_ID", "CLIENT_SECRET", "SCOPE", "SUPPLIER_KEY"),
    ),
    HOSPITALS: ("EXTERNAL_API_BASE_URL",),
    CQC: (),
    PATIENTS: ("IMPORT_DATABASE_URL", "GCS_BUCKET", "GOOGLE_APPLICATION_CREDENTIALS", "NOTIFY_EMAIL", "SMTP_HOST"),
    THERAPISTS: ("IMPORT_DATABASE_URL", "THERAPIST_IMPORT_DIR", "NOTIFY_EMAIL", "SMTP_HOST"),
    SERVE: ("RUN_TOKEN",),
}
"""What is asked for when it is set up; the rest has a default that will do at first."""


def lacking(settings: Settings, command: str, *, dry_run: bool = False) -> list[str]:
    """The settings that the command needs and that have no value, all at once; ``dry_run``: to send nothing."""
    needed = _TO_LOOK if dry_run and command == CSC else NEEDS.get(command, ())
    return [name for name in needed if getattr(settings, name.lower()) is None and not _spared(settings, name)]


def require(settings: Settings, command: str, *, dry_run: bool = False) -> None:
    """Make sure that a command has what it needs.

    Raises:
        SettingUnusable: something is missing; the message names all of it. A database alone is left to whoever opens
            it, who says how to try things out without.
    """
    missing = lacking(settings, command, dry_run=dry_run)
    if missing != [_DATABASE]:
        settings.require(*missing)


def _spared(settings: Settings, name: str) -> bool:
    if name == _DATABASE:
        return (settings.data_dir / "staging.db").exists()
    return name == "LA_CODE" and (settings.api_endpoint or "").rstrip("/").endswith("/children")


def groups_of(flows: Sequence[str]) -> list[str]:
    """The groups of settings that matter to these flows."""
    return [*(group for flow in flows for group in GROUPS[flow]), COMMON, HTTP, MAIL]
