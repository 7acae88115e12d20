"""Files of the SQLite databases that a URL names: where they are, and that they are their owner's alone."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.store.files import files_of_sqlite, kept_from, of_another_account, private_file, private_folder, unusable


def file_of(url: sa.URL) -> Path | None:
    """The database file of a SQLite URL, also where it is written as ``file:...``; None for one in memory."""
    name = url.database or ""
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").partition("?")[0])
        name = f"/{name.lstrip('/')}" if name.startswith("//") else name  # an authority is empty, or refused by SQLite
    if not name or name.startswith(":memory:") or "memory" in str(url.query.get("mode", "")):
        return None
    return Path(name).absolute()


def watch_over(engine: sa.Engine, name: str, *, create: bool) -> None:
    """Make each connection of an engine find its file: made for its owner alone (``create``), or there already.

    ``name``: the setting that names the database. Without ``create`` a mistyped path leaves nothing behind.
    """
    path = file_of(engine.url)
    if path is None:
        return
    create = create and engine.url.query.get("mode", "rwc") == "rwc"  # a URL can say itself that nothing is made

    def before_connect(_dialect: Any, _record: Any, positional: list[Any], named: dict[str, Any]) -> None:
        if create:
            make(path)
        else:
            refuse_missing(path, name)
            if not str(positional[0]).startswith("file:"):  # whose own words say how it is opened
                positional[0] = "file:///" + quote(path.as_posix().removeprefix("/")) + "?mode=rw"
                named["uri"] = True

    sa.event.listen(engine, "do_connect", before_connect)


def make(path: Path) -> None:
    """Make a database file where there is none, and the folders on the way to it, for its owner alone.

    Raises:
        SettingUnusable: it cannot be made; ServiceDown: the disk is full.
    """
    try:
        if not os.path.lexists(path):  # to close a file would let go of the locks that SQLite has on it here
            private_file(private_folder(path.parent) / path.name)
        elif path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise unusable(path, error, "the database file", "name a local folder that this account may write") from None
    _refuse_foreign(path)


def refuse_missing(path: Path, name: str) -> None:
    """Raise SettingUnusable when a database file is not there, or is another account's and closed to this one."""
    _refuse_foreign(path)
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder may not be entered
        raise SettingUnusable(
            f"there is no database file {path}", reason="database-missing", hint=f"check {name}"
        ) from None


def open_to_all(path: Path) -> list[Path]:
    """What of a database every account of this machine can read or exchange: its files, and the folder of all.

    None on Windows, where a file has the rights of its folder.
    """
    if sys.platform == "win32" or not all(_mode(folder) & 0o001 for folder in path.parents):
        return []
    exchanged = _mode(path.parent) & 0o1002 == 0o002  # whoever may write into a folder may put another file there
    return [one for one in files_of_sqlite(path) if _mode(one) & 0o006] + [path.parent] * exchanged


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _refuse_foreign(path: Path) -> None:
    if not os.access(path, os.R_OK) and (found := kept_from(path)) is not None:
        raise of_another_account(found, "the database file") from None
