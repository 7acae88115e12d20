"""The reasons that errors, warnings and answers name, with their messages, read from the source of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"


def reasons() -> dict[str, set[str]]:
    """Every ``reason=`` of a call, with the messages that stand beside it; … is what is only known at run time."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for call in (one for one in nodes if isinstance(one, ast.Call)):
            for key in call.keywords:
                if key.arg == "reason" and isinstance(key.value, ast.Constant) and isinstance(key.value.value, str):
                    found.setdefault(key.value.value, set()).update(_message(call))
    return found


def troubleshooting_page() -> str:
    """The text of docs/troubleshooting.md: below each reason stand its messages, the answers are written by hand."""
    known = reasons()
    page = PAGE.read_text(encoding="utf-8")
    return re.sub(r"^### (\S+)\n\n(?:- `.*`\n|- ``.*``\n)*\n?", lambda found: _head(found[1], known), page, flags=re.M)


def _head(reason: str, known: dict[str, set[str]]) -> str:
    lines = [f"- `` {text} ``\n" if "`" in text else f"- `{text}`\n" for text in sorted(known.get(reason, ()))]
    return "".join([f"### {reason}\n\n", *lines, *(["\n"] if lines else [])])


def _message(call: ast.Call) -> Iterator[str]:
    """The first argument that is a text of several words, both of a choice."""
    for argument in call.args:
        sides = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
        texts = [text for side in sides if " " in (text := _text(side)).strip("…:; ")]
        yield from texts
        if texts:
            return


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(map(_text, node.values)) if isinstance(node, ast.JoinedStr) else "…"
