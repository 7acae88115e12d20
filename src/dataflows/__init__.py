"""Move care-sector data between files, databases and official APIs without losing or doubling a record."""

__version__ = "0.1.0"
