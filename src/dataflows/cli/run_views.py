"""How runs of the journal are shown: a list, one run with its reasons, two runs compared, failed items as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import WrongUsage, marked
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from dataflows.cli.output import Output
    from dataflows.runs.journal import Item, Journal, RunRecord
    from dataflows.runs.nights import Difference

ITEMS_SHOWN = 20
_DIFFERENCES_SHOWN = 50
_FACTS = (
    *("run_id", "command", "state", "exit_code", "batch_id", "started_at", "ended_at"),
    *("total", "counts", "step", "continued_by", "log_file"),
)
_IN_JSON = {"state": "status"}


# --- a list ----------------------------------------------------------------------------------------------------------


def run_lines(records: Sequence[RunRecord], width: int) -> Iterator[str]:
    """Yield a line for each run, cut to the width, and one for each new day above its runs."""
    day = ""
    for record in records:
        began = _local(record.started_at)
        if began[:10] != day:
            day = began[:10]
            yield day
        line = f"  {began[11:16]}  {record.run_id[:8]}  {record.command:<16}  {_state(record):<9}  {_outcome(record)}"
        yield line if len(line) <= width else f"{line[: width - 1]}…"


def _state(record: RunRecord) -> str:
    return "dry run" if record.options.get("dry_run") else record.state


def _outcome(record: RunRecord) -> str:
    """Say how a run ended in the few words that a line has room for: the figures, else the error."""
    from dataflows.runs.wording import counts_in_words

    figures = counts_in_words({name: count for name, count in record.counts.items() if count})
    return "; ".join(one for one in (figures, record.error or "", record.step) if one)


# --- one run ---------------------------------------------------------------------------------------------------------


def run_document(record: RunRecord) -> dict[str, object]:
    """Return a run as it stands in JSON documents."""
    from dataflows.cli.wording import error_entry

    facts = {_IN_JSON.get(name, name): getattr(record, name) for name in _FACTS}
    return {**facts, "dry_run": bool(record.options.get("dry_run")), "error": error_entry(record.error_entry)}


def run_line(record: RunRecord) -> str:
    """Say in a line how far a run is."""
    of = f" of {record.total}" if record.total else ""
    return f"run {record.run_id[:8]} {record.command}: {_counts(record)}{of}; {record.step or 'working'}"


def print_run(output: Output, journal: Journal, record: RunRecord, failures: Sequence[Item]) -> None:
    """Print all that is known of a run: how it ended and why, what it warned of, its report, items that failed."""
    from dataflows.runs.nights import warnings_of
    from dataflows.runs.wording import facts_of

    output.table(("", ""), [fact for fact in _facts(record) if fact[1]])
    if figures := facts_of(journal.report(record.run_id) or {}):
        output.table(("report", ""), figures)
    for warning in warnings_of(journal, record):
        output.say(f"warning: {warning.get('message', '')}")
        if hint := warning.get("hint"):
            output.say(f"hint: {pasteable(hint)}")
    if failures:
        output.table(("failed item", "code", "message"), [(i.key, i.code or "", i.message or "") for i in failures])
    total = journal.item_counts(record.run_id).get("failed", 0)
    if total > len(failures):
        output.note(f"and {total - len(failures)} more: dataflows runs show {record.run_id[:8]} --failed")


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    continued = f", continued by {record.continued_by[:8]}" if record.continued_by else ""
    return [
        ("run", record.run_id),
        ("command", f"{record.command} (dry run)" if record.options.get("dry_run") else record.command),
        ("state", f"{record.state}{continued}"),
        ("started", f"{_local(record.started_at)} by process {record.pid} on {record.host}"),
        ("lasted", _lasted(record)),
        ("items", _counts(record)),
        ("exit code", "" if record.exit_code is None else str(record.exit_code)),
        ("error", marked(record.error or "", record.reason)),
        ("hint", pasteable(record.hint or "")),
        ("log", record.log_file or ""),
    ]


def print_log(output: Output, record: RunRecord) -> None:
    """Print the log of a run.

    Raises:
        WrongUsage: it has none, or it is not there any more.
    """
    from dataflows.runs.logs import log_of

    text = log_of(record)
    if text is None:
        raise WrongUsage(
            f"run {record.run_id[:8]} no longer has a log",
            reason="runs-no-log",
            hint=f"to see what the journal has: dataflows runs show {record.run_id[:8]}",
        )
    output.say(text)


# --- what failed -----------------------------------------------------------------------------------------------------


def failed_items(journal: Journal, record: RunRecord, *, everything: bool) -> list[Item]:
    """Return the items of a run that failed: all of them, or the first few."""
    if everything:
        return list(journal.all_items(record.run_id, state="failed"))
    return journal.items(record.run_id, state="failed", limit=ITEMS_SHOWN)


def write_failed(path: Path, failures: Sequence[Item]) -> None:
    """Write items that failed for a spreadsheet: UTF-8 with its mark, for the owner alone.

    Raises:
        WrongUsage: the file cannot be written.
    """
    from dataflows.runs.wording import failed_csv
    from dataflows.store.files import write_whole

    try:
        write_whole(path, b"".join(failed_csv(failures)))
    except OSError as error:
        raise WrongUsage(
            f"{path} cannot be written ({error.strerror})",
            reason="schedule-out-unwritable",
            hint="choose another place for --csv",
        ) from None


# --- two runs --------------------------------------------------------------------------------------------------------


def difference_document(record: RunRecord, before: RunRecord, found: Difference) -> dict[str, object]:
    """Return the comparison as a JSON document."""
    listed = {name: [{"key": key, "code": code} for key, code in getattr(found, name)] for name in ("new", "gone")}
    return {
        "run_id": record.run_id,
        "before": before.run_id,
        "status": "done",
        "exit_code": 0,
        **listed,
        "kept": found.kept,
        "new_warnings": list(found.warnings),
        "counts": record.counts,
        "counts_before": before.counts,
        "error": None,
    }


def difference_lines(record: RunRecord, before: RunRecord, found: Difference) -> Iterator[str]:
    """Yield the comparison for people."""
    for run in (record, before):
        yield f"{run.run_id[:8]}  {_local(run.started_at)[:16]}  {run.state:<9}  {_counts(run)}"
    for sign, items in (("new ", found.new), ("gone", found.gone)):
        yield from (f"{sign}  {key}  {code}".rstrip() for key, code in items[:_DIFFERENCES_SHOWN])
        if len(items) > _DIFFERENCES_SHOWN:
            yield f"{sign}  and {len(items) - _DIFFERENCES_SHOWN} more: --json lists them all"
    yield from (f"new warning: {message}" for message in found.warnings)


def _counts(record: RunRecord) -> str:
    from dataflows.runs.wording import counts_in_words

    return counts_in_words(record.counts)


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lasted(record: RunRecord) -> str:
    from dataflows.runs.wording import took

    if record.ended_at is None:
        return ""
    length = datetime.fromisoformat(record.ended_at) - datetime.fromisoformat(record.started_at)
    return took(max(0.0, length.total_seconds()))
