"""Hints that can be pasted: a command in a hint becomes the one that this program, shell and call would take.

The code writes ``dataflows csc-submit --requeue``, and ``ID`` where only the runner knows which run it is. Whoever
shows the text (terminal, JSON, mail, page) asks :func:`pasteable`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

RESUME = "dataflows runs resume ID"
"""Goes on with the run that a hint is about."""

_PACKAGES = {"dataflows": "dataflows", "api_pipeline": "csc_api_pipeline"}
_SAFE = re.compile(r"[\w@+:,./\\=-]+")
_EXTRA = "install it again from its own folder, with the extra {extra} as docs/index.md says under Install"


@dataclass(frozen=True)
class Caller:
    """How the program was called, so that the next call can be the same."""

    program: str = "dataflows"
    """What starts it in the shell of this call, quoted where it has to be."""
    options: str = ""
    """The options of the program that were given, such as ``--env-file C:\\csc\\.env``."""
    commands: Sequence[str] = ()
    """The commands that there are; without any, every text stays as it is."""
    front: str = ""
    """Another program in front of this one, such as ``csc_api_pipeline``."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Commands that the program in front has, with the names that it has for them."""

    def command(self, name: str) -> str:
        """How a command of ``dataflows`` is called from here."""
        words = (self.front, self.options, self.renamed[name]) if name in self.renamed else None
        return " ".join(filter(None, words or (self.program, self.options, name)))


_caller = Caller()  # of the process and no context variable: threads show hints too


@contextmanager
def called(caller: Caller) -> Iterator[None]:
    """Let hints be for this caller until the block ends."""
    global _caller  # noqa: PLW0603
    before, _caller = _caller, caller
    try:
        yield
    finally:
        _caller = before


def given(*options: str) -> None:
    """Add options of the program, quoted already, to what hints repeat."""
    global _caller  # noqa: PLW0603
    _caller = replace(_caller, options=" ".join(options))


def pasteable(text: str) -> str:
    """The text with every command of ours as it has to be typed here; one that is so already stays."""
    if "dataflows " not in text or not _caller.commands:
        return text
    text = about(text, "")  # no run: a check, or what is done about an earlier run
    names = "|".join(map(re.escape, _caller.commands))
    return re.sub(rf"(?<![\w./\\-])(?<!-m )dataflows ({names})(?![\w-])", lambda found: _caller.command(found[1]), text)


def about(text: str, run_id: str) -> str:
    """The text with the id of the run that it says how to go on with; without an id that is: by the same command."""
    return text.replace(RESUME, RESUME.replace("ID", run_id[:8]) if run_id else "the same command once more")


def quoted(word: str) -> str:
    """A word as the shell of this machine takes it; cmd.exe and PowerShell agree on double quotes."""
    if _SAFE.fullmatch(word):
        return word if sys.platform == "win32" or "\\" not in word else shlex.quote(word)
    return f'"{word}"' if sys.platform == "win32" else shlex.quote(word)


def program(module: str = "dataflows") -> str:
    """How a program of ours is started in this shell: by its name, by its path, or by Python's ``-m``.

    Args:
        module: the package of the program, which need not be the one that runs.
    """
    name = _PACKAGES[module]
    typed = Path(sys.executable if getattr(sys, "frozen", False) else sys.argv[0])
    if typed.name == "__main__.py" and typed.parent.name in _PACKAGES:
        return f"{quoted(_shortest(Path(sys.executable)))} -m {module}"
    if typed.stem.lower() in _PACKAGES.values():
        return quoted(_shortest(typed.with_name(f"{name}{typed.suffix}")))
    return name  # called by a program of somebody's own


def _shortest(path: Path) -> str:
    """The name alone where the shell finds this file by it (or it is not there at all), else the whole path."""
    found = shutil.which(path.stem)
    known = found is not None and _plain(Path(found)) == _plain(path)
    there = os.path.exists(path)  # noqa: PTH110 - never raises, whatever this account may look into
    return str(whole(path)) if there and not known else path.stem


def _plain(path: Path) -> str:
    """A path to compare; a link stays one, as that of a virtual environment leads to another Python."""
    return os.path.normcase(whole(path).with_suffix(""))


def whole(path: Path) -> Path:
    """The path in full; as it is where the working folder is gone."""
    try:
        return path.absolute()
    except OSError:
        return path


def with_extra(extra: str) -> str:
    """What to do where the libraries of an extra are missing. Never names an index, where others own names."""
    if getattr(sys, "frozen", False):
        return "this program was built without them: take the one that was delivered for this"
    return _EXTRA.format(extra=extra)
