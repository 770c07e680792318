"""The place of one system: its virtual host, its queues, its processes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import amqp

from bench.agent import VARIABLE as ORDERS
from bench.apps import QUEUES
from bench.ledger import VARIABLE as LEDGER
from bench.ledger import Starts
from bench.machine import family
from bench.raw import MARK, RawPublisher, Template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.systems import System
    from laneway.local import RunDirectory

#: Seconds that a worker may need to end after SIGTERM, a publisher to start, and to finish.
_STOP_SECONDS: Final = 40.0
_START_SECONDS: Final = 60.0
_PUBLISH_SECONDS: Final = 120.0
#: Seconds without any start of a job after which the rest counts as lost.
SILENCE: Final = 30.0
_LOOK: Final = 0.01
#: Numbers of jobs set aside for one publisher, which takes as many as it gets done.
RESERVED: Final = 2_000_000
#: The priority of the many jobs that an urgent one is to overtake, and of the urgent one.
LOW, URGENT = 2, 9

#: The messages that are copied: kind of job, queue, priority.
COPIED: Final = (
    ("noop", "default", None),
    ("sleep", "default", LOW),
    ("cpu", "default", None),
    ("sleep", "low", LOW),
)


class SystemFailed(Exception):
    """A system did not do what it was asked to; the message has the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a system runs."""

    #: ``amqp://user:password@host:port``
    broker: str
    #: The virtual host of its jobs.
    vhost: str
    #: Its Python.
    python: str
    #: All that its processes see, besides what the stage adds.
    environment: dict[str, str]


class Worker:
    """A worker that runs. Made by :meth:`Stage.worker`."""

    def __init__(self, pid: int, spawned: float) -> None:
        self.pid = pid
        #: When its command was started, of the monotonic clock.
        self.spawned = spawned

    def processes(self) -> list[int]:
        """Its processes now."""
        return family(self.pid)


class Stage:
    """One system, ready to be measured.

    Args:
        system: which.
        place: where it runs.
        run: owns its processes.
        ledgers: a new folder in it holds the starts of one run.
    """

    def __init__(self, system: System, place: Place, run: RunDirectory, ledgers: Path) -> None:
        self.system = system
        self._place = place
        self._run = run
        self._ledgers = ledgers
        self._templates: dict[tuple[str, str], Template] = {}
        self._number = MARK
        self._runs = 0
        self._workers: list[subprocess.Popen[bytes]] = []
        (run.path / "logs").mkdir(exist_ok=True)
        self._log = run.path / "logs" / f"{system.key}.log"
        self.starts = self._new_ledger()

    # -- queues ------------------------------------------------------------------------------

    def learn(self) -> None:
        """Publish one real message of each kind and keep it as a template; declares the queues."""
        calls = [
            {"kind": kind, "queue": queue, "priority": priority, "job": MARK}
            for kind, queue, priority in (*COPIED, ("noop", "high", None))
        ]
        orders = {"app": self.system.app, "do": "marks", "calls": calls}
        process = self._agent(orders)
        answer = self.answer_of(process)
        places = dict(zip(answer["marks"], COPIED, strict=False))
        with self._channel() as channel:
            for queue in [place[1] for place in COPIED]:
                message = channel.basic_get(queue, no_ack=True)
                if message is None:
                    raise self._failed(f"expected one more message in {queue}, found none")
                # In which order they come is up to their priorities.
                template, mark = Template.of(message, list(places))
                self._templates[places[mark][0], queue] = template
        self.empty()

    def template(self, kind: str, queue: str) -> Template:
        """The message of a job, ready to be copied."""
        return self._templates[kind, queue]

    def numbers(self, count: int) -> range:
        """Numbers for so many new jobs."""
        self._number += count
        return range(self._number - count + 1, self._number + 1)

    def prefill(self, kind: str, queue: str, count: int) -> range:
        """Publish so many copies, raw; return the numbers of the jobs."""
        jobs = self.numbers(count)
        with self.raw() as publisher:
            publisher.publish(self._templates[kind, queue], jobs)
        return jobs

    def raw(self) -> RawPublisher:
        """A raw publisher to the system's virtual host."""
        return RawPublisher(**self._where())

    def spoil(self, queue: str) -> None:
        """Publish one message that is no job."""
        with self._channel() as channel:
            channel.basic_publish(amqp.Message("no job"), exchange="", routing_key=queue)

    def ready(self, queue: str) -> int:
        """Messages that wait in a queue."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def empty(self) -> int:
        """Empty all queues; return how many messages were in them."""
        with self._channel() as channel:
            return sum(int(channel.queue_purge(queue)) for queue in QUEUES)

    @contextlib.contextmanager
    def _channel(self) -> Iterator[Any]:
        connection = amqp.Connection(**self._where())
        connection.connect()
        try:
            yield connection.channel()
        finally:
            connection.close()

    def _where(self) -> dict[str, Any]:
        parts = urlsplit(self._place.broker)
        return {
            "host": f"{parts.hostname}:{parts.port}",
            "userid": parts.username,
            "password": parts.password,
            "virtual_host": self._place.vhost,
        }

    # -- workers -----------------------------------------------------------------------------

    def fresh(self) -> None:
        """Begin a new run: empty queues, a new ledger."""
        self.empty()
        self.starts = self._new_ledger()

    @contextlib.contextmanager
    def worker(self, queue: str) -> Iterator[Worker]:
        """Run the system's worker of one queue; at the end it is told to stop and finishes."""
        command = [self._place.python, "-P", *self.system.worker(queue)]
        spawned = time.monotonic()
        child = self._run.spawn(
            command,
            name=f"{self.system.key}-{queue}",
            log=self._log,
            environment={**self._environment(), "BENCH_QUEUE": queue},
        )
        self._workers.append(child)
        try:
            try:
                yield Worker(child.pid, spawned)
            except Exception as error:
                # The better explanation of whatever went wrong meanwhile.
                if child.poll() is not None:
                    raise self._ended(child.returncode) from error
                raise
            if child.poll() is not None:
                raise self._ended(child.returncode)
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_SECONDS)
        finally:
            self._workers.remove(child)
            self._run.kill(child.pid)

    def wait_for_starts(self, count: int, *, silence: float = SILENCE) -> bool:
        """Wait until so many jobs started.

        Returns:
            False if none did for ``silence`` seconds, or a worker ended.
        """
        seen, changed = 0, time.monotonic()
        while (now := self.starts.count()) < count:
            if now != seen:
                seen, changed = now, time.monotonic()
            elif time.monotonic() - changed > silence:
                return False
            if any(child.poll() is not None for child in self._workers):
                return False
            time.sleep(_LOOK)
        return True

    # -- publishers --------------------------------------------------------------------------

    @contextlib.contextmanager
    def publisher(self, *, reserve: int = RESERVED, **orders: Any) -> Iterator[Publisher]:
        """A publisher process, connected and waiting for :meth:`Publisher.go`.

        Args:
            reserve: numbers of jobs set aside for it; it must not publish more.
            orders: of :mod:`bench.agent`.
        """
        first = self.numbers(reserve).start
        process = self._agent({"app": self.system.app, "first": first, **orders})
        try:
            if not self._says_ready(process):
                raise self._failed("its publisher did not become ready")
            yield Publisher(self, process, first)
        finally:
            self._run.kill(process.pid)
            process.wait()

    def _agent(self, orders: dict[str, Any]) -> subprocess.Popen[str]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [self._place.python, "-P", "-m", "bench.agent"],
                env={**self._environment(), ORDERS: json.dumps(orders)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._run.track(process.pid, f"{self.system.key}-publisher")
        return process

    def _says_ready(self, process: subprocess.Popen[str]) -> bool:
        assert process.stdout is not None
        said, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        return bool(said) and process.stdout.readline().strip() == "ready"

    def answer_of(
        self, process: subprocess.Popen[str], seconds: float = _PUBLISH_SECONDS
    ) -> dict[str, Any]:
        """Tell a publisher process to begin and wait for what it says (of :class:`Publisher`)."""
        try:
            out, _ = process.communicate("go\n", timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise self._failed("its publisher did not end") from error
        finally:
            self._run.kill(process.pid)
        if process.returncode != 0:
            raise self._failed(f"its publisher ended with status {process.returncode}")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def _environment(self) -> dict[str, str]:
        return {
            **self._place.environment,
            **self.system.environment,
            LEDGER: str(self._folder),
            **self._run.environment,
        }

    def _new_ledger(self) -> Starts:
        self._runs += 1
        self._folder = self._ledgers / f"{self.system.key}-{self._runs}"
        self._folder.mkdir()
        return Starts(self._folder)

    def _ended(self, status: int) -> SystemFailed:
        return self._failed(f"its worker ended by itself (status {status})")

    def _failed(self, what: str) -> SystemFailed:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        tail = "\n".join(lines[-15:])
        return SystemFailed(f"{self.system.title}: {what}; the end of its log:\n{tail}")


class Publisher:
    """A publisher process that waits to begin. Made by :meth:`Stage.publisher`."""

    def __init__(self, stage: Stage, process: subprocess.Popen[str], first: int) -> None:
        self._stage = stage
        self._process = process
        self._first = first
        self.pid = process.pid

    def go(self, seconds: float = _PUBLISH_SECONDS) -> dict[str, Any]:
        """Let it publish; return what it says, with ``jobs``: the numbers of what it published.

        Args:
            seconds: how long it may take.
        """
        answer = self._stage.answer_of(self._process, seconds)
        answer["jobs"] = range(self._first, self._first + answer["published"])
        return answer


def clean_environment() -> dict[str, str]:
    """The caller's environment without anything that would set a system another way."""
    ours = ("LANEWAY_", "CELERY_", "BENCH_", "dramatiq_", "TASKIQ_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
