"""How pipelined confirms can be had on librabbitmq, and what they give. An experiment, not a path.

    .venv/bin/python scripts/librabbitmq_confirms.py [MESSAGES] [ROUNDS]

The client has no ``confirm.select`` and ends the connection when the broker sends an ack. But it
reads nothing while it publishes (heartbeats are off), and ``fileno()`` is its socket. So this
writes ``confirm.select`` (no-wait) into the socket as a frame of its own and reads acks, nacks and
returns out of it; the client must then never read on that connection again. Every 1,000th message
has no queue, and must come back. Against it: py-amqp, pipelined the same way.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import statistics
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import amqp
import librabbitmq

from laneway.local import RunDirectory, start_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
QUEUE = "confirms"
BODY = b'[[1, "two"], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
HEADERS: dict[str, Any] = {
    "lang": "py", "task": "shop.noop", "id": "5f0a1f3e-6a1f-4b6e-9a57-0d1c7a3f2b11",
    "shadow": None, "eta": None, "expires": None, "group": None, "group_index": None,
    "retries": 0, "timelimit": [None, None], "root_id": "5f0a1f3e-6a1f-4b6e-9a57-0d1c7a3f2b11",
    "parent_id": None, "argsrepr": "(1, 'two')", "kwargsrepr": "{}", "origin": "gen1@host",
    "ignore_result": False, "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
}  # fmt: skip
PROPERTIES: dict[str, Any] = {
    "delivery_mode": 2,
    "priority": 5,
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "correlation_id": "5f0a1f3e-6a1f-4b6e-9a57-0d1c7a3f2b11",
}


class Confirms:
    """What the broker says of the messages of one channel, read out of the socket."""

    def __init__(self, connection: Any, channel: Any) -> None:
        self.socket = socket.socket(fileno=os.dup(connection.fileno()))
        self.outstanding = set(range(1, COUNT + 1))
        self.returned = self.refused = 0
        self._buffer = b""
        payload = struct.pack(">HHB", 85, 10, 1)  # confirm.select, no-wait
        frame = struct.pack(">BHI", 1, channel.channel_id, len(payload)) + payload + b"\xce"
        self.socket.sendall(frame)

    def read(self, seconds: float) -> None:
        """Take what has come, waiting at most so long for the first of it."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return
        self._buffer += self.socket.recv(65536)
        while len(self._buffer) >= 7:
            kind, _, size = struct.unpack_from(">BHI", self._buffer)
            if len(self._buffer) < size + 8:
                return
            payload, self._buffer = self._buffer[7 : 7 + size], self._buffer[size + 8 :]
            if kind == 1:
                self._method(payload)

    def _method(self, payload: bytes) -> None:
        match struct.unpack_from(">HH", payload):
            case (60, 80 | 120) as method:
                tag, several = struct.unpack_from(">QB", payload, 4)
                of = {t for t in self.outstanding if t <= tag} if several & 1 else {tag}
                self.outstanding -= of
                self.refused += len(of) if method[1] == 120 else 0
            case (60, 50):
                self.returned += 1
            case other:
                raise RuntimeError(f"the broker said {other}")


def over_c(server: Any) -> tuple[int, int]:
    """Publish over librabbitmq; how many were confirmed and how many came back."""
    user, password = server.url.partition("//")[2].rpartition("@")[0].split(":")
    host = server.url.rpartition("@")[2]
    connection = librabbitmq.Connection(host=host, userid=user, password=password)
    channel = connection.channel()
    confirms = Confirms(connection, channel)
    for number in range(COUNT):
        channel.basic_publish(
            BODY, "", key_of(number), mandatory=True, headers=HEADERS, **PROPERTIES
        )
        if number % 50 == 0:
            confirms.read(0)
    until = time.monotonic() + 60
    while confirms.outstanding and time.monotonic() < until:
        confirms.read(1)
    confirms.socket.close()
    os.close(connection.fileno())
    return COUNT - len(confirms.outstanding) - confirms.refused, confirms.returned


def over_py_amqp(server: Any) -> tuple[int, int]:
    """The same over py-amqp."""
    user, password = server.url.partition("//")[2].rpartition("@")[0].split(":")
    host = server.url.rpartition("@")[2]
    confirmed, returned = set(range(1, COUNT + 1)), []
    with amqp.Connection(host=host, userid=user, password=password) as connection:
        channel = connection.channel()
        channel.confirm_select()

        def on_ack(tag: int, several: bool) -> None:
            confirmed.difference_update([t for t in confirmed if t <= tag] if several else [tag])

        channel.events["basic_ack"].add(on_ack)
        channel.events["basic_return"].add(lambda *what: returned.append(what))
        for number in range(COUNT):
            message = amqp.Message(BODY, application_headers=HEADERS, **PROPERTIES)
            channel.basic_publish(message, "", key_of(number), mandatory=True)
            while number % 50 == 0 and select.select([connection.sock], [], [], 0)[0]:
                connection.drain_events()
        while confirmed:
            connection.drain_events(timeout=60)
    return COUNT - len(confirmed), len(returned)


def key_of(number: int) -> str:
    """The routing key of a message: of none for one in a thousand."""
    return QUEUE if number % 1000 else "nowhere"


def measured(work: Callable[[Any], tuple[int, int]], server: Any) -> tuple[float, float]:
    """Messages a second, and microseconds of this process's CPU a message."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    answer = work(server)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    if answer != (COUNT, len(range(0, COUNT, 1000))):
        raise RuntimeError(f"{work.__name__}: confirmed and returned {answer} of {COUNT}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return COUNT / took, cpu / COUNT * 1e6


def main() -> None:
    """Measure in alternating rounds and print the medians."""
    with RunDirectory.create() as run, start_rabbitmq(run, series="4.3") as server:
        user, password = server.url.partition("//")[2].rpartition("@")[0].split(":")
        host = server.url.rpartition("@")[2]
        with amqp.Connection(host=host, userid=user, password=password) as connection:
            arguments = {"x-queue-type": "quorum"}
            declare = connection.channel().queue_declare
            declare(QUEUE, durable=True, auto_delete=False, arguments=arguments)
        for _ in range(ROUNDS):
            for work in (over_py_amqp, over_c):
                figures.setdefault(work.__name__, []).append(measured(work, server))
    for name, found in figures.items():
        rates, cpus = zip(*found, strict=True)
        print(
            f"{name:14} {statistics.median(rates):7.0f}/s ({min(rates):.0f} to {max(rates):.0f})  "
            f"{statistics.median(cpus):6.1f} us CPU ({min(cpus):.1f} to {max(cpus):.1f})"
        )


figures: dict[str, list[tuple[float, float]]] = {}
main()
