"""What the answers of the CSC API to a batch mean, record by record; and batches of children with their answers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import orjson

from dataflows.errors import DataflowsError, SettingUnusable
from dataflows.flows.csc.decisions import Submission
from dataflows.flows.csc.schema import ChildSchema
from dataflows.remote.session import Reply
from dataflows.runs.journal import Item, now
from dataflows.store.files import private_folder, write_whole

_INDEX = re.compile(r"\[(\d{1,3})\]")
# as DfE's service was seen to write them: a moment and a UUID, or the UUID alone
_RECEIPT = re.compile(r"(?:[0-9][0-9T_:.-]{5,30}_)?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(?:\.json)?")


class RecordVerdict(StrEnum):
    """What became of one record."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # the API says no to this very record
    UNANSWERED = "unanswered"  # it may have arrived
    NOT_SENT = "not sent"  # it is known that nothing changed


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """The verdict on one record: ``detail`` is its receipt, or our own words for the refusal; ``code`` names it."""

    verdict: RecordVerdict
    detail: str = ""
    code: str = ""

    @property
    def words(self) -> str | None:
        """Our words for a record that was not accepted."""
        return self.detail if self.detail and self.verdict is not RecordVerdict.ACCEPTED else None


@dataclass(slots=True)
class BatchAnswer:
    """The answers to a batch, in its order; ``stop`` is what forbids to go on with the run."""

    answers: list[RecordAnswer]
    stop: DataflowsError | None = None


def receipts(reply: Reply, count: int) -> list[RecordAnswer]:
    """Read the receipts of an accepted batch (csc.md: one per record, or one for all, or none with 204)."""
    if reply.status == 204:
        return [RecordAnswer(RecordVerdict.ACCEPTED, f"accepted without receipt {uuid.uuid4()}")] * count
    try:
        document = orjson.loads(reply.body)
    except ValueError:
        document = None
    if isinstance(document, str) and document:
        return [RecordAnswer(RecordVerdict.ACCEPTED, _kept_receipt(document))] * count
    if isinstance(document, list) and len(document) == count and all(isinstance(one, str) and one for one in document):
        return [RecordAnswer(RecordVerdict.ACCEPTED, _kept_receipt(one)) for one in document]
    words = f"API error ({reply.status}): {_kept(document)} for {count} records"
    return [RecordAnswer(RecordVerdict.UNANSWERED, words, code="bad_receipts")] * count


def _kept_receipt(text: str) -> str:
    """Return a receipt as it is; of a text in another form, which may repeat a record, only that there was one."""
    return text if _RECEIPT.fullmatch(text) else f"accepted with a receipt of unknown form {uuid.uuid4()}"


def _kept(document: object) -> str:
    """Describe receipts of the wrong count; they are kept where they look like receipts and nothing else."""
    if not isinstance(document, list):
        return "no list of receipts"
    kept = [one for one in document if isinstance(one, str) and _RECEIPT.fullmatch(one)][:5]
    listed = ", ".join(kept)
    return f"{len(document)} receipts ({listed})" if kept else f"{len(document)} receipts"


def refusal(reply: Reply, schema: ChildSchema) -> RecordAnswer:
    """Put the refusal of a single record into our own words; of the far side's text only attribute paths are kept."""
    words = {
        403: "a firewall in front of the API refuses the record (ids that contain 0x are known to do this)",
        413: "the record is too large",
    }.get(reply.status, "the record is refused")
    text = reply.body[:20_000].decode("utf-8", "replace") if reply.status != 403 else ""
    paths = schema.attribute_paths(text)
    about = f": {', '.join(paths[:5])}" if paths else ""
    return RecordAnswer(
        RecordVerdict.REFUSED, f"API error ({reply.status}): {words}{about}", code=f"api_{reply.status}"
    )


def suspects(reply: Reply, count: int) -> set[int]:
    """Return the indexes that a refusal names, when they are some but not all of the batch."""
    text = reply.body[:200_000].decode("utf-8", "replace")
    named = {int(number) for number in _INDEX.findall(text)}
    return named if named and max(named) < count and len(named) < count else set()


def stopping(status: int) -> DataflowsError | None:
    """Return what ends the run: a status that no other batch would escape."""
    if 300 <= status < 400:
        return SettingUnusable(
            f"the CSC API redirects ({status})", reason="csc-address", hint="put the final address into API_ENDPOINT"
        )
    if status in (404, 405, 410, 415):
        return SettingUnusable(
            f"the CSC API does not know this address or method ({status})",
            reason="csc-address",
            hint="check API_ENDPOINT and LA_CODE",
        )
    return None


# --- of a batch of children ---------------------------------------------------------------------------------------

_STATES = {
    RecordVerdict.ACCEPTED: "done",
    RecordVerdict.REFUSED: "failed",
    RecordVerdict.UNANSWERED: "unknown",
    RecordVerdict.NOT_SENT: "pending",
}


@dataclass(slots=True)
class SentBatch:
    """A batch with its answers, and how many requests of each child were accepted (-1: nothing was to leave).

    ``stop`` forbids to go on.
    """

    submissions: Sequence[Submission]
    answers: list[RecordAnswer]
    reached: list[int]
    stop: DataflowsError | None = None
    began: str = field(default_factory=now)

    @property
    def answered(self) -> bool:
        """Whether the service said anything."""
        return any(answer.code != "no_answer" for answer in self.answers)

    def items(self) -> list[Item]:
        """Return the outcomes for ``runs show``."""
        return [
            Item(s.key, _STATES[a.verdict], len(s.requests) if turns >= 0 else 0, a.code or None, a.words, self.began)
            for s, a, turns in zip(self.submissions, self.answers, self.reached, strict=True)
        ]


class BatchHandler(Protocol):
    """Brings batches to their goal."""

    @property
    def last_failure(self) -> str:
        """Why the last batch was not answered."""

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Send a batch and record the answers."""


@dataclass
class BatchFileWriter:
    """Writes what would be sent as ``batch-NNNNN.json``; without a folder it only counts.

    Files of that name that an earlier dry run left there are removed first.
    """

    folder: Path | None
    written: int = 0
    last_failure: str = ""

    def __post_init__(self) -> None:
        if self.folder is not None:
            for path in private_folder(self.folder).glob("batch-?????.json"):
                path.unlink()

    def carry(self, batch: Sequence[Submission]) -> SentBatch:
        """Write one file per request that the batch would make."""
        for turn in range(max(len(submission.requests) for submission in batch)):
            bodies = [s.requests[turn] for s in batch if len(s.requests) > turn]
            self.written += 1
            if self.folder is not None:
                private_folder(self.folder)
                write_whole(self.folder / f"batch-{self.written:05}.json", b"[" + b",\n".join(bodies) + b"]\n")
        return SentBatch(batch, [RecordAnswer(RecordVerdict.ACCEPTED)] * len(batch), [len(s.requests) for s in batch])
