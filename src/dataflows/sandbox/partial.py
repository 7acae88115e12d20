"""Partial answers of Google's JSON APIs: ``fields=items(name,generation),nextPageToken``.

Source: https://cloud.google.com/storage/docs/json_api#partial-response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Tree = dict[str, "Tree"]


def selected(value: Mapping[str, Any], fields: str) -> Any:
    """The value with only what ``fields`` names; an empty text (or ``*``) names all."""
    return _picked(value, _tree(iter(re.findall(r"[\w*]+|[/(),]", fields))))


def _tree(words: Iterator[str]) -> Tree:
    """The names up to the closing bracket, each with what is wanted below it."""
    result: Tree = {}
    here, last = result, result
    for word in words:
        match word:
            case "(":
                last.update(_tree(words))
            case ")":
                break
            case ",":
                here = result
            case "/":
                here = last
            case _:
                last = here.setdefault(word, {})
    return result


def _picked(value: Any, tree: Tree) -> Any:
    if isinstance(value, list):
        return [_picked(one, tree) for one in value]
    if not tree or "*" in tree or not isinstance(value, Mapping):
        return value
    return {name: _picked(value[name], below) for name, below in tree.items() if name in value}
