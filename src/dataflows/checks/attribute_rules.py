"""``test-schema``: which version of DfE's schema holds for a child's record, and what differs from the built-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataflows.settings import Settings

_SHOWN = 30


def attribute_rules(settings: Settings) -> str:
    """Say which rules hold.

    Raises:
        SettingUnusable: the document that CSC_SCHEMA names cannot be used.
    """
    from dataflows.flows.csc.schema import built_in, differences, load_schema

    ours, schema = built_in(), load_schema(settings.csc_schema)
    if schema.source is None:
        return f"DfE's schema {schema.version}, built in"
    found = differences(ours, schema)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    told = f"differs from the built-in {ours.version}: {'; '.join(found[:_SHOWN])}{more}"
    same = f"says the same as the built-in {ours.version}"
    return f"DfE's schema {schema.version} from {schema.source} {told if found else same}"
