"""Publishes the events of the outbox to Kafka (the extra ``kafka``; KAFKA_BOOTSTRAP_SERVERS says where).

An idempotent producer: what the broker has taken is not taken twice by a retry, and order is kept. Brokers that are
away never fail a run: what is not published waits in the outbox. See docs/decisions/events.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import orjson

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.hints import with_extra
from dataflows.store.practice import outbox
from dataflows.store.practice.outbox import Drained, Event, PublishVerdict

if TYPE_CHECKING:
    import sqlalchemy as sa
    from confluent_kafka import KafkaError, Message, Producer

    from dataflows.settings import Settings

SECONDS: Final = 30.0
"""How long one round of events may take; brokers that are back by then lose nothing."""

_TICK = 0.1
_LARGEST = 16 * 1024 * 1024  # bytes of one event; what is really taken is the broker's to say
_LARGEST_ANSWER = 8 * 1024 * 1024  # bytes; the library would take 100 MB
_log = logging.getLogger("confluent_kafka")  # a foreign logger: of its texts only the kind is kept


def require_kafka(settings: Settings) -> None:
    """Make sure, before anything is done, that events can be published where that is asked for.

    Raises:
        SettingUnusable: KAFKA_BOOTSTRAP_SERVERS is set and the library is not installed.
    """
    if settings.kafka_bootstrap_servers and find_spec("confluent_kafka") is None:
        raise SettingUnusable(
            "KAFKA_BOOTSTRAP_SERVERS is set, but the Kafka library is not installed",
            reason="kafka-not-installed",
            hint=f"{with_extra('kafka')}; or remove the setting",
        )


def drain(
    settings: Settings,
    engine: sa.Engine,
    topic: str,
    stop: threading.Event | None = None,
    *,
    may_publish: Callable[[], None] = lambda: None,
    forget: bool = True,
) -> Drained:
    """Publish what the outbox holds for a topic (such as ``patient-events``); call it under the job's lock.

    ``may_publish`` is asked before each round, and raises what forbids it (``DatabaseLock.check``: the lock was lost).
    Without KAFKA_BOOTSTRAP_SERVERS only payloads older than OUTBOX_KEEP_DAYS are removed, without ``forget`` none.
    Brokers that cannot be reached are told in the result (``why``), not raised; ``stop`` ends the round under way.
    Raises SettingUnusable as ``require_kafka``, and what the database raises.
    """
    require_kafka(settings)
    keep = timedelta(days=settings.outbox_keep_days)
    if not settings.kafka_bootstrap_servers:
        return outbox.forget_old(engine, topic, forget=forget, keep=keep)
    with _Brokers.reached_by(settings.kafka_bootstrap_servers, topic, stop) as brokers:

        def publish(events: Sequence[Event]) -> PublishVerdict:
            may_publish()
            return brokers.publish(events)

        return outbox.drain(engine, topic, publish, forget=forget, keep=keep)


def look(settings: Settings, seconds: float = 10.0) -> tuple[int, set[str]]:
    """Return how many brokers of KAFKA_BOOTSTRAP_SERVERS there are, and the names of their topics.

    Raises SettingUnusable as ``require_kafka``, ServiceDown when none answers in so many seconds.
    """
    require_kafka(settings)
    from confluent_kafka import KafkaException, Producer

    servers = {
        "bootstrap.servers": settings.kafka_bootstrap_servers or "",
        "receive.message.max.bytes": _LARGEST_ANSWER,
    }
    producer = Producer(servers, logger=_log)
    try:
        found = producer.list_topics(timeout=seconds)  # of all topics: asking for one by name could make it
    except KafkaException as error:
        raise ServiceDown(
            f"the brokers did not answer ({error.args[0].name()})",
            reason="kafka-no-answer",
            hint="check KAFKA_BOOTSTRAP_SERVERS, and the firewall",
        ) from None
    return len(found.brokers), {name for name, topic in found.topics.items() if topic.error is None}


class _Brokers:
    """One producer and one topic."""

    def __init__(self, producer: Producer, topic: str, stop: threading.Event | None) -> None:
        self._producer, self._topic, self._stop = producer, topic, stop

    @classmethod
    @contextmanager
    def reached_by(cls, servers: str, topic: str, stop: threading.Event | None) -> Iterator[_Brokers]:
        """A producer; nothing is connected before the first event."""
        from confluent_kafka import Producer

        producer = Producer(
            {
                "bootstrap.servers": servers,
                "client.id": outbox.PRODUCER,
                "enable.idempotence": True,
                "message.timeout.ms": int(SECONDS * 1000),
                "message.max.bytes": _LARGEST,
                "receive.message.max.bytes": _LARGEST_ANSWER,
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 1000,
            },
            logger=_log,
        )
        try:
            yield cls(producer, topic, stop)
        finally:
            producer.purge()
            producer.flush(1)

    def publish(self, events: Sequence[Event]) -> PublishVerdict:
        """Hand events over and wait until the brokers have said what becomes of each."""
        round_ = _Round()
        for event in events:
            self._hand_over(event, round_)
        self._wait_for(round_)
        if round_.left:
            self._give_up()
        return PublishVerdict(round_.published, round_.refused, round_.why)

    def _wait_for(self, round_: _Round) -> None:
        until = time.monotonic() + SECONDS + 1  # the library's own end comes first, and says more
        while round_.left:
            self._producer.poll(_TICK)
            if self._stop is not None and self._stop.is_set():
                round_.why = "the run is stopping"
                return
            if time.monotonic() >= until:
                round_.why = round_.why or "the brokers did not answer in time"
                return

    def _hand_over(self, event: Event, round_: _Round) -> None:
        from confluent_kafka import KafkaException

        round_.left += 1

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            round_.settle(event, error)

        try:
            self._producer.produce(self._topic, orjson.dumps(event.value), event.key.encode(), on_delivery=on_delivery)
        except (KafkaException, BufferError) as error:
            reason = error.args[0] if isinstance(error, KafkaException) else None
            round_.settle(event, reason, known=reason is not None)

    def _give_up(self) -> None:
        """Take back what is under way, so that nothing leaves after this; its callbacks come while flushing."""
        self._producer.purge()
        self._producer.flush(1)


class _Round:
    """What is known of the events of one round."""

    def __init__(self) -> None:
        self.left = 0
        self.published: list[Event] = []
        self.refused: list[Event] = []
        self.why = ""

    def settle(self, event: Event, error: Any, *, known: bool = True) -> None:
        """Note what became of one event (``error`` None: it is safe)."""
        self.left -= 1
        if error is None and known:
            self.published.append(event)
        elif error is not None and _is_its_own_fault(error):
            self.refused.append(event)
        else:
            self.why = self.why or _words(error)


def _is_its_own_fault(error: KafkaError) -> bool:
    """Whether another event could well be taken."""
    from confluent_kafka import KafkaError as Kafka

    return error.code() in (Kafka.MSG_SIZE_TOO_LARGE, Kafka.INVALID_RECORD, Kafka.INVALID_MSG_SIZE)


def _words(error: KafkaError | None) -> str:
    """The reason in our own words, with the name that the library has for it."""
    if error is None:
        return "the queue of the publisher is full"
    name = error.name()
    if "AUTHORIZATION" in name or "AUTHENTICATION" in name:
        return f"the brokers do not let us publish ({name})"
    if "UNKNOWN_TOPIC" in name:
        return f"the brokers have no such topic ({name})"
    return f"the brokers cannot be reached or cannot work now ({name})"
