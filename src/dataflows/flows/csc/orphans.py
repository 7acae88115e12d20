"""Children that the API holds from this table although no row names them any more: nobody said that they may go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.names import NamedRows


@dataclass
class Orphans:
    """Finds them by a walk of the table (csc.md, "Orphans").

    ``counted`` is None until they were counted in this run.
    """

    acks: Acknowledgements
    names: NamedRows
    counted: int | None = None

    def may_be_counted(self) -> bool:
        """Tell whether the walk of this run allows it: every row names somebody, and the table has its usual size."""
        if self.names.walked is None:
            return False
        walked = self.names.walk()
        return self.acks.note_walk(walked.rows) and not walked.nameless

    def found(self) -> Iterator[list[bytes]]:
        """Yield them in pages."""
        for page in self.acks.of_table():
            named = {name: child for child in page if (name := self.acks.child(child)) is not None}
            yield [named[name] for name in self.names.unnamed(named)]
