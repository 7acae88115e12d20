"""Every option has a variable, in the environment or the env file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from dataflows.cli.main import _command, app, main
from dataflows.cli.options import Variable, defaults, variables

Capture = pytest.CaptureFixture[str]


def known() -> dict[str, Variable]:
    return {variable.name: variable for variable in variables(typer.main.get_command(app))}


def test_names_follow_the_rule() -> None:
    found = known()["DATAFLOWS_CSC_SUBMIT_RETRY_ERRORS"]
    assert (found.commands, found.option, found.parameter) == (("csc-submit",), "--retry-errors", "retry_errors")
    assert known()["DATAFLOWS_TEST_DB_JSON"].parameter == "as_json"


def test_the_environment_beats_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOWS_CSC_SUBMIT_LIMIT", "5")
    written = {"dataflows_csc_submit_limit": "6", "DATAFLOWS_CSC_SUBMIT_CHILD": "SYNTH1"}
    assert defaults(list(known().values()), written) == {"csc-submit": {"limit": "5", "child": "SYNTH1"}}


def test_nested_commands_have_nested_defaults() -> None:
    variable = Variable("X", ("runs", "list"), "--tag", "tags", "", multiple=True)
    assert defaults([variable], {"X": "a b"}) == {"runs": {"list": {"tags": ["a", "b"]}}}


def test_a_bad_variable_is_a_setting_and_no_usage_error(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("DATAFLOWS_CSC_SUBMIT_LIMIT=many\n", encoding="utf-8")
    assert main(["csc-submit"]) == 10
    assert capsys.readouterr().err.startswith("error: DATAFLOWS_CSC_SUBMIT_LIMIT: Invalid value for '--limit'")


def test_an_option_on_the_command_line_beats_its_variable(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("DATAFLOWS_CSC_SUBMIT_LIMIT", "many")
    assert main(["csc-submit", "--limit", "0", "--json"]) == 2
    assert "--limit" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_path_that_may_not_be_read_is_told_by_what_reads_it() -> None:
    """Typer would call it wrong usage, and of a folder to write into, too."""

    def paths(command: Any) -> Iterator[tuple[str, bool]]:
        for parameter in command.params:
            info = parameter.type_descriptor.parameter_info
            if "Path" in str(parameter.type_descriptor.annotation):
                yield parameter.name, info.readable
        for inner in getattr(command, "commands", {}).values():
            yield from paths(inner)

    found = list(paths(_command()))
    assert len(found) > 7
    assert [name for name, readable in found if readable] == []
