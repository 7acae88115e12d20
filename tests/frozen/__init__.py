"""The data folder that the last release left after its demo: journal, key, staging table, practice database, files.

`data_folder_0_1.zip` is never changed. All data in it is synthetic. The databases are in it as SQL; ``{data}`` stands
for the folder and ``{port}`` for that of the sandbox, since journals name tables and services by their addresses.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

ZIP = Path(__file__).parent / "data_folder_0_1.zip"
RELEASE_RUNS = 15


def thaw(folder: Path, port: int) -> None:
    """Unpack it into an empty folder, for a sandbox at that port."""
    with ZipFile(ZIP) as frozen:
        for name in frozen.namelist():
            _place(folder / name, frozen.read(name), {"{data}": folder.as_posix(), "{port}": str(port)})


def _place(path: Path, content: bytes, words: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".sql" or path.parent.name == "batches":
        text = content.decode()
        for word, value in words.items():
            text = text.replace(word, value)
        content = text.encode()
    if path.suffix != ".sql":
        path.write_bytes(content)
        return
    with closing(sqlite3.connect(path.with_suffix(".db"))) as db:
        db.executescript(content.decode())
