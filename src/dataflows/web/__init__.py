"""The seeds' HTTP routes and the run page over the same jobs. ``uvicorn dataflows.web:app`` starts it, too."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(name)
    from dataflows.web.foreign import app_of_environment

    # kept, since uvicorn asks twice: without that it would find the module of this name, which is imported by now
    made = globals()["app"] = app_of_environment()
    return made
