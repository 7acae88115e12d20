"""Which changes of the code no unit test notices: a sample of mutants of one module, each under that module's tests.

    python tools/mutants.py              every module of MODULES
    python tools/mutants.py delta retry  some of them; --sample 40, --seed 16, --workers 2

A mutant lives in the memory of a process of its own and no file is touched, so nothing has to be put back.
docs/decisions/mutants.md says what was found, and why what survived may.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path

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
    """One change: where, what stood there and what stands there now, and the module's whole text with it."""

    place: str
    before: str
    after: str
    source: str


def mutants(path: Path, without: Sequence[str] = ()) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        Mutant(f"{path.relative_to(ROOT).as_posix()}:{line}", before, after, source)
        for line, before, after, source in sorted(_changed(tree, tree, without))
    ]


def _changed(tree: ast.AST, parent: ast.AST, without: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """Put each replacement in the tree, write the tree down, and take it out again."""
    for name, value in ast.iter_fields(parent):
        slots = value if isinstance(value, list) else [value]
        for place, node in enumerate(slots):
            if name in ("annotation", "returns", "decorator_list") or not isinstance(node, ast.AST):
                continue
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in without:
                continue
            for new in _replacements(node):
                before = ast.unparse(parent if isinstance(node, (ast.operator, ast.cmpop)) else node)
                _put(parent, name, place, new)
                after = ast.unparse(parent if isinstance(node, (ast.operator, ast.cmpop)) else new)
                yield getattr(node, "lineno", getattr(parent, "lineno", 0)), before, after, ast.unparse(tree)
                _put(parent, name, place, node)
            yield from _changed(tree, node, without)


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
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return
        case ast.If() | ast.IfExp() | ast.While():
            yield _with_test(node)
        case ast.comprehension(ifs=[_, *_]):
            yield ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.Expr(value=ast.Call() | ast.Yield()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()


def _with_test(node: ast.If | ast.IfExp | ast.While) -> ast.AST:
    fields = dict(ast.iter_fields(node))
    return type(node)(**{**fields, "test": ast.UnaryOp(ast.Not(), node.test)})


def _tried(name: str, source: str | None, tests: str, loaded: Connection) -> None:
    """Run tests with another text of one module (None: as it is); the process ends with pytest's code.

    Which modules of other people they loaded is sent before that, so that the next process finds them loaded.
    """
    import shlex

    import hypothesis
    import pytest

    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, fullname: str) -> object:
        return read(loader, fullname) if fullname != name or source is None else compile(source, loader.path, "exec")

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    found = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # one example is enough, the smallest is not needed
    hypothesis.settings.register_profile(
        "mutants", derandomize=True, deadline=None, database=None, phases=found, max_examples=EXAMPLES,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", f"--basetemp={folder}/t"]
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            code = pytest.main([*options, "--hypothesis-profile=mutants", *shlex.split(tests)])
    own = ("dataflows", "tests", "api_pipeline", "conftest", "__m")
    loaded.send([one for one in sys.modules if not one.startswith(own)])
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - what threads say at the end
    os._exit(int(code))


def _outcome(module: Module, source: str | None) -> tuple[str, list[str]]:
    """``survived``, ``killed`` or ``timed out``; and what was loaded."""
    name = "dataflows." + module.path.removesuffix(".py").replace("/", ".")
    forks = "fork" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=_tried, args=(name, source, module.tests, writing))
    process.start()
    writing.close()
    loaded: list[str] = []
    with reading, contextlib.suppress(EOFError):
        loaded = reading.recv() if reading.poll(BOUND if source else 4 * BOUND) else []
    process.join(1)
    if process.is_alive():
        process.kill()
        process.join()
        return "timed out", loaded
    return ("killed" if process.exitcode else "survived"), loaded


def _examine(name: str, args: argparse.Namespace) -> None:
    module, begun = MODULES[name], time.monotonic()
    every = mutants(ROOT / "src/dataflows" / module.path, module.without)
    outcome, loaded = _outcome(module, None)
    if outcome != "survived":
        sys.exit(f"{name}: its tests have {outcome} without any mutant")
    for one in loaded:
        with contextlib.suppress(Exception):
            importlib.import_module(one)
    print(f"{name}: {time.monotonic() - begun:.0f} s without a mutant", file=sys.stderr, flush=True)
    chosen = random.Random(args.seed).sample(every, min(args.sample, len(every)))
    with ThreadPoolExecutor(args.workers) as pool:
        outcomes = list(pool.map(lambda mutant: _outcome(module, mutant.source)[0], chosen))
    for mutant, outcome in sorted(zip(chosen, outcomes, strict=True), key=lambda pair: pair[0].place):
        if outcome != "killed":
            before, after = (text.splitlines()[0] for text in (mutant.before, mutant.after))
            print(f"{mutant.place}: {outcome}: {before} -> {after}", flush=True)
    counts = ", ".join(f"{outcomes.count(one)} {one}" for one in ("killed", "timed out", "survived"))
    print(f"{name}: {len(chosen)} of {len(every)} mutants: {counts}; {time.monotonic() - begun:.0f} s", flush=True)


def main() -> None:
    """Examine the modules that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    os.chdir(ROOT)
    for name in args.modules or MODULES:
        _examine(name, args)


if __name__ == "__main__":
    main()
