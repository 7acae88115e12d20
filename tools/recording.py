"""Record what the program prints: the README's picture of the morning, and its example of a command.

``python tools/recording.py`` runs the samples through the commands, against the stand-ins of the sandbox in a temporary
folder, and writes docs/assets/morning.svg and the README's block. What is recorded is what was printed; only the
temporary folder gets the name of a real one.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from dataflows.cli.main import main as dataflows
from dataflows.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "assets" / "morning.svg"
README = ROOT / "README.md"
SAMPLES = ROOT / "samples"
SHOWN_AS = "/srv/dataflows"
_BEGIN, _END = "<!-- written by tools/recording.py: begin -->", "<!-- end -->"
_EXAMPLE = ("csc-submit",)
_NIGHT = (_EXAMPLE, ("cqc-fetch",), ("hospitals-bulk", "hospitals.csv"), ("patient-import",), ("therapist-import",))
_MORNING = (("status",), ("runs", "list"))
_NEEDED = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
_WIDTH = 80
_QUICK = {"directory": {"create_ms": 50}}  # the real one takes 5 s for each
_COLOURS = {"needs you": "bold red", "well": "green"}
_VARIES = (
    (r"\b[0-9a-f]{8}\b", "0" * 8),  # a run, a batch
    (r"\b\d\d [A-Z][a-z]{2} \d\d:\d\d\b", "01 Jan 02:00"),
    (r"\b\d+(\.\d+)? s\b", "1.0 s"),
    (r"^20\d\d-\d\d-\d\d\n", ""),  # a night may pass midnight
    (r"^  \d\d:\d\d", "  02:00"),
    (r"\d{8}-\d{6}-\d{3}", "20260101-020000-000"),  # a log
)


def record() -> tuple[str, str]:
    """Run the samples through a night; return what the example printed, and the commands of the morning after."""
    with _night() as folder:
        printed = {words: _printed(words, folder) for words in _NIGHT}
        return printed[_EXAMPLE], "".join(_printed(words, folder) for words in _MORNING)


def picture(text: str) -> str:
    """Draw a terminal as SVG. It loads no font from elsewhere, as rich's own format does."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for line in text.splitlines():
        shown = Text(line)
        shown.highlight_words(["$ dataflows"], "bold cyan")
        for word, colour in _COLOURS.items():
            if line.startswith(word):
                shown.stylize(colour, 0, len(word))
        console.print(shown)
    svg = console.export_svg(title="dataflows", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE).rstrip("\n") + "\n"


def lines_of(svg: str) -> list[str]:
    """Return the lines of text that a picture shows, from the top."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if one.get("class", "").endswith("-title"):
            continue
        rows.setdefault(float(one.get("y", 0)), []).append((float(one.get("x", 0)), one.text or ""))
    return [
        "".join(text for _, text in sorted(rows[y])).replace("\N{NO-BREAK SPACE}", " ").rstrip() for y in sorted(rows)
    ]


def block(readme: str) -> str:
    """Return the README's example as it stands there."""
    return readme.partition(f"{_BEGIN}\n")[2].partition(_END)[0]


def fenced(text: str) -> str:
    """Return the example as the README shows it."""
    return f"\n```console\n{text}```\n\n"


def steady(text: str) -> str:
    """Return a recording without what is different each time: ids, dates, lengths of time."""
    for pattern, instead in _VARIES:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


@contextmanager
def _night() -> Iterator[Path]:
    """A folder with the samples, one of them with a mistake, and settings that lead to stand-ins."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, Sandbox(faults=_QUICK) as box:
        folder = Path(name).resolve()
        shutil.copy(SAMPLES / "hospitals.csv", folder)
        shutil.copytree(SAMPLES / "therapists", folder / "therapists")
        with closing(sqlite3.connect(folder / "staging.db")) as table:
            table.executescript((SAMPLES / "staging_with_a_mistake.sql").read_text(encoding="utf-8"))
        for file in (SAMPLES / "registration").iterdir():
            box.bucket.put(file.name, file.read_bytes())
        here = {
            "DATA_DIR": str(folder),
            "DB_CONNECTION_STRING": f"sqlite:///{(folder / 'staging.db').as_posix()}",
            "THERAPIST_IMPORT_DIR": str(folder / "therapists"),
            "THERAPIST_SETTLE_SECONDS": "0",
        }
        before = Path.cwd()
        kept = {
            key: value for key, value in os.environ.items() if key in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
        }
        with patch.dict(os.environ, {**kept, **box.settings(), **here}, clear=True):
            os.chdir(folder)
            try:
                yield folder
            finally:
                os.chdir(before)


def _printed(words: Sequence[str], folder: Path) -> str:
    """Run a command; return its line and what it printed, as it stands on a screen."""
    screen = io.StringIO()
    with redirect_stdout(screen), redirect_stderr(screen):
        dataflows(list(words))
    printed = screen.getvalue().replace(str(folder), SHOWN_AS).replace("\\", "/")
    return f"$ dataflows {' '.join(words)}\n{printed}"


def main() -> int:
    """Write the picture and the README's example."""
    example, status = record()
    PICTURE.write_text(picture(status), encoding="utf-8", newline="\n")
    readme = README.read_text(encoding="utf-8")
    around = (readme.partition(_BEGIN)[0], readme.partition(_END)[2])
    README.write_text(f"{_BEGIN}\n{fenced(example)}{_END}".join(around), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
