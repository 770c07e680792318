"""What a run stands on: the broker behind proxies, Redis, a system's queues and its processes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import amqp

from bench.setup import PEERS_PYTHON, ROOT
from bench.stage import clean_environment
from chaos.clock import Clocks
from chaos.ledger import QUEUES, VARIABLE, size
from chaos.producer import VARIABLE as ORDERS
from chaos.remains import is_dead
from chaos.workers import Workers
from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.errors import BrokerError
from laneway.local import start_redis
from laneway.policy import load_policy
from laneway.topology import apply_plan, make_plan
from support.cluster import Cluster
from support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen

    from chaos.systems import System
    from laneway.local import RunDirectory

_TESTS: Final = ROOT / "tests"
_PREFIX: Final = "chaos-"
#: Times its patience that a run waits while there is still something new.
LONGEST: Final = 4
#: Seconds that one publish of Laneway's may take.
DEADLINE: Final = 5
_QUEUE_FILE: Final = """
summary = "chaos"
service_level = "10s"
[broker]
max_length = 500_000
delivery_limit = 10
[worker]
pool = "prefork"
concurrency = 2
soft_time_limit = "20s"
time_limit = "40s"
grace_period = "5s"
# (Handed back for 1 + 2 + 4 s: a run waits until nothing waits any more.)
unknown_task_grace = "10s"
"""


class Stage:
    """Everything that a run needs; use as a context manager.

    Args:
        run: owns all processes and files.
        system: what is tried.
        nodes: of the broker.
        jumps: whether clocks of workers will jump.

    Raises:
        NoCompiler: clocks cannot be moved on this machine.
    """

    def __init__(
        self, run: RunDirectory, system: System, nodes: int = 1, *, jumps: bool = False
    ) -> None:
        #: The clocks of the workers; None where they are the machine's.
        self.clocks = Clocks(run.folder(f"clocks-{system.key}")) if jumps else None
        self.system = system
        self._run = run
        self._stack = ExitStack()
        self.cluster = Cluster(run, nodes)
        self.ledger = run.folder(f"ledger-{system.key}")
        self.logs = run.folder(f"logs-{system.key}")
        self._policy = run.folder(f"policy-{system.key}")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.cluster)
            self.redis = stack.enter_context(start_redis(self._run))
            self.proxies = [
                stack.enter_context(Proxy("127.0.0.1", node.port)) for node in self.cluster.nodes
            ]
            self.vhost = f"{_PREFIX}jobs" if self.system.laneway else "chaos"
            if self.system.laneway:
                self._apply_topology()
            else:
                self._make_vhost()
            self.workers = Workers(
                self._run,
                self.system.workers,
                asleep=self.system.order_workers,
                python=self._python,
                environment=self._environment(),
                logs=self.logs,
                **({"own": self.clocks.environment} if self.clocks else {}),
            )
            stack.enter_context(self.workers)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # -- setting up --------------------------------------------------------------------------

    def _apply_topology(self) -> None:
        (self._policy / "queues").mkdir()
        for name in QUEUES:
            (self._policy / "queues" / f"{name}.toml").write_text(_QUEUE_FILE)
        (self._policy / "routing.py").write_text("ROUTES = []\n")
        [node, *_] = self.cluster.nodes
        address = broker_address(node.url, node.management_url, vhost_prefix=_PREFIX, env={})
        with Management(address) as management:
            plan = make_plan(management, load_policy(self._policy), address)
            apply_plan(management, plan, address)

    def _make_vhost(self) -> None:
        self.cluster.nodes[0].ctl("add_vhost", self.vhost, "--default-queue-type", "quorum")
        with self.management() as management:
            management.grant(self.vhost, management.user)

    @property
    def _python(self) -> str:
        return sys.executable if self.system.laneway else str(PEERS_PYTHON)

    def _environment(self) -> dict[str, str]:
        urls = []
        for node, proxy in zip(self.cluster.nodes, self.proxies, strict=True):
            login = urlsplit(node.url)
            urls.append(f"amqp://{login.username}:{login.password}@127.0.0.1:{proxy.port}")
        common = {
            **clean_environment(),
            **self._run.environment,
            "PYTHONPATH": f"{_TESTS}:{ROOT / 'benchmarks'}",
            VARIABLE: str(self.ledger),
            **self.system.environment,
        }
        if not self.system.laneway:
            return common | {"CHAOS_BROKER_URL": f"{urls[0]}/{self.vhost}"}
        return common | {
            "LANEWAY_BROKER_URL": ";".join(urls),
            "LANEWAY_VHOST_PREFIX": _PREFIX,
            "LANEWAY_POLICY": str(self._policy),
            "LANEWAY_RESULT_BACKEND": self.redis.url,
            "LANEWAY_PUBLISH_DEADLINE": str(DEADLINE),
        }

    def producer(
        self, number: int, *, seed: int, jobs: int, rate: float = 1e9, shuffled: int | None = None
    ) -> Popen[bytes]:
        """Start a producer.

        Args:
            number: from 0.
            seed: of the run.
            jobs: how many it publishes.
            rate: jobs a second.
            shuffled: the queue for jobs of all priorities (:func:`chaos.workload.shuffled`); the
                usual calls if None.
        """
        kinds = sorted(self.system.kinds)
        orders = {
            "app": self.system.app, "producer": number, "seed": seed, "jobs": jobs, "rate": rate,
            "kinds": kinds, "shuffled": shuffled,
        }  # fmt: skip
        return self._run.spawn(
            [self._python, "-P", "-m", "chaos.producer"],
            name=f"producer-{number}",
            log=self.logs / f"producer-{number}.log",
            environment=self._environment() | {ORDERS: json.dumps(orders)},
        )

    # -- the broker from outside -------------------------------------------------------------

    @contextmanager
    def management(self) -> Iterator[Management]:
        """The management interface of a node that answers.

        Raises:
            BrokerError: none does.
        """
        last: BrokerError | None = None
        for node in self.cluster.nodes:
            address = broker_address(node.url, node.management_url, vhost_prefix=_PREFIX, env={})
            with Management(address) as management:
                try:
                    management.queue_entries(self.vhost)
                except BrokerError as error:
                    last = error
                    continue
                yield management
                return
        assert last is not None
        raise last

    def waiting(self) -> dict[str, int] | None:
        """Messages that wait or run, by queue, but for dead letters; None if nobody knows."""
        try:
            with self.management() as management:
                entries = management.queue_entries(self.vhost)
        except BrokerError:
            return None
        counts = {
            entry["name"]: entry.get("messages", -1)
            for entry in entries
            if not is_dead(entry["name"])
        }
        return None if -1 in counts.values() else {name: n for name, n in counts.items() if n}

    def are_consumed(self, seconds: float) -> bool:
        """Wait until every queue has a consumer, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(amqp.NotFound), self.channel() as channel:
                asked = [channel.queue_declare(queue, passive=True) for queue in QUEUES]
                if all(answer.consumer_count for answer in asked):
                    return True
            time.sleep(0.2)
        return False

    def is_quiet(self, seconds: float, patience: float) -> bool:
        """Wait until nothing waits and nothing is written for some time.

        Args:
            seconds: that long.
            patience: seconds without a new record after which it is given up; with new ones,
                :data:`LONGEST` times as many.
        """
        began = news = quiet = time.monotonic()
        before = -1
        while True:
            at = time.monotonic()
            now = size(self.ledger)
            written, before = now != before, now
            if written:
                news = at
            if written or self.waiting() != {}:
                quiet = at
            if at - quiet > seconds:
                return True
            # A busy machine is slow; what is stuck writes nothing. (Or the same for ever.)
            if at - news > patience or at - began > LONGEST * patience:
                return False
            time.sleep(0.5)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel to a node that answers, without any proxy.

        Raises:
            OSError: none does.
        """
        last: Exception | None = None
        for node in self.cluster.nodes:
            where = urlsplit(node.url)
            connection = amqp.Connection(
                f"127.0.0.1:{node.port}",
                userid=where.username,
                password=where.password,
                virtual_host=self.vhost,
                connect_timeout=5,
            )
            try:
                connection.connect()
            except (OSError, amqp.AMQPError) as error:
                last = error
                continue
            try:
                yield connection.channel()
            finally:
                with suppress(OSError, amqp.AMQPError):
                    connection.close()
            return
        assert last is not None
        raise last

    def log(self, name: str) -> Path:
        """The output of a worker or producer."""
        return self.logs / f"{name}.log"
