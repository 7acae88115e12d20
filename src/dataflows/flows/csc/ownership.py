"""Whose table: whether this machine, with its journal and key, may send what a staging table says to this receiver.

A journal recognises a table by the receipts in its rows, wherever the table was copied or moved. One that knows nothing
of a table whose rows show that somebody sent them does not send: two machines that both mark rows as sent, for two
receivers, would each hide changes from the other. The same with the key: under another one, every child in the journal
would seem to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.events import Event, Warned
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.claims import ClaimedKey
from dataflows.flows.csc.reading import says_nothing
from dataflows.runs.journal import Journal
from dataflows.runs.keys import KEY_FILE, IdentifierCipher

if TYPE_CHECKING:
    from dataflows.flows.csc.staging import StagingTable

_PAGE = 1000
_NEWEST = 100
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY_HINT = (
    "restore it from a backup, or name the DATA_DIR that it belongs to; if it is lost: dataflows csc-submit --takeover,"
    " which sends everything pending whole"
)
_WAYS_ON = (
    "is this the right DATA_DIR? If the table was sent to this receiver: dataflows csc-submit --takeover;"
    " if this receiver is new: --requeue; to try without writing back: --rehearsal"
)


# --- the key of the journal ---------------------------------------------------------------------------------------


def cipher_of(data_dir: Path, journal: Journal, *, takeover: bool = False) -> IdentifierCipher:
    """Return the cipher that the children of the journal are named with.

    With ``takeover`` another key than the one from before is taken, and the children of that one are put away: kept,
    but never looked at again.

    Raises:
        SettingUnusable: the key is missing, damaged, or not the one of this journal.
    """
    claimed = ClaimedKey(journal)
    known, sample = claimed.known()
    if (known or sample) and not takeover and not (data_dir / KEY_FILE).exists():
        raise SettingUnusable(
            f"the key of the journal is missing: {data_dir / KEY_FILE}", reason="journal-key", hint=_KEY_HINT
        )
    cipher = IdentifierCipher.of(data_dir)
    fits = cipher.key_fingerprint == known if known else sample is None or cipher.decrypt(sample) is not None
    if not fits and not takeover:
        raise SettingUnusable(
            f"the journal was written with a different key than {data_dir / KEY_FILE}",
            reason="journal-key",
            hint=_KEY_HINT,
        )
    if known is None or not fits:
        claimed.remember(cipher.key_fingerprint, archive=not fits)
    return cipher


def named_children(data_dir: Path, journal: Journal | None, *, takeover: bool) -> tuple[Journal, IdentifierCipher]:
    """Return a journal with the cipher that its children are named with: of a rehearsal (None), both are forgotten.

    Raises:
        SettingUnusable: as ``cipher_of``.
    """
    if journal is None:
        return Journal.in_memory(), IdentifierCipher.forgotten()
    return journal, cipher_of(data_dir, journal, takeover=takeover)


# --- the table ----------------------------------------------------------------------------------------------------


def settle_ownership(
    acks: Acknowledgements, staging: StagingTable, *, dry_run: bool, requeue: bool, takeover: bool
) -> Iterator[Event]:
    """Make sure that this journal may send what the table says, or make it so where that is asked for.

    Raises:
        SettingUnusable: it may not; in a dry run that is a warning only.
    """
    if dry_run:
        yield from _foreseen(acks, staging)
    elif requeue:
        rows = staging.requeue()  # first: else a kill in between would let the next run believe it was done
        acks.table.adopt(_newest(staging))
        acks.table.start_anew()
        yield Warned(f"{rows} rows were set to pending; all of them are sent whole", reason="csc-requeued")
    elif takeover:
        acks.table.adopt(_newest(staging))
        acks.table.take_over()
        yield Warned(
            "this table belongs to this machine's journal now; everything pending is sent whole",
            reason="csc-taken-over",
        )
    else:
        newest = _newest(staging)
        _require_own(acks, staging, newest)
        acks.table.adopt(newest)


def _foreseen(acks: Acknowledgements, staging: StagingTable) -> Iterator[Event]:
    try:
        _require_own(acks, staging, _newest(staging))
    except SettingUnusable as error:
        yield Warned(
            f"without --dry-run this would end with exit code 10: {error.message}",
            reason="csc-dry-run-refused",
            hint=error.hint,
        )


def _require_own(acks: Acknowledgements, staging: StagingTable, newest: set[str]) -> None:
    if former := acks.table.former_receiver():
        raise _another_receiver(former)
    if acks.table.claimed() and not _was_sent_elsewhere(acks, newest):
        return
    shown = False
    for receipts in _receipts(staging):
        shown = shown or bool(receipts)
        receivers = acks.table.receivers_of(receipts)
        if None in receivers:
            return
        if receivers:
            raise _another_receiver(str(min(filter(None, receivers))))
    if shown:
        raise SettingUnusable(
            "rows of this table have receipts from another machine or program that are not in this journal",
            reason="csc-foreign-receipts",
            hint=_WAYS_ON,
        )


def _was_sent_elsewhere(acks: Acknowledgements, newest: set[str]) -> bool:
    """Tell whether the newest rows show receipts, and none that this journal wrote or adopted.

    Then another machine has sent this table since, and what this journal knows may be of long ago.
    """
    return bool(newest) and acks.table.is_watched() and not acks.table.knows_any(newest)


def _newest(staging: StagingTable) -> set[str]:
    """Return the receipts that the newest rows show; a look that costs the same however long the table is."""
    columns = staging.table.c
    newest = sa.select(columns.id, columns.api_response, columns.submission_status).order_by(columns.id.desc())
    page = staging.look(newest.limit(_NEWEST))
    return {row[1].rstrip() for row in page if row[1] and _is_receipt(row[1], row[2])}


def _another_receiver(former: str) -> SettingUnusable:
    return SettingUnusable(
        f"this table was last sent to another receiver: {former}",
        reason="csc-other-receiver",
        hint="correct API_ENDPOINT or LA_CODE, or send everything there: dataflows csc-submit --requeue",
    )


def _receipts(staging: StagingTable) -> Iterator[set[str]]:
    """Yield what rows show as receipts, in pages, newest rows first."""
    columns = staging.table.c
    newest = sa.select(columns.id, columns.api_response, columns.submission_status).order_by(columns.id.desc())
    statement = newest.where(columns.api_response != "").limit(_PAGE)
    page = staging.look(statement)
    while page:
        yield {row[1].rstrip() for row in page if _is_receipt(row[1], row[2])}
        page = staging.look(statement.where(columns.id < page[-1][0]))


def _is_receipt(response: str, status: str | None) -> bool:
    """Tell a receipt (all that were ever seen hold a UUID) from somebody's words about a failure."""
    if says_nothing(response.rstrip()):
        return False
    return (status or "").strip().lower() == "sent" or _UUID.search(response) is not None
