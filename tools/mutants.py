"""Which changes of the code no unit test notices: a sample of mutants of one module, each under that module's tests.

    python tools/mutants.py              every module of MODULES
    python tools/mutants.py delta retry  some of them; --sample 40, --seed 16, --workers 2

A mutant lives in a fork of the process that collected the tests, and no file is touched: there is nothing to put back.
Only what stands in functions is changed; constants and defaults, which are made at import, are not. Not for Windows.
docs/decisions/mutants.md says what was found, and why what survived may.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent
BOUND = 60.0  # seconds for one mutant; one that loops for ever is noticed, by whoever waits
EXAMPLES = 30  # of a property, where the test does not say how many
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.Mod: ast.Mult, ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """A module below src/dataflows, the tests that are its own, and what of it they are not for (other databases)."""

    path: str
    tests: str
    without: tuple[str, ...] = ()


CSC, SQLITE = "tests/flows/csc", "-k 'not postgresql and not mssql'"
HOSPITALS, PATIENTS, THERAPISTS = "tests/flows/hospitals", "tests/flows/patients", "tests/flows/therapists"
OTHERS = (
    "_statements",
    "_has_openjson",
    "_hashed_encoding",
    "_PostgreSqlUpdate",
    "_SqlServerUpdate",
    "_SqlServerValues",
)
MODULES = {
    "retry": Module("remote/retry.py", "tests/remote/test_retry.py"),
    "acknowledgements": Module("flows/csc/acknowledgements.py", "tests/runs/contract/test_csc.py"),
    "patients": Module("flows/practice/patients/identity.py", f"{PATIENTS}/test_identity.py"),
    "verify": Module("flows/cqc/verify.py", "tests/flows/cqc/test_verify.py"),
    "delta": Module("flows/csc/delta.py", f"{CSC}/test_delta.py"),
    "therapists": Module("flows/practice/therapists/identity.py", f"{THERAPISTS}/test_identity.py {SQLITE}"),
    "staging": Module("flows/csc/staging.py", f"{CSC}/test_staging.py {CSC}/test_table_writer.py {SQLITE}"),
    "write_back": Module("flows/csc/write_back.py", f"{CSC}/test_table_writer.py", OTHERS),
    "batch": Module("flows/hospitals/batch.py", f"{HOSPITALS}/test_corners.py"),
    "planning": Module("flows/csc/planning.py", f"{CSC}/test_who.py {SQLITE}"),
    "baseline": Module("flows/csc/baseline.py", f"{CSC}/test_who.py {CSC}/test_baselines.py {SQLITE}"),
}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what stood there and what stands there now, and the module's code with it."""

    place: str
    before: str
    after: str
    code: types.CodeType


def mutants(file: Path, without: Sequence[str] = ()) -> list[Mutant]:
    """Every mutant of the functions of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [mutant for body in _functions(tree, without) for mutant in _changed(file, tree, body)]


def _functions(tree: ast.AST, without: Sequence[str]) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name not in without:
            yield from [node] if isinstance(node, ast.FunctionDef) else _functions(node, without)


def _changed(file: Path, tree: ast.Module, parent: ast.AST) -> Iterator[Mutant]:
    """Put each replacement in the tree, compile the tree, and take it out again."""
    for name, value in ast.iter_fields(parent):
        for place, node in enumerate(value if isinstance(value, list) else [value]):
            if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.expr):
                continue
            if name in ("annotation", "returns", "decorator_list") or not isinstance(node, ast.AST):
                continue
            shown = parent if isinstance(node, (ast.operator, ast.cmpop)) else node
            where = f"{file.relative_to(ROOT).as_posix()}:{getattr(shown, 'lineno', getattr(parent, 'lineno', 0))}"
            before = ast.unparse(shown)
            for new in _replacements(node):
                if not isinstance(new, (ast.operator, ast.cmpop)) and hasattr(node, "lineno"):
                    ast.copy_location(new, node)
                _put(parent, name, place, new)
                after = ast.unparse(new if shown is node else parent)
                yield Mutant(where, before, after, compile(ast.fix_missing_locations(tree), str(file), "exec"))
                _put(parent, name, place, node)
            yield from _changed(file, tree, node)


def _put(parent: ast.AST, name: str, place: int, node: ast.AST) -> None:
    held = getattr(parent, name)
    if isinstance(held, list):
        held[place] = node
    else:
        setattr(parent, name, node)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.operator() | ast.cmpop() | ast.Break() | ast.Continue() if type(node) in SWAPS:
            yield SWAPS[type(node)]()
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(SWAPS[type(op)](), values)  # type: ignore[arg-type]
            yield ast.BoolOp(op, values[:-1]) if len(values) > 2 else values[0]
            yield ast.BoolOp(op, values[1:]) if len(values) > 2 else values[1]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as truth):
            yield ast.Constant(not truth)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(ast.Constant(None))
        case ast.If() | ast.IfExp() | ast.While():
            yield _with_test(node)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Expr(value=ast.Call() | ast.Yield()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()


def _with_test(node: ast.If | ast.IfExp | ast.While) -> ast.AST:
    fields = dict(ast.iter_fields(node))
    return type(node)(**{**fields, "test": ast.UnaryOp(ast.Not(), node.test)})


class Examination:
    """A pytest plugin: the tests are collected once, and each mutant is tried in a fork of that very process."""

    def __init__(self, file: Path, chosen: Sequence[Mutant], workers: int, folder: str) -> None:
        self.outcomes: dict[Mutant | None, str] = {}
        self._file, self._chosen, self._workers, self._folder = file, chosen, workers, folder
        self._running: dict[int, tuple[Mutant | None, float]] = {}
        self._terminal = os.dup(2)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try no mutant, and then all of them."""
        self._begin(session, None)
        self._wait(0)
        for mutant in self._chosen if self.outcomes[None] == "survived" else ():
            self._wait(self._workers - 1)
            self._begin(session, mutant)
        self._wait(0)
        return True

    def _begin(self, session: pytest.Session, mutant: Mutant | None) -> None:
        if pid := os.fork():
            self._running[pid] = mutant, time.monotonic() + BOUND
            return
        code = 2
        try:
            session.config._tmp_path_factory._given_basetemp = Path(self._folder, str(os.getpid()))  # type: ignore[attr-defined]
            if mutant is not None:
                _swap(self._file, mutant.code)
            code = _run(session)
        finally:
            os._exit(code)

    def _wait(self, most: int) -> None:
        """Wait until at most so many are running."""
        while len(self._running) > most:
            time.sleep(0.02)
            for pid, (mutant, until) in list(self._running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if not ended and time.monotonic() < until:
                    continue
                if not ended:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                del self._running[pid]
                self.outcomes[mutant] = "timed out" if not ended else "killed" if status else "survived"
                if mutant is not None and self.outcomes[mutant] != "killed":
                    before, after = (text.splitlines()[0] for text in (mutant.before, mutant.after))
                    line = f"{mutant.place}: {self.outcomes[mutant]}: {before} -> {after}\n"
                    os.write(self._terminal, line.encode())


def _run(session: pytest.Session) -> int:
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _swap(file: Path, module: types.CodeType) -> None:
    """Give every function that came from a file the code that it has in another text of the file."""
    changed = {(code.co_qualname, code.co_firstlineno): code for code in _codes(module)}
    for function in [one for one in gc.get_objects() if isinstance(one, types.FunctionType)]:
        if function.__code__.co_filename == str(file):
            was = function.__code__
            function.__code__ = changed.get((was.co_qualname, was.co_firstlineno), was)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _codes(one)


def _examine(name: str, args: argparse.Namespace) -> None:
    module, begun = MODULES[name], time.monotonic()
    file = ROOT / "src/dataflows" / module.path
    every = mutants(file, module.without)
    chosen = random.Random(args.seed).sample(every, min(args.sample, len(every)))
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, deadline=None, database=None, max_examples=EXAMPLES,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),  # any example is enough, the smallest not needed
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = Examination(file, chosen, args.workers, folder)
        options = ["-x", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what pytest says
        pytest.main([*options, *shlex.split(module.tests)], [found])
        os.dup2(stdout, 1)
    if found.outcomes.pop(None, "not run") != "survived":
        sys.exit(f"{name}: its tests fail, or take more than {BOUND:.0f} s, without any mutant")
    outcomes = list(found.outcomes.values())
    counts = ", ".join(f"{outcomes.count(one)} {one}" for one in ("killed", "timed out", "survived"))
    print(f"{name}: {len(outcomes)} of {len(every)} mutants: {counts}; {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    """Examine the modules that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    os.chdir(ROOT)
    if not hasattr(os, "fork"):
        sys.exit("it takes an operating system that forks")
    for name in args.modules or MODULES:
        if args.modules and len(args.modules) == 1:
            _examine(name, args)
        else:  # pytest leaves modules loaded: each has a process of its own
            same = ["--sample", str(args.sample), "--seed", str(args.seed), "--workers", str(args.workers)]
            subprocess.run([sys.executable, __file__, name, *same], check=False)


if __name__ == "__main__":
    main()
