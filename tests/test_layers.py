"""The lines of the house, drawn from the imports: words come in at the top and go down, and nothing looks back up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"

ANYBODY_MAY_KNOW = {"", "errors", "events", "hints", "printable", "settings"}
MAY_KNOW = {
    "": set[str](),
    "errors": set[str](),
    "events": set[str](),
    "hints": set[str](),
    "printable": set[str](),
    "settings": {"errors", "hints"},
    "store": ANYBODY_MAY_KNOW,
    "remote": ANYBODY_MAY_KNOW | {"store"},
    "runs": ANYBODY_MAY_KNOW | {"store"},
    "flows": ANYBODY_MAY_KNOW | {"store", "remote", "runs"},
    "checks": ANYBODY_MAY_KNOW | {"store", "remote", "flows"},
    "web": ANYBODY_MAY_KNOW | {"store", "remote", "runs", "flows"},
    "sandbox": ANYBODY_MAY_KNOW | {"store", "flows"},
    "demo": ANYBODY_MAY_KNOW | {"store", "runs", "flows", "sandbox"},
    "cli": ANYBODY_MAY_KNOW | {"store", "remote", "runs", "flows", "checks", "sandbox", "demo", "web"},
    "__main__": {"cli"},
}
# of a flow, the sandbox may only know the rules of its payload
PAYLOAD_RULES = {"payload", "schema"}
# two flows, with what both need beside them
SHARING = {("practice", "patients"), ("practice", "therapists")}
# what a command calls: the story of one command each; the steps of a flow do not know them
JOBS = {"job", "inspection", "person"}
# a person may be in the tables of both flows of the practice: what is asked about people reaches over both
OVER_BOTH = {("practice", "person")}
PRINTERS = {"cli/output.py", "cli/progress.py", "cli/wording.py"}
POOL = "runs/pool.py"
# a server has to serve while its starter goes on; a signal's message must not wait for what it interrupted; and reading
# ahead or writing back in order is no work for a pool, which takes what is ready
THREADS = {"runs/background.py", "runs/runner.py", "runs/pool.py", "flows/csc/writers.py"}
RETRY = "remote/retry.py"
# a transaction that was the victim of a deadlock is repeated as a whole, by rules of the database and not of a service
TRANSACTIONS = "store/failures.py"
# `runs show --follow` looks at the journal now and then; nothing is tried again there
PATIENT = {RETRY, "cli/runs.py"}
# the journal: which stores may say SQL to which of its tables; everybody else hands them values. What a run remembers
# for itself lies in temporary tables
STORES = {
    ("runs", "items", "run_batches", "run_reports"): {"runs/records.py", "runs/history.py"},
    ("parts",): {"runs/journal.py"},
    ("clock_doubts",): {"runs/clock.py"},
    ("trouble",): {"runs/trouble.py"},
    ("cqc_fetches",): {"flows/cqc/history.py"},
    ("csc_children", "csc_shown"): {
        *("flows/csc/records.py", "flows/csc/acknowledgements.py", "flows/csc/claims.py"),
    },
    ("csc_receivers", "csc_tables", "csc_walks", "csc_keys", "csc_adopted"): {
        "flows/csc/records.py",
        "flows/csc/claims.py",
    },
    ("csc_named", "csc_later", "csc_former", "csc_purges"): {"flows/csc/scratch.py"},
    ("hospital_directories",): {"flows/hospitals/ledger.py"},
    ("hospital_rows", "hospital_batches"): {"flows/hospitals/ledger.py", "flows/hospitals/uploads.py"},
    ("hospital_uploads", "hospital_contents"): {"flows/hospitals/ledger.py", "flows/hospitals/uploads.py"},
    ("schedules",): {"runs/schedules.py"},
    ("erasures",): {"flows/practice/erasures.py"},
}
# what a store keeps belongs to a run: is that still there, and how did it end?
READ_RUNS = {"runs/clock.py", "flows/hospitals/ledger.py", "flows/hospitals/uploads.py"}
OF_TABLE = re.compile(
    r"\b(FROM|JOIN|INTO|UPDATE(?: OR \w+)?|TABLE(?: IF NOT EXISTS)?|INDEX(?: IF NOT EXISTS)? \S+ ON)\s+(\w+)"
)


def modules() -> dict[str, ast.Module]:
    """Every module of dataflows by its path below the package."""
    package = SOURCE / "dataflows"
    return {
        path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


MODULES = modules()


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names that a module imports, ``from x import y`` as ``x.y``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_module(dotted: str) -> bool:
    path = SOURCE / Path(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def own(tree: ast.Module) -> Iterator[tuple[str, ...]]:
    """The modules of dataflows that a module imports, as paths below the package."""
    for name in imported(tree):
        if name.partition(".")[0] == "dataflows":
            yield tuple((name if is_module(name) else name.rpartition(".")[0]).split(".")[1:])


def room(path: str) -> str:
    first = path.split("/", maxsplit=1)[0].removesuffix(".py")
    return "" if first == "__init__" else first


def flow_and_step(path: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The flow that a module below ``flows`` belongs to, and which of its modules it is.

    Of the practice each folder is a flow; what lies beside the folders is for both.
    """
    deep = 2 if path[:2] in SHARING else 1
    return path[:deep], (*path, "", "")[deep]


def beside(flow: tuple[str, ...]) -> tuple[str, ...]:
    """Where the modules lie that a flow shares with another one; without such a place the flow itself."""
    return flow[:1]


def calls(tree: ast.Module) -> Iterator[str]:
    """The dotted names of everything that a module calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("path", MODULES)
def test_nothing_looks_up(path: str) -> None:
    allowed = MAY_KNOW[room(path)] | {room(path)}
    found = {target[0] if target else "" for target in own(MODULES[path])}
    assert found <= allowed


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("flows/") and path.count("/") > 1])
def test_flows_do_not_know_each_other_and_steps_do_not_know_their_job(path: str) -> None:
    flow, step = flow_and_step(tuple(path.removesuffix(".py").split("/")[1:]))
    for target in own(MODULES[path]):
        if target[:1] == ("flows",):
            known, what = flow_and_step(target[1:])
            assert known in (flow, beside(flow)) or ((*flow, step) in OVER_BOTH and known[:1] == flow)
            assert what not in JOBS or step in JOBS


@pytest.mark.parametrize(
    ("one", "other", "may"),
    [
        ("patients", "patients", True),
        ("patients", "", True),
        ("patients", "therapists", False),
        ("", "patients", False),
    ],
)
def test_the_two_flows_of_the_practice_know_what_lies_beside_them_only(one: str, other: str, may: bool) -> None:
    flow, _ = flow_and_step(tuple(filter(None, ("practice", one, "step"))))
    known, _ = flow_and_step(tuple(filter(None, ("practice", other, "step"))))
    assert (known in (flow, beside(flow))) is may


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("sandbox/")])
def test_the_sandbox_knows_no_more_of_a_flow_than_its_payload_rules(path: str) -> None:
    known = {flow_and_step(target[1:])[1] for target in own(MODULES[path]) if target[:1] == ("flows",)}
    assert known <= PAYLOAD_RULES


@pytest.mark.parametrize("path", sorted(MODULES.keys() - PRINTERS))
def test_only_the_output_prints(path: str) -> None:
    tree = MODULES[path]
    found = {name for name in calls(tree) if name in ("print", "typer.echo", "typer.secho", "sys.stdout.write")}
    found |= {name for name in calls(tree) if name.startswith("sys.stderr.write")}
    found |= {name for name in imported(tree) if name.partition(".")[0] == "rich"}
    assert found == set()


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {POOL}))
def test_there_is_one_thread_pool(path: str) -> None:
    tree = MODULES[path]
    pools = {name for name in imported(tree) if name.endswith("Executor") or name.startswith("multiprocessing")}
    threads = {name for name in calls(tree) if name in ("threading.Thread", "Thread")}
    loops = {name for name in imported(tree) if name.startswith("asyncio")}
    assert pools == set()
    assert threads == set() or path.startswith("sandbox/") or path in THREADS
    assert loops == set() or path.startswith("web/")  # the server's own loop


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {RETRY, TRANSACTIONS}))
def test_trying_again_is_written_once(path: str) -> None:
    libraries = {name.partition(".")[0] for name in imported(MODULES[path])}
    assert libraries & {"tenacity", "stamina", "backoff"} == set()


@pytest.mark.parametrize("path", sorted(MODULES.keys() - PATIENT))
def test_nothing_else_waits(path: str) -> None:
    sleeps = {name for name in calls(MODULES[path]) if name in ("time.sleep", "sleep")}
    assert sleeps == set() or path.startswith("sandbox/")  # a stand-in is slow on purpose


def journal_sql(tree: ast.Module) -> set[tuple[bool, str]]:
    """What the SQL of a module does to tables of the journal: whether it only reads, and the table."""
    tables = {table for tables in STORES for table in tables}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [one for text in texts for one in OF_TABLE.findall(text)]
    return {(verb in ("FROM", "JOIN"), table) for verb, table in found if table in tables}


@pytest.mark.parametrize("path", MODULES)
def test_each_table_of_the_journal_is_known_to_its_store_alone(path: str) -> None:
    own = {table for tables, stores in STORES.items() if path in stores for table in tables}
    foreign = {(reads, table) for reads, table in journal_sql(MODULES[path]) if table not in own}
    assert foreign <= ({(True, "runs")} if path in READ_RUNS else set())


def test_the_stores_say_sql_to_every_table() -> None:
    known = {table for path in MODULES for _, table in journal_sql(MODULES[path])}
    assert known == {table for tables in STORES for table in tables}


@pytest.mark.parametrize("path", sorted(MODULES.keys() - {path for stores in STORES.values() for path in stores}))
def test_flows_hand_the_journal_values_and_no_sql(path: str) -> None:
    tree = MODULES[path]
    assert {name for name in calls(tree) if name.endswith("journal.reading")} == set()
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
    named = {ast.unparse(item.context_expr) for item in items if item.optional_vars is not None}
    assert {name for name in named if name.endswith("journal.transaction()")} == set()


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("cli/")])
def test_commands_load_what_is_heavy_when_they_need_it(path: str) -> None:
    heavy = {"pydantic", "pydantic_settings", "requests", "urllib3", "msal", "sqlalchemy", "rich", "dotenv", "orjson"}
    top = ast.Module([node for node in MODULES[path].body if not isinstance(node, ast.If)], [])
    at_once = ast.Module([node for node in top.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    assert heavy & {name.partition(".")[0] for name in imported(at_once)} == set()


def test_the_second_program_knows_the_first_one_only() -> None:
    path = SOURCE / "api_pipeline" / "__main__.py"
    known = set(own(ast.parse(path.read_text(encoding="utf-8"))))
    assert {target[0] for target in known} <= {"cli", "errors", "hints"}
