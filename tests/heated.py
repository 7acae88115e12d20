"""What each process of the program would make at its start; loaded by the one that they are forked from (warm.py)."""

from __future__ import annotations

import os
from pathlib import Path

from dataflows.cli import main
from dataflows.remote import route
from dataflows.settings import reading

main._command()
reading._model()
route.trusted(Path(os.environ["REQUESTS_CA_BUNDLE"]) if os.environ.get("REQUESTS_CA_BUNDLE") else None)
