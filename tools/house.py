"""Measure how the source is built, as a table or as JSON: python tools/house.py [--json] [--list] [FOLDER].

Lines and code lines (without blanks, comments and docstrings), modules, class names that stand for several things,
modules with many collaborators, long functions, circles of imports, and runs of lines that stand twice. Meant to be
run before and after a change of the structure; ``--list`` names what is behind the figures.
"""

from __future__ import annotations

import ast
import io
import json
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
MANY = 8
"""More imported modules of our own than this are many collaborators."""
SMALL = 60
LONG = 40
RUN = 6
"""Lines of code that have to be the same for a duplicated run."""
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass
class Module:
    """One file, read."""

    name: str
    text: str
    tree: ast.Module
    imports: set[str] = field(default_factory=set)

    @property
    def lines(self) -> int:
        """All lines."""
        return self.text.count("\n")

    def code(self) -> list[str]:
        """The lines that hold code: no blanks, no comments, no docstrings."""
        held = {
            line
            for token in tokenize.generate_tokens(io.StringIO(self.text).readline)
            if token.type not in _SILENT
            for line in range(token.start[0], token.end[0] + 1)
        }
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                held -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return [line.strip() for number, line in enumerate(self.text.splitlines(), 1) if number in held]


@dataclass
class House:
    """The figures, and what is behind them."""

    modules: int = 0
    lines: int = 0
    code_lines: int = 0
    median_lines: float = 0
    modules_under_60_lines: int = 0
    classes: int = 0
    class_names_in_several_modules: int = 0
    modules_with_more_than_8_collaborators: int = 0
    functions_over_40_lines: int = 0
    circles_of_imports: int = 0
    duplicated_runs: int = 0
    behind: dict[str, list[str]] = field(default_factory=dict)


def measure(folder: Path) -> House:
    """Measure all Python files below a folder that is put on the path (such as src)."""
    modules = {module.name: module for module in _read(folder)}
    for module in modules.values():
        module.imports = _imported(module, modules)
    sizes = [module.lines for module in modules.values() if module.text.strip()]
    names = defaultdict[str, list[str]](list)
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                names[node.name].append(module.name)
    several = {name: places for name, places in names.items() if len(set(places)) > 1}
    crowded = {module.name: len(module.imports) for module in modules.values() if len(module.imports) > MANY}
    long_ = [f"{module.name}.{name} ({size})" for module in modules.values() for name, size in _functions(module)]
    circles = [" > ".join(circle) for circle in _circles(modules)]
    code = {module.name: module.code() for module in modules.values()}
    twice = _duplicated(code)
    return House(
        modules=len(modules),
        lines=sum(module.lines for module in modules.values()),
        code_lines=sum(map(len, code.values())),
        median_lines=median(sizes),
        modules_under_60_lines=sum(size < SMALL for size in sizes),
        classes=sum(map(len, names.values())),
        class_names_in_several_modules=len(several),
        modules_with_more_than_8_collaborators=len(crowded),
        functions_over_40_lines=len(long_),
        circles_of_imports=len(circles),
        duplicated_runs=len(twice),
        behind={
            "class names in several modules": [f"{name}: {', '.join(several[name])}" for name in sorted(several)],
            "modules with more than 8 collaborators": [f"{name} ({crowded[name]})" for name in sorted(crowded)],
            "functions over 40 lines": sorted(long_),
            "circles of imports": circles,
            "duplicated runs": twice,
        },
    )


def _read(folder: Path) -> Iterator[Module]:
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(folder).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), text, ast.parse(text))


def _imported(module: Module, modules: dict[str, Module]) -> set[str]:
    """The modules of the same tree that one imports, wherever in it; ``from package import module`` is that module."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & set(modules) or {node.module}
    return (found & set(modules)) - {module.name}


def _functions(module: Module) -> Iterator[tuple[str, int]]:
    """The functions whose body, without the docstring, is long."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        size = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
        if size > LONG:
            yield node.name, size


def _circles(modules: dict[str, Module]) -> list[list[str]]:
    """The groups of modules that import one another, directly or around (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(modules[name].imports):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in modules:
        if name not in index:
            visit(name)
    return sorted(found)


def _duplicated(code: dict[str, list[str]]) -> list[str]:
    """Pairs of places that share a run of code lines; imports and lone brackets do not count."""
    places = defaultdict[tuple[str, ...], list[tuple[str, int]]](list)
    for name, lines in code.items():
        kept = [line for line in lines if len(line) > 2 and not line.startswith(("import ", "from "))]
        for start in range(len(kept) - RUN + 1):
            places[tuple(kept[start : start + RUN])].append((name, start))
    pairs = Counter[tuple[str, str]]()
    for found in places.values():
        if len(found) > 1:
            first, second = sorted(found)[:2]
            pairs[(first[0], second[0])] += 1
    return [f"{a} ~ {b} ({count + RUN - 1} lines)" for (a, b), count in sorted(pairs.items())]


def main(arguments: list[str]) -> int:
    """Print the figures; returns 0."""
    folders = [word for word in arguments if not word.startswith("--")]
    house = measure(Path(folders[0]) if folders else ROOT / "src")
    if "--json" in arguments:
        print(json.dumps(asdict(house), indent=2))
        return 0
    for name, value in asdict(house).items():
        if name != "behind":
            print(f"{name.replace('_', ' '):42} {value:8,.0f}")
    if "--list" in arguments:
        for title, rows in house.behind.items():
            print(f"\n{title}:\n" + "\n".join(f"  {row}" for row in rows))
    return 0


if __name__ == "__main__":
    sys.setrecursionlimit(5_000)
    sys.exit(main(sys.argv[1:]))
