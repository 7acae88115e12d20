"""Real Kafka brokers for tests: those that librdkafka carries for its own, which can be taken down and be made to fail.

confluent-kafka does not offer them, so the library is called directly (rdkafka_mock.h).
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition

PRODUCE = 0  # of the protocol's requests
_BROKER = 1


class Brokers:
    """One broker with its topics, made when somebody asks for them."""

    def __init__(self, library: ctypes.CDLL, cluster: int) -> None:
        self._library, self._cluster = library, cluster
        self.servers: str = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def down(self) -> None:
        """End every connection and take no more; what was taken stays."""
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, _BROKER) == 0

    def up(self) -> None:
        """Listen again."""
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, _BROKER) == 0

    def fail(self, *errors: int) -> None:
        """Answer the next produce requests by these errors."""
        given = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(PRODUCE), ctypes.c_size_t(len(errors)), given
        )

    def taken(self, topic: str) -> list[tuple[str, dict[str, Any]]]:
        """Key and value of everything in a topic, in order within each key."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                "group.id": "tests",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 5,
            }
        )
        try:
            parts = consumer.list_topics(topic, timeout=5).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in parts])
            return _read(consumer, len(parts))
        finally:
            consumer.close()


def _read(consumer: Consumer, parts: int) -> list[tuple[str, dict[str, Any]]]:
    found = []
    while parts:
        message = consumer.poll(5)
        assert message is not None, "the broker says nothing"
        key, value = message.key(), message.value()
        if message.error():
            parts -= 1
        elif key is not None and value is not None:
            found.append((key.decode(), json.loads(value)))
    return found


@contextmanager
def running() -> Iterator[Brokers]:
    """A broker that lives as long as the block."""
    library, told = _library(), ctypes.create_string_buffer(512)
    conf = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(conf, b"log_level", b"0", told, len(told))
    handle = library.rd_kafka_new(0, conf, told, len(told))
    cluster = library.rd_kafka_mock_cluster_new(handle, 1)
    try:
        yield Brokers(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)


@cache
def _library() -> ctypes.CDLL:
    """The library that confluent-kafka's wheel brings, with the types of what is called here."""
    place = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    [file] = [one for one in place.iterdir() if "rdkafka" in one.name and "++" not in one.name]
    library = ctypes.CDLL(str(file))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    types: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_push_request_errors_array": (None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
    }
    for name, (result, arguments) in types.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
