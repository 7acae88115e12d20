"""Hints can be pasted: every command in the code is one that there is, and names the place that it is about."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from dataflows import hints
from dataflows.cli.arguments import options_first
from dataflows.cli.main import app, main
from dataflows.errors import ServiceDown
from dataflows.events import Event, Step
from dataflows.flows.cqc import job
from dataflows.runs.runner import Run
from dataflows.settings import table
from tests.keyrings import in_memory

SOURCE = Path(__file__).resolve().parent.parent / "src"
PROGRAM: Any = typer.main.get_command(app)
# a command goes to the end of the text or to the first of these; what is not known before stands as X
ENDS = re.compile(r"[;,)\n`]| [(<]|$")
UNKNOWN = "X"
NO_HINTS = {  # the name of a database lock, and the mark of a file
    ("dataflows/flows/csc/job.py", "csc-submit X"),
    ("dataflows/cli/sandbox.py", "sandbox --write-env"),
}
Capture = pytest.CaptureFixture[str]


def texts(node: ast.AST) -> Iterator[str]:
    """The texts of a file, with X for what is only known when it runs."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else UNKNOWN for part in one.values)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
        else:
            yield from texts(one)


def commands() -> Iterator[tuple[str, str]]:
    """Every command in a text of the source, with where it stands."""
    names = "|".join(map(re.escape, PROGRAM.commands))
    for path in sorted(SOURCE.rglob("*.py")):
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            for found in re.finditer(rf"(?<![\w./\\-])dataflows (?=(--[a-z-]+ \S+ )*({names})\b)", text):
                end = ENDS.search(text, found.end())
                assert end is not None
                yield path.relative_to(SOURCE).as_posix(), text[found.end() : end.start()].rstrip(" .:")


def take(words: Sequence[str]) -> None:
    """Let the program's own parser take the words, down to the last option. Raises as the program would."""
    context, command, rest = None, PROGRAM, options_first(PROGRAM, words)
    while hasattr(command, "commands"):
        while rest and rest[0].startswith("-"):
            options = {name: one for one in command.params for name in one.opts}
            rest = rest[1 if options[rest[0].partition("=")[0]].is_flag or "=" in rest[0] else 2 :]
        context = typer.Context(command, parent=context, info_name="dataflows")
        if not rest and command.invoke_without_command:
            return
        command, rest = command.commands[rest[0]], rest[1:]
    if "--help" not in rest:
        command.make_context("command", list(rest), parent=context)


def test_every_command_in_a_text_is_one_that_the_program_takes() -> None:
    found = sorted(set(commands()) - NO_HINTS)
    assert len(found) > 60
    refused = []
    for place, text in found:
        try:
            take(["7" if word in ("ID", UNKNOWN) else word for word in shlex.split(text)])
        except (typer.TyperException, KeyError, IndexError) as error:
            refused.append((place, text, error))
    assert refused == []


@pytest.mark.parametrize("text", ["runs go-on 7", "csc-submit --sned", "runs resume", "test-db now"])
def test_the_parser_of_this_test_refuses_what_is_not_there(text: str) -> None:
    with pytest.raises((typer.TyperException, KeyError)):
        take(shlex.split(text))


def hint_texts() -> Iterator[tuple[str, str]]:
    """What stands after ``hint=`` in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(one, ast.keyword) and one.arg == "hint":
                yield from ((path.relative_to(SOURCE).as_posix(), text) for text in texts(ast.Expr(one.value)))


def options_of(command: Any) -> set[str]:
    own = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    return own.union(*map(options_of, getattr(command, "commands", {}).values()), {"--help"})


def test_every_option_in_a_hint_is_one_that_there_is() -> None:
    known = options_of(PROGRAM)
    named = [(place, option) for place, text in hint_texts() for option in re.findall(r"(?<!\w)--[a-z][a-z-]*", text)]
    assert len(named) > 40
    assert [one for one in named if one[1] not in known] == []


def test_no_text_installs_anything_from_an_index() -> None:
    found = [(path, text) for path in SOURCE.rglob("*.py") for text in texts(ast.parse(path.read_text("utf-8")))]
    assert [one for one in found if re.search(r"\bpipx? install\b|\buvx?\b (add|install|pip)", one[1])] == []


def test_a_frozen_program_never_says_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "extra kafka" in hints.with_extra("kafka")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not re.search("pip|extra|install", hints.with_extra("kafka"))


# --- a hint repeats what the call was given ---------------------------------------------------------------------------


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with blanks, umlauts and an env file in it; the working folder is another one, and nothing is set."""
    for spec in table():
        monkeypatch.delenv(spec.name, raising=False)
    here = tmp_path / "Bürgermeister Groß's"
    here.mkdir()
    (here / "my.env").write_text("LA_CODE=998\nAPI_ENDPOINT=http://127.0.0.1:9\n", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(here)
    return here


def pasted(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path, after: str = "dataflows ") -> list[str]:
    """The words of the command at the end of a text, as a shell reads them; typed in another folder."""
    monkeypatch.chdir(folder.parent / "elsewhere")
    return shlex.split(text[text.rindex(after) :])[1:]


def hint(error: str) -> str:
    return next(line for line in error.splitlines() if line.startswith("hint: "))


GIVEN = ["--env-file", "my.env", "--data-dir", "data"]


@pytest.mark.skipif(sys.platform == "win32", reason="shlex reads as POSIX shells do")
def test_the_table_is_made_where_it_was_missed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert main([*GIVEN, "csc-submit", "--dry-run"]) == 10
    assert main(pasted(hint(capsys.readouterr().err), monkeypatch, folder)) == 0
    with closing(sqlite3.connect(folder / "data" / "staging.db")) as database:
        assert database.execute("SELECT count(*) FROM ssd_api_data_staging").fetchone() == (0,)


@pytest.mark.skipif(sys.platform == "win32", reason="shlex reads as POSIX shells do")
@pytest.mark.parametrize("ending", ["down", "interrupted"])
def test_a_run_is_gone_on_with_by_its_hint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, ending: str
) -> None:
    """Also by the hint that ``runs show`` gives, and the one in JSON; each names the id, the file and the folder."""

    def breaks_off(_settings: object, _options: object) -> object:
        def events(_run: Run) -> Iterator[Event]:
            yield Step("working")
            raise (
                KeyboardInterrupt
                if ending == "interrupted"
                else ServiceDown("away", reason="service-error", hint=hints.RESUME)
            )

        return events

    with monkeypatch.context() as patch:
        patch.setattr(job, "fetch", breaks_off)
        assert main(["cqc-fetch", "--json", *GIVEN]) in (13, 130)
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["error"]["hint"] == hint(err).removeprefix("hint: ")
    words = pasted(hint(err), monkeypatch, folder)
    assert words == ["--env-file", str(folder / "my.env"), "--data-dir", str(folder / "data"),
                     "runs", "resume", document["run_id"][:8]]  # fmt: skip
    assert main([*words[:-2], "show", words[-1]]) == 0
    shown = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("hint"))
    assert pasted(shown, monkeypatch, folder) == words
    monkeypatch.setattr(job, "fetch", lambda _settings, _options: lambda _run: iter([Step("fetched")]))
    monkeypatch.setattr("dataflows.cli.cqc_fetch._show", lambda _call, _report: None)
    assert main(words) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="shlex reads as POSIX shells do")
def test_what_lacks_leads_to_config_and_from_there_to_the_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with (folder / "my.env").open("a", encoding="utf-8") as file:
        file.write("CLIENT_SECRET=keyring://dataflows/csc\n")
    with in_memory() as ring:
        assert main([*GIVEN, "csc-submit"]) == 10
        config = pasted(hint(capsys.readouterr().err), monkeypatch, folder)
        assert main(config) == 10  # the secret is not there
        words = pasted(hint(capsys.readouterr().err), monkeypatch, folder)
        monkeypatch.setattr(sys, "stdin", io.StringIO("hush"))
        assert main(words) == 0
        assert ring.kept == {("dataflows", "csc"): "hush"}
        assert main(config) == 0


def test_what_cannot_be_resumed_is_not_said_to_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def stopped(_run: Run) -> Iterator[Event]:
        yield Step("working")
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "fetch", lambda _settings, _options: stopped)
    assert main(["cqc-fetch", "--dry-run", *GIVEN]) == 130
    assert hint(capsys.readouterr().err) == "hint: the same command once more"


def test_settings_for_one_call_are_repeated_but_no_secret(folder: Path, capsys: Capture) -> None:
    given = ["--set", "TABLE_NAME=a.b", "--set", "CLIENT_SECRET=hush", "--set", "DB_CONNECTION_STRING=sqlite:///x"]
    assert main(["runs", "show", "7f3a", "--data-dir", "d", *given]) == 2
    told = hint(capsys.readouterr().err)
    assert told == f"hint: see: dataflows --data-dir {hints.quoted(str(folder / 'd'))} --set TABLE_NAME=a.b runs list"


def test_a_variable_of_the_shell_is_not_repeated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DATAFLOWS_ENV_FILE", str(folder / "my.env"))
    assert main(["runs", "show", "7f3a", "--data-dir", str(folder)]) == 2
    assert "--env-file" not in hint(capsys.readouterr().err)


# --- as this program and this shell name it ---------------------------------------------------------------------------


def caller(**how: Any) -> hints.Caller:
    return hints.Caller(commands=("csc-submit", "runs", "test-db"), **how)


def test_commands_alone_are_replaced() -> None:
    text = "dataflows csc-submit --requeue; dataflows goes on; see /srv/dataflows runs and dataflows runs-of-old"
    with hints.called(caller(program="py -m dataflows", options="--data-dir d")):
        assert hints.pasteable(text) == text.replace("dataflows csc-submit", "py -m dataflows --data-dir d csc-submit")
    assert hints.pasteable(text) == text


def test_what_is_pasteable_stays_so() -> None:
    """The report of a night has passed through it before it is mailed."""
    with hints.called(caller(program="py -m dataflows")):
        once = hints.pasteable("see: dataflows runs list")
        assert once == "see: py -m dataflows runs list"
        assert hints.pasteable(once) == once


def test_a_program_in_front_names_its_own_commands() -> None:
    with hints.called(caller(front="csc_api_pipeline", renamed={"csc-submit": "run", "test-db": "test-db"})):
        assert hints.pasteable("dataflows csc-submit --takeover") == "csc_api_pipeline run --takeover"
        assert hints.pasteable("then: dataflows test-db") == "then: csc_api_pipeline test-db"
        assert hints.pasteable("dataflows runs list") == "dataflows runs list"


@pytest.mark.parametrize(
    ("platform", "word", "typed"),
    [
        ("linux", "/srv/csc/.env", "/srv/csc/.env"),
        ("linux", "/srv/it's here", "'/srv/it'\"'\"'s here'"),
        ("linux", "a\\b", "'a\\b'"),
        ("win32", "C:\\csc\\.env", "C:\\csc\\.env"),
        ("win32", "C:\\Daten Groß\\.env", '"C:\\Daten Groß\\.env"'),
        ("win32", "C:\\Kämmerei\\.env", "C:\\Kämmerei\\.env"),
        ("win32", "C:\\a&b(1)\\.env", '"C:\\a&b(1)\\.env"'),
    ],
)
def test_words_are_quoted_for_the_shell_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, platform: str, word: str, typed: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert hints.quoted(word) == typed


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher of a console script is an exe there")
@pytest.mark.parametrize("on_path", [True, False])
def test_the_program_is_named_as_the_shell_finds_it(tmp_path: Path, on_path: bool) -> None:
    """A real process each, started by its path; the hint's first words start it again."""
    scripts = tmp_path / "mit Umlaut ä"
    scripts.mkdir()
    for name, package in (("dataflows", "dataflows"), ("csc_api_pipeline", "api_pipeline")):
        text = (
            f'#!/usr/bin/env -S "{sys.executable}"\nimport sys\nfrom {package}.__main__ import main\nsys.exit(main())\n'
        )
        (scripts / name).write_text(text, encoding="utf-8")
        (scripts / name).chmod(0o700)
    environment = {"PATH": str(scripts) if on_path else "/nowhere", "HOME": str(tmp_path)}
    for name in ("dataflows", "csc_api_pipeline"):
        words = [str(scripts / name), "test-db", "--data-dir", "here", "--no-such"]
        done = subprocess.run(
            words, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=tmp_path, check=False
        )
        assert done.returncode == 2
        named = name if on_path else f"'{scripts / name}'"
        assert hint(done.stderr) == f"hint: see: {named} --data-dir {tmp_path / 'here'} test-db --help"


@pytest.mark.skipif(sys.platform == "win32", reason="a folder that is in use cannot be removed there")
def test_a_working_folder_that_is_gone_keeps_nobody_from_the_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); from dataflows.__main__ import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--data-dir", "d", "runs", "list", "--no-such"],
        capture_output=True, text=True, encoding="utf-8", cwd=gone, check=False,
    )  # fmt: skip
    assert (done.returncode, hint(done.stderr)) == (2, "hint: see: dataflows --data-dir d runs list --help")


def test_the_module_is_named_where_it_was_called(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dataflows", "test-db", "--no-such"],
        capture_output=True, text=True, encoding="utf-8", cwd=tmp_path, check=False,
    )  # fmt: skip
    assert re.fullmatch(r"hint: see: .*python\S* -m dataflows test-db --help", hint(done.stderr))
