"""What every flow's job does in the same way: stopping its pool, and keeping its options for ``runs resume``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import TypeAdapter

from dataflows.runs.pool import Stop

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

UNANSWERED_IN_A_ROW = 5
"""So many items or batches in a row without an answer, and a service is taken to be down."""

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


@dataclass(frozen=True)
class Halt:
    """Lets the pool stop when a run is over, for whatever reason: ``is_set`` is asked before each item."""

    is_set: Callable[[], bool]
    stop: Stop

    @property
    def hurry(self) -> bool:
        """Whether nobody is to be waited for."""
        return self.stop.hurry


def options_to_json(options: DataclassInstance, *, without: Collection[str] = ()) -> dict[str, object]:
    """Return the options of a job as the journal keeps them; ``without`` those that it must not hold."""
    adapter: TypeAdapter[Any] = TypeAdapter(type(options))
    return cast(dict[str, object], adapter.dump_python(options, mode="json", exclude=set(without)))


def options_from_json(kind: type[OptionsT], values: Mapping[str, object]) -> OptionsT:
    """Return the options of an earlier run, from the journal; what this version does not know is left out.

    Raises:
        pydantic.ValidationError: a value is not what it must be, such as in a journal that somebody changed.
    """
    known = {one.name: values[one.name] for one in fields(kind) if one.name in values}
    return TypeAdapter(kind).validate_python(known)
