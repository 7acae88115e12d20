"""The settings: one table, read once. Flags beat the environment, then the env file, then the default."""

from dataflows.settings.reading import load
from dataflows.settings.table import Origin, Secret, Settings, Spec, table

__all__ = ["Origin", "Secret", "Settings", "Spec", "load", "table"]
