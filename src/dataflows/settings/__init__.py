"""The settings: one table, read once. Flags beat the environment, then the env file, then the default."""

from dataflows.settings.reading import load
from dataflows.settings.table import Family, Origin, Secret, Settings, Spec, families, fields_of, table

__all__ = ["Family", "Origin", "Secret", "Settings", "Spec", "families", "fields_of", "load", "table"]
