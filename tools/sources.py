"""The source of the program as tools/messages.py reads it: modules, what their names mean, classes of errors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dataflows.errors import ExitCode

SOURCE = Path(__file__).resolve().parent.parent / "src"
HTTP, WARNING = "HTTP", "warning"
_ROOT = "dataflows.errors.DataflowsError"


@dataclass
class Kind:
    """A class of errors: its group, where the message stands among the arguments, whether it comes from there."""

    group: ExitCode | str
    position: int
    makes_none: bool = True


_WARNED = Kind(WARNING, 0)


class Module:
    """One source file and what its names mean."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.nodes = tuple(ast.walk(tree))
        self.imported = dict(self._imports())
        self.functions = {one.name: one for one in self.nodes if isinstance(one, ast.FunctionDef)}
        self.classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}

    def _imports(self) -> Iterator[tuple[str, str]]:
        for one in self.nodes:
            if isinstance(one, ast.ImportFrom) and one.module:
                for alias in one.names:
                    yield alias.asname or alias.name, f"{one.module}.{alias.name}"

    def full(self, name: str) -> str:
        """The whole name of a class or constant that this module calls ``name``."""
        return self.imported.get(name, f"{self.name}.{name}")

    def errors(self) -> Iterator[tuple[Kind, ast.Call]]:
        """Every place where a message is handed to an error, also inside classes that make their own."""
        for one in self.nodes:
            if isinstance(one, ast.Call):
                name = ast.unparse(one.func)
                kind = kinds().get(self.full(name)) or _dotted(self, name)
                kind = _WARNED if name.endswith("output.warn") else kind
                if kind is not None and kind.makes_none:
                    yield kind, one
        for name, body in self.classes.items():
            kind = kinds().get(f"{self.name}.{name}")
            if kind is not None and not kind.makes_none:
                calls = (one for one in ast.walk(body) if isinstance(one, ast.Call))
                yield from ((kind, one) for one in calls if ast.unparse(one.func) == "super().__init__")

    def around(self, node: ast.AST) -> list[ast.FunctionDef]:
        """The functions that a node stands in, the nearest first."""
        inside = [one for one in self.functions.values() if one.lineno <= _line(node) <= (one.end_lineno or 0)]
        return sorted(inside, key=lambda one: one.lineno, reverse=True)


def _dotted(module: Module, name: str) -> Kind | None:
    """``verify.Unfit`` after ``from dataflows.flows.cqc import verify``."""
    head, _, tail = name.partition(".")
    return kinds().get(f"{module.imported.get(head, head)}.{tail}")


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


@cache
def modules() -> dict[str, Module]:
    """Every source file by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        found[name] = Module(name, ast.parse(path.read_text(encoding="utf-8")))
    return found


@cache
def kinds() -> dict[str, Kind]:
    """DataflowsError and everything that derives from it, by whole name."""
    found = {
        _ROOT: Kind(ExitCode.BUG, 0),
        "dataflows.web.answers.HttpRefusal": Kind(HTTP, 2),
        "dataflows.events.Warned": _WARNED,
    }
    while True:
        more = dict(_derived(found))
        if not more:
            return found
        found |= more


def _derived(known: dict[str, Kind]) -> Iterator[tuple[str, Kind]]:
    for module in modules().values():
        for name, body in module.classes.items():
            full = f"{module.name}.{name}"
            bases = [known.get(module.full(base.id)) for base in body.bases if isinstance(base, ast.Name)]
            for base in bases:
                if base is not None and full not in known:
                    position = _position(body, base.position)
                    yield full, Kind(_exit_code(body, base.group), position or 0, position is not None)


def _exit_code(body: ast.ClassDef, inherited: ExitCode | str) -> ExitCode | str:
    for one in body.body:
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "exit_code":
            return ExitCode[ast.unparse(one.value).rpartition(".")[2]]
    return inherited


def _position(body: ast.ClassDef, inherited: int) -> int | None:
    """Which argument is the message; None where the class makes it itself, from a code."""
    for one in body.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            names = [argument.arg for argument in one.args.args]
            return names.index("message") - 1 if "message" in names else None
    return inherited
