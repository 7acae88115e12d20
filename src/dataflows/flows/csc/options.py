"""How an operator asks for a run of `csc-submit`, as a value; and as the journal keeps it for ``runs resume``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dataflows.errors import WrongUsage
from dataflows.runs import flow


class ByHand(StrEnum):
    """What is asked for of one child: that it is sent whole after a purge, whatever its status; or its purge."""

    RESEND = "resend"
    PURGE = "purge"


@dataclass(frozen=True)
class Options:
    """The options of ``csc-submit``."""

    full: bool = False
    limit: int | None = None
    child: str | None = None
    by_hand: ByHand | None = None
    purge_orphans: bool = False
    retry_errors: bool = True
    dry_run: bool = False
    out: Path | None = None
    rehearsal: bool = False
    requeue: bool = False
    takeover: bool = False
    allow_mass_delete: bool = False
    workers: int = 4

    @property
    def writes(self) -> bool:
        """Whether outcomes are written into the staging table."""
        return not (self.dry_run or self.rehearsal)


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``: nothing that names a child."""
    never = ("child", "by_hand", "requeue", "takeover", "purge_orphans")
    return {**flow.options_to_json(options, without=never), "one_child": options.child is not None}


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal.

    Raises:
        WrongUsage: that run was for one child, which the journal does not name.
    """
    if options.get("one_child"):
        raise WrongUsage(
            "this run was for one child, and the journal does not record which one",
            reason="nothing-to-resume",
            hint="run the same command again",
        )
    return flow.options_from_json(Options, options)
