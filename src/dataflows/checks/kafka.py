"""``test-endpoint --target kafka``: the brokers and the topics of the imports. No event is published."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file, origin

if TYPE_CHECKING:
    from dataflows.settings import Settings


def check_kafka(settings: Settings) -> Iterator[Check]:
    """The brokers: do they answer, and are the topics there."""
    attempt, there = Attempt(), set[str]()
    yield Check(ENV_FILE, True, env_file(settings))
    yield attempt("KAFKA_BOOTSTRAP_SERVERS", partial(origin, settings, "KAFKA_BOOTSTRAP_SERVERS"))
    yield attempt("connection", partial(_connection, settings, there), "KAFKA_BOOTSTRAP_SERVERS")
    for topic in ("patient-events", "therapist-events"):
        yield attempt(f"topic {topic}", partial(_topic, topic, there), "connection")


def _connection(settings: Settings, there: set[str]) -> str:
    from dataflows.remote.kafka import look

    brokers, topics = look(settings)
    there |= topics
    return f"{brokers} broker{'' if brokers == 1 else 's'} answered"


def _topic(topic: str, there: set[str]) -> Check:
    if topic in there:
        return Check(f"topic {topic}", True, "is there")
    return Check(
        f"topic {topic}", True, "warning: is not there", "make it, unless the brokers make topics by themselves"
    )
