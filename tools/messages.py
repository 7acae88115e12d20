"""The error messages of the program, read from its source: what an operator can meet, and the hint below it.

What is only known at run time shows as "…". A message that is put together elsewhere is followed through names,
parameters and functions of the same module; where that leads nowhere (an error that is handed on) there is none.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from dataflows.errors import ExitCode

SOURCE = Path(__file__).resolve().parent.parent / "src"
UNKNOWN = "…"
_DEEPEST = 4
_ROOT = "dataflows.errors.DataflowsError"


@dataclass(frozen=True, order=True)
class Message:
    """One message: its text, the exit code of its class, the hints that can stand below it, and where it comes from."""

    text: str
    exit_code: ExitCode
    hints: tuple[str, ...] = field(compare=False)
    module: str = field(compare=False)


def messages() -> list[Message]:
    """Every message of the program, by module and text; the same text in one module once for each exit code."""
    found: dict[tuple[str, str, ExitCode], set[str]] = {}
    for module in _modules().values():
        for kind, call in module.errors():
            for text, hint in _pairs(module, call, kind.position):
                hints = found.setdefault((module.name, text, kind.exit_code), set())
                hints.update({hint} - {"", UNKNOWN})
        for text, code, hint in module.tables():
            found.setdefault((module.name, text, code), set()).add(hint)
    return [Message(text, code, tuple(sorted(hints)), name) for (name, text, code), hints in sorted(found.items())]


@dataclass
class Kind:
    """A class of errors: its exit code, where the message stands among the arguments, whether it comes from there."""

    exit_code: ExitCode
    position: int
    makes_none: bool = True


class Module:
    """One source file and what its names mean."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.imported = dict(self._imports())
        self.functions = {one.name: one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}
        self.classes = {one.name: one for one in tree.body if isinstance(one, ast.ClassDef)}

    def _imports(self) -> Iterator[tuple[str, str]]:
        for one in ast.walk(self.tree):
            if isinstance(one, ast.ImportFrom) and one.module:
                for alias in one.names:
                    yield alias.asname or alias.name, f"{one.module}.{alias.name}"

    def full(self, name: str) -> str:
        """The whole name of a class or constant that this module calls ``name``."""
        return self.imported.get(name, f"{self.name}.{name}")

    def errors(self) -> Iterator[tuple[Kind, ast.Call]]:
        """Every place where a message is handed to an error, also inside classes that make their own."""
        for one in ast.walk(self.tree):
            if isinstance(one, ast.Call):
                name = ast.unparse(one.func)
                kind = _kinds().get(self.full(name)) or _dotted(self, name)
                if kind is not None and kind.makes_none:
                    yield kind, one
        for name, body in self.classes.items():
            kind = _kinds().get(f"{self.name}.{name}")
            if kind is not None and not kind.makes_none:
                calls = (one for one in ast.walk(body) if isinstance(one, ast.Call))
                yield from ((kind, one) for one in calls if ast.unparse(one.func) == "super().__init__")

    def tables(self) -> Iterator[tuple[str, ExitCode, str]]:
        """Messages that stand in a table: calls of a named tuple with the fields error, words and hint."""
        rows = {name for name, body in self.classes.items() if _fields(body)[:3] == ["error", "words", "hint"]}
        for one in ast.walk(self.tree):
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in rows:
                code = _kinds()[self.full(ast.unparse(one.args[0]))].exit_code
                words, hint = (_texts(self, argument)[0] for argument in one.args[1:3])
                yield f"{UNKNOWN}: {words}", code, hint

    def around(self, node: ast.AST) -> list[ast.FunctionDef]:
        """The functions that a node stands in, the nearest first."""
        inside = [one for one in self.functions.values() if one.lineno <= _line(node) <= (one.end_lineno or 0)]
        return sorted(inside, key=lambda one: one.lineno, reverse=True)


def _dotted(module: Module, name: str) -> Kind | None:
    """``verify.Unfit`` after ``from dataflows.flows.cqc import verify``."""
    head, _, tail = name.partition(".")
    return _kinds().get(f"{module.imported.get(head, head)}.{tail}")


def _fields(body: ast.ClassDef) -> list[str]:
    return [ast.unparse(one.target) for one in body.body if isinstance(one, ast.AnnAssign)]


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


@cache
def _modules() -> dict[str, Module]:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        found[name] = Module(name, ast.parse(path.read_text(encoding="utf-8")))
    return found


@cache
def _kinds() -> dict[str, Kind]:
    """DataflowsError and everything that derives from it, by whole name."""
    found = {_ROOT: Kind(ExitCode.BUG, 0)}
    while True:
        more = dict(_derived(found))
        if not more:
            return found
        found |= more


def _derived(known: dict[str, Kind]) -> Iterator[tuple[str, Kind]]:
    for module in _modules().values():
        for name, body in module.classes.items():
            full = f"{module.name}.{name}"
            bases = [known.get(module.full(base.id)) for base in body.bases if isinstance(base, ast.Name)]
            for base in bases:
                if base is not None and full not in known:
                    position = _position(body, base.position)
                    yield full, Kind(_exit_code(body, base.exit_code), position or 0, position is not None)


def _exit_code(body: ast.ClassDef, inherited: ExitCode) -> ExitCode:
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


# --- what an error says ---------------------------------------------------------------------------------------------


def _pairs(module: Module, call: ast.Call, position: int) -> Iterator[tuple[str, str]]:
    if len(call.args) <= position:
        return
    hint = next((one.value for one in call.keywords if one.arg == "hint"), None)
    texts = _texts(module, call.args[position])
    hints = _texts(module, hint) if hint is not None else [""]
    together = zip(texts, hints, strict=True) if len(texts) == len(hints) else itertools.product(texts, hints)
    yield from ((text, said) for text, said in together if text.strip(UNKNOWN + " ;:"))


def _texts(module: Module, node: ast.expr, depth: int = 0) -> list[str]:
    """What an expression can say."""
    if depth > _DEEPEST:
        return [UNKNOWN]
    match node:
        case ast.Constant(value=str(text)):
            found = [text]
        case ast.Constant(value=value):
            found = [str(value)]
        case ast.JoinedStr(values=values):
            found = _joined(_part(module, one, depth) for one in values)
        case ast.IfExp(body=body, orelse=orelse):
            found = [*_texts(module, body, depth + 1), *_texts(module, orelse, depth + 1)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            found = _joined(_texts(module, one, depth + 1) for one in (left, right))
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mult()):
            found = [f"({text})"]
        case ast.Name():
            found = _named(module, node, depth)
        case ast.Call(func=ast.Name(id=name)) if name in module.functions:
            found = _returned(module, module.functions[name], depth)
        case _:
            found = [UNKNOWN]
    return _tidy(found)


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _part(module: Module, node: ast.expr, depth: int) -> list[str]:
    """A part of an f-string: text, or a value whose few forms are known."""
    if not isinstance(node, ast.FormattedValue):
        return _texts(module, node, depth)
    value = node.value
    if isinstance(value, ast.IfExp):
        sides = [_texts(module, value.body, depth + 1), _texts(module, value.orelse, depth + 1)]
        plain = all(isinstance(side, ast.Constant) for side in (value.body, value.orelse))
        return [f"{sides[0][0]}/{sides[1][0]}"] if plain and sides[1][0] else [UNKNOWN]
    if isinstance(value, ast.BinOp) or (isinstance(value, ast.Name) and value.id.isupper()):
        return _texts(module, value, depth + 1)
    if isinstance(value, ast.Name) and value.id in ("where", "what", "why", "how"):
        return _texts(module, value, depth + 1)
    return [UNKNOWN]


def _named(module: Module, node: ast.Name, depth: int) -> list[str]:
    """What a name stands for: set in the function, handed in by a caller of this module, or a constant."""
    for function in module.around(node):
        assigned = [text for value in _assigned(function, node.id) for text in _texts(module, value, depth + 1)]
        if assigned:
            return _tidy(assigned)
        names = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
        if node.id in names:
            return _handed_in(module, function, node.id, depth)
    return _constant(module, node.id, depth)


def _constant(module: Module, name: str, depth: int) -> list[str]:
    home, _, short = module.full(name).rpartition(".")
    owner = _modules().get(home)
    for one in owner.tree.body if owner else ():
        for target, value in _targets(one):
            if owner and isinstance(target, ast.Name) and target.id == short:
                return _texts(owner, value, depth + 1)
    return [UNKNOWN]


def _targets(statement: ast.stmt | ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What an assignment sets, name by name."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        yield statement.target, statement.value
    if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value


def _assigned(function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    for one in ast.walk(function):
        yield from (value for target, value in _targets(one) if isinstance(target, ast.Name) and target.id == name)


def _handed_in(module: Module, function: ast.FunctionDef, name: str, depth: int) -> list[str]:
    names = [one.arg for one in function.args.args if one.arg != "self"]
    found: list[str] = []
    for one in ast.walk(module.tree):
        if isinstance(one, ast.Call) and ast.unparse(one.func).removeprefix("self.") == function.name:
            given = {key.arg: key.value for key in one.keywords}
            given |= dict(zip(names, one.args, strict=False))
            if name in given:
                found += _texts(module, given[name], depth + 1)
    return [text for text in _tidy(found) if text != UNKNOWN] or [UNKNOWN]


def _returned(module: Module, function: ast.FunctionDef, depth: int) -> list[str]:
    values = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None]
    return _tidy(text for value in values for text in _texts(module, value, depth + 1)) or [UNKNOWN]


def _tidy(texts: Iterable[str]) -> list[str]:
    joined = (text.replace(UNKNOWN * 2, UNKNOWN) for text in texts)
    return list(dict.fromkeys(joined))


if __name__ == "__main__":
    for message in messages():
        print(f"{int(message.exit_code):>3}  {message.module}\n     {message.text}")
        for line in message.hints:
            print(f"       hint: {line}")
