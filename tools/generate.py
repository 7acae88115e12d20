"""Write what follows from the code: .env.example, and in docs the pages on settings, exit codes, commands and
the practice database, and the messages on that of troubleshooting.

``python tools/generate.py`` writes them; with ``--check`` it writes nothing and fails when one is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reasons import troubleshooting_page
from reference import NOTE, commands_page, grid

from dataflows.errors import ExitCode
from dataflows.settings import Spec, template

ROOT = Path(__file__).resolve().parent.parent
_SETTINGS_INTRO = """\
# Settings

A flag takes precedence over the environment, the environment over the env file, the env file over the default.

The env file is the one named with `--env-file` (or in `DATAFLOWS_ENV_FILE`), else `.env` in the working folder (unless
that folder belongs to Windows, where Task Scheduler starts programs), else `.env` beside the exe. A relative `DATA_DIR`
is taken from the folder of that file; without one it is `%PROGRAMDATA%\\dataflows` on Windows and the user's data
folder elsewhere. A relative `--data-dir` is taken from the working folder.

Write values without quotes, or in single quotes: in double quotes a backslash has a special meaning. A comment
may follow a value after a blank and `#`, except after `DB_CONNECTION_STRING` and `IMPORT_DATABASE_URL`, whose lines are
used as they are. Empty values count as not set. An unknown key causes a warning, a key that looks misspelt is an
error.

*Required* names the command that does not run without a setting: it ends with 10, and says so. Without the others a
command runs as their default or meaning says. `dataflows init` asks for what is needed and writes the env file;
`dataflows config` shows all settings in force with their sources, and what each command still needs."""
REQUIRED = {
    "DB_CONNECTION_STRING": "csc-submit, unless `test-schema --create` made `staging.db`",
    "API_ENDPOINT": "csc-submit, `--dry-run` too",
    "LA_CODE": "csc-submit, `--dry-run` too; unless `API_ENDPOINT` ends in `/children`",
    **dict.fromkeys(("TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "SCOPE", "SUPPLIER_KEY"), "csc-submit"),
    "THERAPIST_IMPORT_DIR": "therapist-import, unless files or folders are named",
    "REPORT_EMAIL": "report, or `REPORT_URL`",
    "REPORT_URL": "report, or `REPORT_EMAIL`",
    "RUN_TOKEN": "serve, on any address but this machine's own",
}
"""Settings without which a command does not run: the command first, then when it does all the same."""
_SECRETS = """\
A setting that is a secret may say where it is kept. The reference itself is no secret: a scheduled task may carry it.

- `CLIENT_SECRET=keyring://dataflows/csc`: in the keyring of the account that runs the job, which is Credential Manager
  on Windows (1,280 characters at most), elsewhere what the system has (needs the extra `keyring`).
- `CLIENT_SECRET=file:///run/secrets/csc`: in a file that holds nothing else, on one line of UTF-8, 16 KiB at most.
  `file:///C:/dataflows/csc.txt` on Windows; `%25` stands for `%`.

`dataflows secrets set CLIENT_SECRET` asks for it without showing it (or reads stdin) and stores it where the setting
says; do it as the account that runs the job, as each account has a keyring of its own. Where that account of Windows
does not log on: `runas /user:LA\\svc-csc cmd`. Give the task its password: without one Windows keeps the credentials of
the account closed. As a managed account (gMSA) or SYSTEM nobody can log on: use a file there. Two authorities on one
machine take two names, such as `--to keyring://dataflows/la-998`. `dataflows config` fetches every secret that is kept
elsewhere and says which one is not there; other commands fetch what they send."""
_OPTIONS = """\
Every option of a command also has a variable, for the environment or the env file, whose name follows a rule:
`DATAFLOWS_<COMMAND>_<OPTION>`, such as `DATAFLOWS_CSC_SUBMIT_WORKERS`. It works like the option itself, so it
overrides a setting that means the same. [Commands](commands.md) lists them beside the options."""
_PRACTICE_INTRO = """\
# The practice database

`patient-import` and `therapist-import` share it: PostgreSQL, or SQLite as the embedded default (`IMPORT_DATABASE_URL`).
The program creates the tables, and upgrades them to the newest version (now {version}) at the start of each import;
the version is in the table `dataflows_practice_version`. The newest one is shown below, as PostgreSQL writes it.

Text columns have no length limit; limits are set by validation, so that both databases agree. Times are `timestamptz`
in PostgreSQL, and UTC as text in SQLite. Running numbers are `INTEGER PRIMARY KEY` in SQLite.

Give the program's account the right to create tables in its schema. Other programs may read what they like, and
write the operator's columns of `therapists`. `patient_consents` and `patient_registrations` are only added to, until
`dataflows person erase` deletes a person's rows.
`identity_key`, `email_key` and `name_key` are SHA-256 of what was normalised, so that no index holds a name."""


def env_example() -> str:
    """The text of .env.example: every setting, grouped by flow; those with a default are shown with it."""
    lines = [
        "# Settings of dataflows. Copy this file to .env and fill in your values.",
        "# A flag takes precedence over the environment, the environment over this file, this file over the default.",
        "# Write values without quotes. Lines that begin with # are comments; those that",
        "# hold a setting show its default.",
        "# This file was written by tools/generate.py from the code.",
    ]
    lines += template.lines({})
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """The text of docs/settings.md."""
    lines = [
        NOTE,
        "",
        _SETTINGS_INTRO,
    ]
    for flow, specs in template.by_flow():
        rows = [(f"`{s.name}`", _default(s), REQUIRED.get(s.name, ""), s.rule, s.meaning) for s in specs]
        rows += [(f"`{f.prefix}<NAME>`", "", "", f.rule, f.meaning) for f in template.families_of(flow)]
        lines += ["", f"## {flow}", "", *grid(("name", "default", "required", "value", "meaning"), rows)]
    lines += ["", "## Secrets from where they are kept", "", _SECRETS]
    lines += ["", "## Options as variables", "", _OPTIONS]
    return "\n".join(lines) + "\n"


def exit_codes_page() -> str:
    """The text of docs/exit-codes.md."""
    rows = [(str(int(code)), code.meaning) for code in ExitCode]
    lines = [
        NOTE,
        "",
        "# Exit codes",
        "",
        *grid(("code", "meaning"), rows),
        "",
        "When several apply, the first of these counts: 130, 12, 13, 10, 14, 4, 3, 0.",
        "",
        "Task Scheduler shows exit codes in hexadecimal: `0xA` is 10, `0xD` is 13, `0x82` is 130.",
    ]
    return "\n".join(lines) + "\n"


def _default(spec: Spec) -> str:
    return "" if spec.default is None else f"`{template.shown(spec.default)}`"


def practice_page() -> str:
    """The text of docs/practice-database.md."""
    import sqlalchemy as sa

    from dataflows.store.practice import migrate
    from dataflows.store.practice.tables import metadata

    kinds = [sa.make_url(url).get_dialect()() for url in ("postgresql+psycopg://", "sqlite://")]
    lines = [NOTE, "", _PRACTICE_INTRO.format(version=migrate.NEWEST)]
    for one in metadata.sorted_tables:
        rows = [
            (f"`{c.name}`", *(c.type.compile(dialect=kind) for kind in kinds), c.comment or "") for c in one.columns
        ]
        made = [str(sa.schema.CreateTable(one).compile(dialect=kinds[0])).strip()]
        for index in sorted(one.indexes, key=lambda index: str(index.name)):
            made.append(str(sa.schema.CreateIndex(index).compile(dialect=kinds[0])).strip())
        ddl = ";\n".join(made).replace("\t", "    ").replace(" \n", "\n")
        lines += ["", f"## {one.name}", "", *grid(("column", "PostgreSQL", "SQLite", "meaning"), rows)]
        lines += ["", "```sql", f"{ddl};", "```"]
    return "\n".join(lines) + "\n"


FILES = {
    ".env.example": env_example,
    "docs/settings.md": settings_page,
    "docs/exit-codes.md": exit_codes_page,
    "docs/commands.md": commands_page,
    "docs/troubleshooting.md": troubleshooting_page,
    "docs/practice-database.md": practice_page,
}


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` say which of them are out of date. Returns the exit code."""
    stale = []
    for name, text in FILES.items():
        path = ROOT / name
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        if current == text():
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(), encoding="utf-8", newline="\n")
    for name in stale:
        print(f"{name} is out of date: run python tools/generate.py" if "--check" in arguments else f"{name} written")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
