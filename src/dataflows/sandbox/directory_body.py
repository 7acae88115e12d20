"""What the Hospital Directory takes as a body, and its refusals: 422 with a ``detail`` list, as FastAPI words them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from dataflows.sandbox.service import Answer, Request

_REQUIRED = ("name", "address")
_TEXTS = (*_REQUIRED, "phone")
_ABSENT = object()


class UnprocessableEntity(Exception):
    """The request is refused with 422; carries what its ``detail`` lists."""

    def __init__(self, *problems: dict[str, Any]) -> None:
        super().__init__()
        self.problems = list(problems)

    def answer(self) -> Answer:
        """The refusal."""
        return Answer.json(422, {"detail": self.problems})


def new_hospital(request: Request, unwanted: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a create, every text exactly as sent.

    Args:
        request: the create.
        unwanted: texts that a name may not contain.

    Raises:
        Refused: a field is missing, has the wrong type or the name is not wanted; names all of them.
    """
    sent = _object(request)
    problems = [_missing(name, sent) for name in _REQUIRED if name not in sent]
    problems += _wrong_texts(sent)
    fields: dict[str, Any] = {name: sent.get(name) for name in _TEXTS}
    batch_id = sent.get("creation_batch_id")
    try:
        fields["creation_batch_id"] = None if batch_id is None else _uuid(batch_id, "body", "creation_batch_id")
    except UnprocessableEntity as refused:
        problems += refused.problems
    if not problems and any(text in fields["name"] for text in unwanted):
        problems = [_problem("value_error", ("body", "name"), "Value error, a synthetic refusal", sent["name"])]
    if problems:
        raise UnprocessableEntity(*problems)
    return fields


def changed_hospital(request: Request) -> dict[str, Any]:
    """The fields that a PUT changes: those of name, address and phone that it names.

    Raises:
        Refused: a field has the wrong type.
    """
    sent = _object(request)
    problems = _wrong_texts(sent)
    if problems:
        raise UnprocessableEntity(*problems)
    return {name: sent[name] for name in _TEXTS if name in sent}


def batch_id_of(request: Request) -> str:
    """The batch id in the path, in its usual form.

    Raises:
        Refused: it is no UUID.
    """
    return _uuid(request.parts["batch"], "path", "batch_id")


def hospital_id_of(request: Request) -> int:
    """The record id in the path.

    Raises:
        Refused: it is no integer.
    """
    text = request.parts["id"]
    if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20:
        return int(text)
    words = "Input should be a valid integer, unable to parse string as an integer"
    raise UnprocessableEntity(_problem("int_parsing", ("path", "hospital_id"), words, text))


def _object(request: Request) -> dict[str, Any]:
    sent = request.parsed
    if isinstance(sent, dict):
        return sent
    if not request.body:
        raise UnprocessableEntity(_problem("missing", ("body",), "Field required", None))
    if sent is None and request.body.strip() != b"null":
        raise UnprocessableEntity(_problem("json_invalid", ("body", 0), "JSON decode error", {}))
    words = "Input should be a valid dictionary or object to extract fields from"
    raise UnprocessableEntity(_problem("model_attributes_type", ("body",), words, sent))


def _wrong_texts(sent: dict[str, Any]) -> list[dict[str, Any]]:
    optional = {"phone": None}
    return [
        _problem("string_type", ("body", name), "Input should be a valid string", sent[name])
        for name in _TEXTS
        if name in sent and not isinstance(sent[name], str) and sent[name] is not optional.get(name, _ABSENT)
    ]


def _uuid(value: Any, *where: str) -> str:
    if not isinstance(value, str):
        raise UnprocessableEntity(
            _problem("uuid_type", where, "UUID input should be a string, bytes or UUID object", value)
        )
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise UnprocessableEntity(_problem("uuid_parsing", where, "Input should be a valid UUID", value)) from None


def _missing(name: str, sent: dict[str, Any]) -> dict[str, Any]:
    return _problem("missing", ("body", name), "Field required", sent)


def _problem(kind: str, where: tuple[str | int, ...], words: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "loc": list(where), "msg": words, "input": value}
