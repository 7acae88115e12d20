"""The only place that prints. Results go to stdout and nothing else does; all the rest goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dataflows.cli.wording import write_line
from dataflows.errors import DataflowsError, ExitCode, Interrupted, marked, printable
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from pathlib import Path

    from dataflows.cli.progress import Watch
    from dataflows.events import Event
    from dataflows.runs.runner import Outcome, Report

_COLORS = {"red": "31", "yellow": "33"}


class Output:
    """How this process speaks: chosen once, from the flags and from where stdout and stderr lead."""

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, color: bool = True, as_json: bool = False
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.color = color
        self.as_json = as_json
        self.command = ""
        self.data_dir: Path | None = None
        self.summed_up = False
        self._one_of_many = False
        self._began = time.monotonic()
        self._watch: Watch | None = None
        self._live = False

    def anew(self) -> Output:
        """The same way of speaking for one run of many, with nothing said yet; a document is one line then."""
        fresh = Output(quiet=self.quiet, verbose=self.verbose, color=self.color, as_json=self.as_json)
        fresh.command, fresh.data_dir, fresh._one_of_many = self.command, self.data_dir, True
        return fresh

    # -- while a command runs

    def listener(self, event: Event) -> None:
        """Show one event of a job."""
        from dataflows.events import Warned

        if self._watch is None:
            from dataflows.cli.progress import Watch

            detail = self._err if self.verbose and not self.quiet else None
            self._watch = Watch(self.command, quiet=self.quiet, color=self.color, detail=detail)
            self._live = True
        if isinstance(event, Warned):
            self.warn(event.message, event.hint, reason=event.reason)
        self._watch.take(event)

    def warn(self, message: str, hint: str = "", *, reason: str) -> None:
        """Tell the operator something that does not stop the command."""
        if not self.quiet:
            self._err(f"warning: {marked(message, reason)}", "yellow")
            if hint:
                self._err(f"hint: {pasteable(hint)}")

    def note(self, text: str) -> None:
        """Say something on stderr that is no result."""
        if not self.quiet:
            self._err(pasteable(text))

    # -- questions

    def ask(self, question: str) -> str:
        """Ask a person at the terminal, on stderr. Returns the line that is typed, without blanks around it.

        Raises:
            Interrupted: the input has ended.
        """
        self.close()
        sys.stderr.write(question)
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            raise Interrupted(
                "nobody answered the question",
                reason="question-unanswered",
                hint="answer at the terminal, or give it all with options (see --help)",
            )
        return answer.strip()

    def ask_secret(self, question: str) -> str:
        """The same, and what is typed is not shown."""
        from getpass import getpass

        self.close()
        try:
            return getpass(question, stream=sys.stderr).strip()
        except EOFError:
            raise Interrupted(
                "nobody answered the question", reason="question-unanswered", hint="write the secret to stdin"
            ) from None

    # -- results

    def say(self, text: str) -> None:
        """Print a line of the result on stdout."""
        self._out(printable(text, keep="\n"))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table on stdout: drawn by rich on a terminal, in plain columns elsewhere."""
        from dataflows.cli.wording import columns_of

        cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
        if self.on_terminal:
            self._out(_drawn_table(columns, cells, color=self.color))
        else:
            self._out("\n".join(columns_of([list(columns), *cells])))

    def document(self, document: Mapping[str, object]) -> None:
        """Print the one JSON document of a command."""
        import json

        indent = 2 if self.on_terminal and not self._one_of_many else None
        self._out(printable(json.dumps(document, ensure_ascii=False, indent=indent, default=str), keep="\n"))

    @property
    def on_terminal(self) -> bool:
        """Whether a person sees stdout. Only then the item behind a hash may be shown."""
        return sys.stdout.isatty()

    @property
    def width(self) -> int:
        """How many characters a line of stdout has room for: those of the terminal; in a file as many as it takes."""
        import shutil

        return shutil.get_terminal_size((80, 24)).columns if self.on_terminal else 10_000

    # -- endings

    def finish(self, outcome: Outcome, as_json: bool = False, show: Callable[[Report], None] | None = None) -> int:
        """Print the result of a run, what failed, and the last line. Returns the exit code.

        ``show`` prints the report for people in its own way; without it every figure is a line.
        """
        from dataflows.cli.wording import columns_of, outcome_document
        from dataflows.runs.wording import counts_in_words, facts_of

        self.close()
        dry_run = bool(outcome.report.get("dry_run"))
        if as_json or self.as_json:
            self.document(outcome_document(outcome))
        elif show is not None and outcome.report and not self.quiet:
            show(outcome.report)
        elif not self.quiet and (facts := facts_of(outcome.report, dry_run=dry_run)):
            self._out("\n".join(columns_of(facts)))
        self._list_failures(outcome.run_id)
        if outcome.error is not None:
            self._explain(outcome.error)
        run = f"run {outcome.run_id[:8]} " if outcome.run_id else ""
        would = "dry run, would be " if dry_run else ""
        text = f"{run}{outcome.command}: {would}{counts_in_words(outcome.counts)}"
        self._sum_up(text, outcome.exit_code, seconds=outcome.seconds, log_file=outcome.log_file)
        return int(outcome.exit_code)

    def ended(self, text: str, exit_code: ExitCode = ExitCode.OK, log_file: Path | None = None) -> int:
        """Print the last line of a command that is no run (``text`` are its counts). Returns the exit code."""
        self.close()
        self._sum_up(f"{self.command}: {text}", exit_code, log_file=log_file)
        return int(exit_code)

    def failed(self, error: DataflowsError, as_json: bool = False) -> int:
        """Print an error that kept a command from running. Returns its exit code."""
        from dataflows.cli.wording import failure_document

        self.close()
        if as_json or self.as_json:
            self.document(failure_document(error))
        self._explain(error)
        if self.command and not self.summed_up and error.exit_code is not ExitCode.USAGE:
            self._sum_up(f"{self.command}: not done", error.exit_code)
        return int(error.exit_code)

    def crashed(self, log_file: Path | None, as_json: bool = False) -> int:
        """Print one line about a bug; the traceback is in the log. Returns 1."""
        error = DataflowsError(
            "this is a bug in dataflows",
            reason="bug",
            hint=f"please report it with the log: {log_file or 'none could be written'}",
        )
        error.code = "bug"
        return self.failed(error, as_json)

    def close(self) -> None:
        """Take the progress off the screen, so that results stand alone."""
        if self._watch is not None and self._live:
            self._live = False
            self._watch.face.close()

    # -- how

    def _out(self, text: str) -> None:
        self.close()
        write_line(text, sys.stdout)

    def _err(self, text: str, style: str = "") -> None:
        text = printable(text, keep="\n")
        if self._watch is not None and self._live:
            self._watch.face.say(text, style)
        else:
            write_line(self._painted(text, style), sys.stderr)

    def _painted(self, text: str, style: str) -> str:
        """The word before the colon in colour, on a terminal that wants it; the word itself says enough."""
        code = _COLORS.get(style)
        if code is None or not self.color or not sys.stderr.isatty() or sys.platform == "win32":
            return text
        word, colon, rest = text.partition(":")
        return f"\x1b[{code}m{word}{colon}\x1b[0m{rest}"

    def _explain(self, error: DataflowsError) -> None:
        if error.exit_code is ExitCode.BUG:
            self._err(f"error: {marked(error.message, error.reason)}; {pasteable(error.hint)}", "red")
            return
        self._err(f"error: {marked(error.message, error.reason)}", "red")
        if error.hint:
            self._err(f"hint: {pasteable(error.hint)}")

    def _list_failures(self, run_id: str | None) -> None:
        if self._watch is None:
            return
        failures = self._watch.failures
        for line in failures.lines():
            self._err(line)
        if failures.more:
            shown = pasteable(f"dataflows runs show {(run_id or 'ID')[:8]}")
            self._err(f"and {failures.more} more, see: {shown}")

    def _sum_up(
        self, text: str, exit_code: ExitCode, *, seconds: float | None = None, log_file: Path | None = None
    ) -> None:
        from dataflows.runs.wording import took

        lasted = took(time.monotonic() - self._began if seconds is None else seconds)
        log = f", log {log_file}" if log_file and log_file.exists() else ""
        data = f", data {self.data_dir}" if self.data_dir else ""
        self._err(f"{text} in {lasted} -> exit {int(exit_code)}{log}{data}")
        self.summed_up = True


def _drawn_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, color: bool) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(no_color=not color, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()
