"""The versions of the practice database's schema, oldest first. What is here was released: it is never changed.

They are imported by name and not looked up in a folder, so that a frozen program carries them too.
"""

from types import ModuleType

from dataflows.store.practice.migrations import (
    v0001_patients,
    v0002_therapists,
    v0003_locations,
    v0004_erasures,
)  # fmt: skip

VERSIONS: tuple[ModuleType, ...] = (v0001_patients, v0002_therapists, v0003_locations, v0004_erasures)
