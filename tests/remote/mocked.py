"""Answers without a wire, by ``responses``: for unit tests of one client. What the wire does is in ``loopback``."""

from __future__ import annotations

import responses

ADAPTER = "dataflows.remote.adapter.BoundedAdapter.send"


def answering(*, all_asked: bool = True) -> responses.RequestsMock:
    """Answers in the place of every far side; ``all_asked``: at the end, each of them must have been asked for."""
    return responses.RequestsMock(target=ADAPTER, assert_all_requests_are_fired=all_asked)
