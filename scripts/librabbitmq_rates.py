"""py-amqp against librabbitmq on a private RabbitMQ 4.3: rates, and the client's CPU a message.

    .venv/bin/python scripts/librabbitmq_rates.py [MESSAGES] [ROUNDS]

One process, no-op messages with the headers and body of a Celery job, a quorum queue, alternating
rounds; each figure is the median. Consuming acknowledges every message by itself, prefetch 64.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import kombu
from celery import Celery

from laneway.broker import broker_address
from laneway.broker.librabbitmq import SCHEME, register
from laneway.broker.management import Management
from laneway.local import RunDirectory, start_rabbitmq

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
QUEUE = kombu.Queue(
    "rates",
    kombu.Exchange("rates", durable=True),
    "rates",
    queue_arguments={"x-queue-type": "quorum"},
)


def job() -> tuple[bytes, dict[str, Any]]:
    """The body and the message options of a Celery job."""
    amqp = Celery("rates", set_as_current=False, broker="memory://").amqp
    message = amqp.as_task_v2("5f0a1f3e-6a1f-4b6e-9a57-0d1c7a3f2b11", "shop.noop", (1, "two"), {})
    body = kombu.serialization.dumps(message.body, "json")[2].encode()
    properties = {**message.properties, "headers": message.headers, "delivery_mode": 2}
    return body, {
        **properties,
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "priority": 5,
    }


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Messages a second, and microseconds of this process's CPU a message."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return COUNT / took, cpu / COUNT * 1e6


def publish(connection: Any) -> None:
    """Without confirms, which is all that both can do; ended by one answer of the broker."""
    body, options = job()
    producer = kombu.Producer(connection, auto_declare=False)
    for _ in range(COUNT):
        producer.publish(body, exchange="rates", routing_key="rates", **options)
    producer.channel.queue_declare("rates", passive=True)


def consume(connection: Any) -> None:
    """Through kombu's consumer, as a worker does."""
    left = COUNT

    def on_message(message: Any) -> None:
        nonlocal left
        message.ack()
        left -= 1

    with kombu.Consumer(connection, [QUEUE], on_message=on_message, auto_declare=False) as consumer:
        consumer.qos(prefetch_count=64)
        while left:
            connection.drain_events(timeout=30)
    connection.default_channel.queue_declare("rates", passive=True)


def main() -> None:
    """Measure and print the medians."""
    register()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with RunDirectory.create() as run, start_rabbitmq(run, series="4.3") as server:
        address = broker_address(server.url, server.management_url, env={})
        with Management(address) as management:
            management.create_vhost("jobs")
        url = address.kombu_urls("jobs")
        for _ in range(ROUNDS):
            for client, scheme in (("py-amqp", "pyamqp"), ("librabbitmq", SCHEME)):
                with kombu.Connection(url.replace("pyamqp", scheme, 1)) as connection:
                    QUEUE(connection.default_channel).declare()
                    for what, work in (("publish", publish), ("consume", consume)):
                        figures = measured(lambda work=work, to=connection: work(to))
                        found.setdefault((what, client), []).append(figures)
    for (what, client), figures in sorted(found.items()):
        rates, cpus = zip(*figures, strict=True)
        print(
            f"{what:8} {client:12} {statistics.median(rates):7.0f}/s "
            f"({min(rates):.0f} to {max(rates):.0f})  {statistics.median(cpus):6.1f} us CPU "
            f"({min(cpus):.1f} to {max(cpus):.1f})"
        )


main()
