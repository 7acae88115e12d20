"""What the program can tell an operator, read from its source: errors, answers of the HTTP service, warnings.

What is only known at run time shows as "…". A message that is put together elsewhere is followed through names,
parameters and functions of the same module; where that leads nowhere (an error that is handed on) there is none.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sources import Module, kinds, modules

from dataflows.errors import ExitCode

UNKNOWN = "…"
_DEEPEST = 4


@dataclass(frozen=True, order=True)
class Message:
    """One message: its text, the hints that can stand below it, where it comes from, and its group.

    The group is the exit code of its class, ``HTTP`` for answers that only the HTTP service gives, or ``WARNING``.
    """

    text: str
    group: ExitCode | str
    hints: tuple[str, ...] = field(compare=False)
    module: str = field(compare=False)


def messages() -> list[Message]:
    """Every message of the program, by module and text; the same text in one module once for each group."""
    found: dict[tuple[str, str, ExitCode | str], set[str]] = {}
    for module in modules().values():
        for kind, call in module.errors():
            for text, hint in _pairs(module, call, kind.position):
                hints = found.setdefault((module.name, text, kind.group), set())
                hints.update({hint} - {"", UNKNOWN})
        for text, code, hint in _tables(module):
            found.setdefault((module.name, text, code), set()).add(hint)
    return [
        Message(text, group, tuple(sorted(hints)), name)
        for (name, text, group), hints in sorted(found.items(), key=lambda one: tuple(map(str, one[0])))
    ]


def _tables(module: Module) -> Iterator[tuple[str, ExitCode | str, str]]:
    """Messages that stand in a table: calls of a named tuple with the fields error, words and hint."""
    rows = {name for name, body in module.classes.items() if _fields(body)[:3] == ["error", "words", "hint"]}
    for one in module.nodes:
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in rows:
            kind = kinds()[module.full(ast.unparse(one.args[0]))]
            words, hint = (_texts(module, argument)[0] for argument in one.args[1:3])
            yield f"{UNKNOWN}: {words}", kind.group, hint


def _fields(body: ast.ClassDef) -> list[str]:
    return [ast.unparse(one.target) for one in body.body if isinstance(one, ast.AnnAssign)]


def _pairs(module: Module, call: ast.Call, position: int) -> Iterator[tuple[str, str]]:
    if len(call.args) <= position:
        return
    beside = call.args[position + 1 : position + 2]  # a warning's hint may stand there without its name
    hint = next((one.value for one in call.keywords if one.arg == "hint"), beside[0] if beside else None)
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
            found = [f"{value:g}" if isinstance(value, float) else str(value)]
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
    owner = modules().get(home)
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
    for one in module.nodes:
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
        print(f"{message.group!s:>7}  {message.module}\n         {message.text}")
        for line in message.hints:
            print(f"           hint: {line}")
