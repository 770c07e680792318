"""The ledger of jobs that pods run: one folder for each pod, since all their pids are alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chaos.account import Account, account
from chaos.ledger import VARIABLE, What, read
from chaos.producer import VARIABLE as ORDERS
from cluster.load import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.ledger import Entry
    from cluster.plane import Plane
    from cluster.rabbitmq import Broker

_ROOT: Final = Path(__file__).parents[2]
#: The application of pods and producers.
APP: Final = "cluster.app"
#: One whose jobs are acknowledged before they run.
BROKEN: Final = "chaos.broken.early_ack"


class Book:
    """What producers and jobs wrote down. Made by :func:`book`."""

    def __init__(self, folder: Path, plane: Plane, broker: Broker, prefix: str) -> None:
        self.folder = folder
        self._plane = plane
        self._broker = broker
        self._prefix = prefix
        self._producers = 0
        self._running: list[subprocess.Popen[bytes]] = []

    def entries(self) -> Iterator[Entry]:
        """All of them."""
        for folder in self.folder.iterdir():
            yield from read(folder)

    def account(self) -> Account:
        """What became of all jobs, if nothing waits any more."""
        return account(self.entries(), queued={}, dead={})

    def ended(self) -> int:
        """Jobs that ended well."""
        return len({entry.job for entry in self.entries() if entry.what == What.ENDED})

    def waits(self, queue: str) -> list[float]:
        """Seconds from the publish to the first start, of the jobs of a queue that started."""
        number = QUEUES.index(queue)
        sent: dict[int, float] = {}
        started: dict[int, float] = {}
        for entry in self.entries():
            if entry.what == What.SENDING and entry.queue == number:
                sent[entry.job] = entry.at
            elif entry.what == What.STARTED:
                started[entry.job] = min(entry.at, started.get(entry.job, entry.at))
        return sorted(started[job] - at for job, at in sent.items() if job in started)

    def publish(
        self, queue: str, jobs: int, *, work: tuple[int, int] = (5, 40), rate: float = 1e9,
        many: bool = True,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a producer outside of pods, in the network of the control plane."""
        number, self._producers = self._producers, self._producers + 1
        own = self.folder / f"producer-{number}"
        own.mkdir()
        orders = {
            "app": APP, "number": number, "queue": queue, "jobs": jobs, "work": work,
            "rate": rate, "many": many,
        }  # fmt: skip
        process = subprocess.Popen(
            [*self._plane.command(), sys.executable, "-P", "-m", "cluster.load"],
            stdin=subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT / 'benchmarks'}",
                "LANEWAY_BROKER_URL": self._broker.endpoint.url(),
                "LANEWAY_VHOST_PREFIX": self._prefix,
                VARIABLE: str(own),
                ORDERS: json.dumps(orders),
            },
        )
        self._running.append(process)
        return process

    def stop(self, producer: subprocess.Popen[bytes]) -> None:
        """End a producer amid its work; of the call that it is in nobody knows what comes of it."""
        assert producer.poll() is None, "the load was over before the test was"
        producer.terminate()
        producer.wait()

    def wait_for(self, jobs: int, seconds: float) -> None:
        """Wait until so many jobs ended well.

        Raises:
            AssertionError: they did not, in so many seconds; it says what is known of the others.
        """
        until = time.monotonic() + seconds
        while (ended := self.ended()) < jobs:
            if time.monotonic() > until:
                waiting = self._broker.waiting(self._prefix)
                raise AssertionError(
                    f"expected {jobs} jobs to end within {seconds:g} s, got: {ended}; "
                    f"still in queues: {waiting}; {self.account()}"
                )
            time.sleep(0.3)

    def close(self) -> None:
        """End producers that still run."""
        for process in self._running:
            process.kill()
            process.wait()


@contextmanager
def book(plane: Plane, broker: Broker, prefix: str) -> Iterator[Book]:
    """A book for the block."""
    with tempfile.TemporaryDirectory(
        prefix="ledger-",
        dir=plane.folder,
        # Pods may still write into it.
        ignore_cleanup_errors=True,
    ) as folder:
        Path(folder).chmod(0o777)
        made = Book(Path(folder), plane, broker, prefix)
        try:
            yield made
        finally:
            made.close()
