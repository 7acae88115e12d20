"""The table of all settings: kind, default, meaning and flow of each, as the fields of one dataclass."""
# ruff: noqa: RUF009 - the helpers below return dataclass fields

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dataflows.errors import SettingUnusable

Kind = Literal["text", "secret", "address", "whole", "number", "switch", "choice", "path"]
Origin = Literal["flag", "environment", "env file", "default"]

CSC, CQC, HOSPITALS = "csc-submit", "cqc-fetch", "hospitals-bulk"
PATIENTS, THERAPISTS, PRACTICE = "patient-import", "therapist-import", "patient-import and therapist-import"
HTTP, COMMON = "every remote service", "every command"
MAIL, KAFKA = "mail and health checks", "events of the imports"
SERVE = "serve"


class Secret:
    """A text that never shows itself: ``str`` and ``repr`` are ``***``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that has to send it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One row of the table. ``rule`` says in words what a value has to be; the limits are inclusive."""

    name: str = ""
    """The name in the environment, such as ``BATCH_SIZE``."""
    kind: Kind
    flow: str
    meaning: str
    rule: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.kind == "secret"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Settings that share the beginning of their name; what follows it names an entry, such as a source."""

    prefix: str
    """What the names begin with, such as ``CQC_URL_``."""
    pattern: str
    """What may follow, in lower case."""
    flow: str
    meaning: str
    rule: str
    example: str
    secret: bool = False
    """Whether the values must never be shown."""

    def entry(self, name: str) -> str | None:
        """The entry that a setting's name stands for, in lower case; None when the name is not of this family."""
        lower = name.lower()
        rest = lower.removeprefix(self.prefix.lower())
        return rest if rest != lower and re.fullmatch(self.pattern, rest) else None


def _addresses(
    flow: str,
    meaning: str,
    *,
    prefix: str,
    example: str,
    pattern: str = r"[a-z0-9]+(_[a-z0-9]+)*",
    secret: bool = False,
) -> Any:
    family = Family(
        prefix=prefix,
        pattern=pattern,
        flow=flow,
        meaning=meaning,
        rule="an address with https:// (http:// only for this machine)",
        example=example,
        secret=secret,
    )
    return field(default_factory=dict, metadata={"family": family})


def _setting(kind: Kind, default: Any, flow: str, meaning: str, rule: str, **limits: Any) -> Any:
    spec = Spec(kind=kind, default=default, flow=flow, meaning=meaning, rule=rule, **limits)
    return field(default=default, metadata={"spec": spec})


def _text(
    flow: str, meaning: str, default: str | None = None, *, pattern: str | None = None, rule: str = "text"
) -> Any:
    return _setting("text", default, flow, meaning, rule, pattern=pattern)


def _secret(flow: str, meaning: str) -> Any:
    return _setting("secret", None, flow, meaning, "text")


def _address(flow: str, meaning: str, default: str | None = None) -> Any:
    return _setting("address", default, flow, meaning, "an address with https:// (http:// only for this machine)")


def _path(flow: str, meaning: str) -> Any:
    return _setting("path", None, flow, meaning, "a path")


def _switch(flow: str, meaning: str, default: bool) -> Any:
    return _setting("switch", default, flow, meaning, "true or false")


def _choice(flow: str, meaning: str, *choices: str, default: str) -> Any:
    return _setting("choice", default, flow, meaning, f"one of {', '.join(choices)}", choices=choices)


def _whole(flow: str, meaning: str, default: int | None, low: int, high: int) -> Any:
    return _setting("whole", default, flow, meaning, f"a whole number from {low} to {high}", low=low, high=high)


def _number(flow: str, meaning: str, default: float, low: float, high: float) -> Any:
    return _setting("number", default, flow, meaning, f"a number from {low:g} to {high:g}", low=low, high=high)


_MAILBOX = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$"
_BROKERS = r"^[A-Za-z0-9._-]+:\d{1,5}(,[A-Za-z0-9._-]+:\d{1,5})*$"
_NAME = (
    r"(\[[^\[\]]+\]|\"[^\"]+\"|[\w$#@-]+)"  # one part of a table's name, as SQL Server's own tools write it or plain
)
_TABLE_NAME = rf"^({_NAME}(\.{_NAME})?|{_NAME}\.{_NAME}?\.{_NAME})$"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run, checked. Secrets hide themselves, so a repr of this is harmless."""

    db_connection_string: Secret | None = _secret(
        CSC,
        "database with the staging table: a raw ODBC string or a SQLAlchemy URL; "
        "if not set, staging.db in DATA_DIR, if test-schema --create has created it",
    )
    table_name: str = _text(
        CSC,
        "the staging table, with its schema where it has one",
        "ssd_api_data_staging",
        pattern=_TABLE_NAME,
        rule="a table name, such as dbo.ssd_api_data_staging or [dbo].[ssd_api_data_staging]",
    )
    token_endpoint: str | None = _address(CSC, "OAuth2 token endpoint, as supplied by DfE")
    api_endpoint: str | None = _address(CSC, "address of the CSC API, as supplied by DfE")
    client_id: str | None = _text(CSC, "OAuth2 client id, as supplied by DfE")
    client_secret: Secret | None = _secret(CSC, "OAuth2 client secret, as supplied by DfE")
    scope: str | None = _text(CSC, "OAuth2 scope, as supplied by DfE; ends in .default")
    supplier_key: Secret | None = _secret(CSC, "supplier key, as supplied by DfE")
    la_code: str | None = _text(CSC, "code of the local authority", pattern=r"^[0-9]{3}$", rule="3 digits")
    batch_size: int = _whole(CSC, "children in one request", 100, 1, 100)
    use_partial_payload: bool = _switch(
        CSC, "send only what changed where that is safe; false sends every changed child whole", True
    )
    csc_schema: Path | None = _path(
        CSC, "file with another version of DfE's schema, their openapi.json; if not set, the built-in rules of 1.0.1"
    )
    csc_reset: str = _choice(
        CSC,
        "what is purged and sent again when a field vanished: the object around it, the child, or nothing",
        *("object", "child", "never"),
        default="object",
    )
    csc_max_delete_percent: float = _number(
        CSC, "share of the children that one run may purge, in percent", 5.0, 0, 100
    )
    csc_min_interval_ms: int = _whole(CSC, "shortest time between two requests, in milliseconds", 0, 0, 60_000)
    csc_workers: int = _whole(CSC, "requests under way at the same time", 4, 1, 32)
    cqc_urls: Mapping[str, str] = _addresses(
        CQC,
        "address of a source: a different one for homecare or carehomes, or an additional source",
        prefix="CQC_URL_",
        example="CQC_URL_DIRECTORY=https://www.example.org/directory.csv",
    )
    cqc_deadline_seconds: float = _number(
        CQC, "total time for one file, all attempts and waits included", 900.0, 0.1, 86_400
    )
    cqc_retries: int = _whole(CQC, "how often a download is retried from the start", 5, 0, 100)
    cqc_max_bytes: int = _whole(CQC, "largest file that is accepted, in bytes", 500_000_000, 1, 100_000_000_000)
    cqc_keep_days: int = _whole(
        CQC, "days after which a download is removed, but never the newest good one; 0 keeps all", 30, 0, 36_500
    )
    external_api_base_url: str | None = _address(
        HOSPITALS, "address of the Hospital Directory", "https://hospital-directory.onrender.com"
    )
    max_concurrent_requests: int = _whole(HOSPITALS, "creates under way at the same time", 20, 1, 32)
    max_csv_size: int = _whole(
        HOSPITALS, "the most rows a file may have; 0: as many as the Directory keeps", 20, 0, 10_000
    )
    hospitals_creates_per_minute: int = _whole(
        HOSPITALS, "most creates in one window, shared by all processes of this machine; 0: no limit", 30, 0, 100_000
    )
    hospitals_window_seconds: float = _number(
        HOSPITALS, "length of that window, and the wait after a 429; longer than the Directory's 60", 62.0, 0.1, 3600
    )
    hospitals_settle_seconds: float = _number(
        HOSPITALS,
        "how long an unanswered create may still take effect; longer where creates take longer",
        30.0,
        0.1,
        3600,
    )
    hospitals_look_every_seconds: float = _number(
        HOSPITALS, "average time between two checks of the same batch", 2.0, 0.01, 60
    )
    hospitals_wake_seconds: float = _number(HOSPITALS, "how long the Directory may need to wake up", 90.0, 0.1, 3600)
    import_database_url: Secret | None = _secret(
        PRACTICE,
        "database of patients and therapists, such as postgresql+psycopg://user:password@host/database; "
        "if not set, practice.db in DATA_DIR",
    )
    gcs_bucket: str = _text(
        PATIENTS,
        "the bucket that registrations arrive in",
        "curavani-production-data-transfer",
        pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$",
        rule="a bucket name: lower-case letters, digits, dashes, dots",
    )
    google_application_credentials: Path | None = _path(
        PATIENTS, "file with the key of a Google service account; if not set, Google's default credentials"
    )
    storage_emulator_host: str | None = _address(
        PATIENTS, "address of a stand-in for Google Cloud Storage, such as the sandbox; credentials are then not used"
    )
    patient_backup_dir: Path | None = _path(
        PATIENTS, "folder of the local copies; by default patient_imports in DATA_DIR. It holds personal data"
    )
    patient_max_bytes: int = _whole(
        PATIENTS, "largest registration that is accepted, in bytes", 5 * 1024 * 1024, 1, 1_000_000_000
    )
    patient_keep_days: int = _whole(
        PATIENTS,
        "days after which the local copy of a registration is removed, in quarantine too; 0 keeps all for good",
        *(0, 0, 36_500),
    )
    therapist_import_dir: Path | None = _path(
        THERAPISTS, "folder with the scraper's files, named by ZIP code, also in dated folders; they are kept there"
    )
    therapist_settle_seconds: float = _number(
        THERAPISTS, "how long a file must not have changed before it counts, in seconds", 5.0, 0, 3600
    )
    smtp_host: str | None = _text(
        MAIL,
        "mail server for the imports' messages; if not set, they are written to outbox in DATA_DIR as .eml",
        pattern=r"^[A-Za-z0-9.:_-]+$",
        rule="a host name or address",
    )
    smtp_port: int = _whole(MAIL, "port of the mail server; 465 means TLS from the first byte", 587, 1, 65_535)
    smtp_user: str | None = _text(MAIL, "user name for the mail server; if not set, there is no login")
    smtp_password: Secret | None = _secret(MAIL, "password of SMTP_USER")
    smtp_starttls: bool = _switch(
        MAIL, "encrypt with STARTTLS; nothing is sent to a server that does not offer it", True
    )
    mail_from: str | None = _text(
        MAIL, "sender of the messages; by default NOTIFY_EMAIL", pattern=_MAILBOX, rule="an e-mail address"
    )
    notify_email: str = _text(
        MAIL, "who is notified of failures", "info@curavani.com", pattern=_MAILBOX, rule="an e-mail address"
    )
    report_email: str | None = _text(
        MAIL, "who gets the report on all jobs of the night", pattern=_MAILBOX, rule="an e-mail address"
    )
    report_when: str = _choice(
        MAIL, "whether a report is sent when all is well", "always", "problems", "never", default="always"
    )
    report_url: Secret | None = _secret(MAIL, "webhook that gets the report as JSON; it is a secret")
    console_url: str | None = _address(MAIL, "where people open the pages of serve; the report names it")
    kafka_bootstrap_servers: str | None = _text(
        KAFKA,
        "brokers that events are published to (needs the extra kafka); if not set, events stay in the outbox table",
        pattern=_BROKERS,
        rule="host:port, several with commas between them",
    )
    outbox_keep_days: int = _whole(
        KAFKA, "days after which an event that nobody published loses what it says of a person", 30, 1, 3650
    )
    healthcheck_urls: Mapping[str, Secret] = _addresses(
        MAIL,
        "address that is called when a command starts (/start), succeeds or fails (/fail), "
        "as at healthchecks.io; it is a secret",
        prefix="HEALTHCHECK_URL_",
        pattern="cqc_fetch|hospitals_bulk|patient_import|therapist_import|csc_submit",
        example="HEALTHCHECK_URL_PATIENT_IMPORT=https://hc.example.org/ping/...",
        secret=True,
    )
    run_token: Secret | None = _secret(
        SERVE, "token that callers have to send; without it only this machine is served, and /run and /files not at all"
    )
    app_host: str = _text(
        SERVE,
        "address to listen on; any but this machine's own needs RUN_TOKEN",
        "127.0.0.1",
        pattern=r"^[A-Za-z0-9.:_-]+$",
        rule="a host name or address",
    )
    app_port: int | None = _whole(SERVE, "port to listen on; if not set, PORT, else 8000", None, 0, 65_535)
    port: int | None = _whole(SERVE, "the same, as hosting services set it", None, 0, 65_535)
    upload_max_bytes: int = _whole(
        SERVE, "largest upload that is accepted, in bytes", 10 * 1024 * 1024, 1024, 1_000_000_000
    )
    http_timeout_seconds: float = _number(
        HTTP, "how long a request may take, from its first byte out to the last byte in", 30.0, 0.1, 3600
    )
    http_connect_timeout_seconds: float = _number(HTTP, "how long to wait for a connection", 10.0, 0.1, 600)
    http_attempts: int = _whole(HTTP, "attempts per request, the first one included", 8, 1, 100)
    http_deadline_seconds: float = _number(
        HTTP, "total time for one item, all attempts and waits included", 300.0, 0.1, 86_400
    )
    http_max_wait_seconds: float = _number(
        HTTP, "longest wait between two attempts, also when the service asks for more", 60.0, 0, 3600
    )
    requests_ca_bundle: Path | None = _path(HTTP, "file with the certificates of a private certificate authority")
    data_dir: Path = _path(COMMON, "folder for journal, locks and logs; on a local disk, never on a network share")
    debug: bool = _switch(COMMON, "true means LOG_LEVEL=debug; it never logs more data", False)
    log_level: str = _choice(
        COMMON, "how much goes into the log files", "debug", "info", "warning", "error", default="info"
    )
    log_keep_days: int = _whole(COMMON, "days after which a log file is removed", 30, 1, 3650)
    runs_keep_days: int = _whole(COMMON, "days after which an ended run leaves the journal", 90, 1, 3650)

    env_file: Path | None = None
    """The env file that was read."""
    warnings: tuple[str, ...] = ()
    """What an operator should know about the env file, such as a key that nothing reads."""
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False)

    def origin(self, name: str) -> Origin:
        """Where the value of a setting (``"TABLE_NAME"``) came from."""
        return self.origins.get(name.lower(), "default")

    def require(self, *names: str) -> None:
        """Make sure that these settings have a value.

        Raises:
            SettingUnusable: one or more have none; the message names all of them.
        """
        missing = [name for name in names if getattr(self, name.lower()) is None]
        if missing:
            place = f"add to {self.env_file}" if self.env_file else "put into a .env file or into the environment"
            raise SettingUnusable(
                f"{_join(missing)} {'is' if len(missing) == 1 else 'are'} not set",
                reason="setting-missing",
                hint=f"{place}; to see what is in force: dataflows config",
            )


@cache
def table() -> tuple[Spec, ...]:
    """All settings, in the order in which they are documented."""
    return tuple(
        dataclasses.replace(item.metadata["spec"], name=item.name.upper())
        for item in dataclasses.fields(Settings)
        if "spec" in item.metadata
    )


@cache
def families() -> tuple[tuple[str, Family], ...]:
    """All families of settings, each with the field that holds its values by entry."""
    return tuple(
        (item.name, item.metadata["family"]) for item in dataclasses.fields(Settings) if "family" in item.metadata
    )


def fields_of(values: Mapping[str, object]) -> dict[str, Any]:
    """The fields of ``Settings`` for values by environment name: families are gathered, secrets hidden."""
    secrets = {spec.name for spec in table() if spec.secret}
    found: dict[str, Any] = {}
    for name, value in values.items():
        homes = [(field_name, entry) for field_name, family in families() if (entry := family.entry(name))]
        if homes:
            [(field_name, entry)] = homes
            hidden = any(family.secret for name, family in families() if name == field_name)
            found.setdefault(field_name, {})[entry] = Secret(str(value)) if hidden else value
        else:
            found[name.lower()] = Secret(str(value)) if name in secrets else value
    return found


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
