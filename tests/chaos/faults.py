"""Carrying a fault out on a stage, and ending it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from chaos.ledger import QUEUES
from chaos.recovery import Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from chaos.plan import Fault
    from chaos.stage import Stage
    from laneway.local import PrivateRabbitMQ
    from support.proxy import Proxy

_T = TypeVar("_T")

#: Messages that a queue may hold while it is full.
_FULL: Final = 5
#: Seconds by which the proxy passes everything on later.
_SLOW: Final = 0.15
#: Seconds between two signals of a storm, and that a worker may take to be started again.
_STORM: Final = 1.2
_UPGRADE: Final = 45.0
_POLICY: Final = "chaos.full"
#: Seconds by which a clock that is wrong is ahead.
_JUMPS: Final = (3600, -3600, 86_400 * 365, -300)


class Faults:
    """Carries faults out; each method is one kind of :data:`chaos.plan.FAULTS`.

    Args:
        stage: where.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        self._workers = stage.workers
        #: The queue that the fault at hand hits; None if it hits all.
        self._queue: str | None = None

    def carry_out(self, fault: Fault) -> Done:
        """Wait, do it, end it; what goes wrong is noted and never raised."""
        time.sleep(fault.gap)
        do: Callable[[Fault], str] = getattr(self, "_" + fault.kind.replace("-", "_"))
        began, trouble, whom = time.monotonic(), "", ""
        self._queue = None
        try:
            whom = do(fault)
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
        return Done(
            number=fault.number,
            kind=fault.kind,
            whom=whom,
            began=began,
            healed=time.monotonic(),
            queue=_place(self._queue),
            trouble=trouble,
        )

    # -- workers -----------------------------------------------------------------------------

    def _kill_job_process(self, fault: Fault) -> str:
        pid = _one_of(self._workers.job_processes(), fault)
        if pid is None:
            return "nobody there"
        os.kill(pid, signal.SIGKILL)
        return f"process {pid}"

    def _kill_parent(self, fault: Fault) -> str:
        name = _certain(self._workers.names, fault)
        self._workers.signal(name, signal.SIGKILL)
        self._queue = name.partition(".")[0]
        return name

    def _kill_group(self, fault: Fault) -> str:
        name = _certain(self._workers.names, fault)
        self._workers.signal(name, signal.SIGKILL, group=True)
        self._queue = name.partition(".")[0]
        return name

    def _sigterm_storm(self, fault: Fault) -> str:
        until = time.monotonic() + fault.seconds
        rounds = 0
        while time.monotonic() < until:
            rounds += 1
            for name in self._workers.names:
                self._workers.signal(name, signal.SIGTERM)
            time.sleep(_STORM)
        return f"all workers, {rounds} times"

    def _rolling_upgrade(self, fault: Fault) -> str:
        for name in self._workers.names:
            starts = self._workers.starts[name]
            self._workers.signal(name, signal.SIGTERM)
            self._workers.wait_until_up(name, starts + 1, _UPGRADE)
            time.sleep(1.0)
        return "all workers, one after the other"

    def _clock_jump(self, fault: Fault) -> str:
        """A worker's clock is set wrong, and right again later."""
        name = _certain(self._workers.names, fault)
        ahead = _JUMPS[fault.who // len(self._workers.names) % len(_JUMPS)]
        assert self._stage.clocks is not None
        with ExitStack() as stack:
            stack.callback(self._stage.clocks.move, name, 0)
            self._stage.clocks.move(name, ahead)
            time.sleep(fault.seconds)
        return f"{name}, {ahead:+d} s"

    # -- brokers -----------------------------------------------------------------------------

    def _kill_broker(self, fault: Fault) -> str:
        return self._down([_certain(self._cluster.nodes, fault)], fault, crash=True)

    def _restart_broker(self, fault: Fault) -> str:
        return self._down([_certain(self._cluster.nodes, fault)], fault, crash=False)

    def _kill_leader(self, fault: Fault) -> str:
        queue = _certain(QUEUES, fault)
        with self._stage.management() as management:
            leader = management.queue_entry(self._stage.vhost, queue).get("leader")
        nodes = [node for node in self._cluster.nodes if node.node.name == leader]
        return f"leader of {queue}, " + self._down(nodes, fault, crash=True)

    def _kill_two(self, fault: Fault) -> str:
        nodes = list(self._cluster.nodes)
        nodes.pop(fault.who % len(nodes))
        return self._down(nodes, fault, crash=True)

    def _rolling_restart(self, fault: Fault) -> str:
        for node in self._cluster.nodes:
            node.end()
            node.begin()
            time.sleep(1.0)
        return "all nodes, one after the other"

    def _down(self, nodes: Sequence[PrivateRabbitMQ], fault: Fault, *, crash: bool) -> str:
        for node in nodes:
            node.end(crash=crash)
        time.sleep(fault.seconds)
        self._cluster.begin(nodes)
        return "node " + " and ".join(str(self._cluster.nodes.index(node) + 1) for node in nodes)

    def _hang_broker(self, fault: Fault) -> str:
        node = _certain(self._cluster.nodes, fault)
        node.pause()
        time.sleep(fault.seconds)
        node.resume()
        return f"node {self._cluster.nodes.index(node) + 1}"

    # -- the network -------------------------------------------------------------------------

    def _cut(self, fault: Fault) -> str:
        for proxy in self._stage.proxies:
            proxy.cut()
        return "all connections"

    def _refuse(self, fault: Fault) -> str:
        return self._refusing(self._stage.proxies, fault)

    def _cut_one_node(self, fault: Fault) -> str:
        proxy = _certain(self._stage.proxies, fault)
        self._refusing([proxy], fault)
        return f"node {self._stage.proxies.index(proxy) + 1}"

    def _refusing(self, proxies: Sequence[Proxy], fault: Fault) -> str:
        for proxy in proxies:
            proxy.refuse()
        time.sleep(fault.seconds)
        for proxy in proxies:
            proxy.accept()
        return "all connections"

    def _slow(self, fault: Fault) -> str:
        for proxy in self._stage.proxies:
            proxy.delay = _SLOW
        time.sleep(fault.seconds)
        for proxy in self._stage.proxies:
            proxy.delay = 0.0
        return "all connections"

    def _half_open(self, fault: Fault) -> str:
        """What the broker answers never arrives, and then the connections end."""
        for proxy in self._stage.proxies:
            proxy.silent.set()
        time.sleep(fault.seconds)
        for proxy in self._stage.proxies:
            # First: bytes are missing in these connections.
            proxy.cut()
            proxy.silent.clear()
        return "all connections"

    # -- what a broker has too little of -----------------------------------------------------

    def _memory_alarm(self, fault: Fault) -> str:
        return self._alarm(fault, "set_vm_memory_high_watermark", on="0", off="0.6")

    def _disk_alarm(self, fault: Fault) -> str:
        return self._alarm(fault, "set_disk_free_limit", on="900000GB", off="50MB")

    def _alarm(self, fault: Fault, setting: str, *, on: str, off: str) -> str:
        node = _certain(self._cluster.nodes, fault)
        with ExitStack() as stack:
            stack.callback(_again, lambda: node.ctl(setting, off))
            node.ctl(setting, on)
            time.sleep(fault.seconds)
        return f"node {self._cluster.nodes.index(node) + 1}"

    def _full_queue(self, fault: Fault) -> str:
        queue = _certain(QUEUES, fault)
        self._queue = queue
        names = [name for name in self._workers.names if name.partition(".")[0] == queue]
        with ExitStack() as stack:
            stack.enter_context(self._room(queue))
            # Nobody takes anything out meanwhile, as on machines that hang.
            for name in names:
                stack.callback(self._workers.signal, name, signal.SIGCONT, group=True)
                self._workers.signal(name, signal.SIGSTOP, group=True)
            time.sleep(fault.seconds)
        return f"{queue}, its workers hang"

    @contextmanager
    def _room(self, queue: str) -> Iterator[None]:
        """A policy with a higher priority than the queue's own, which it repeats."""
        vhost = self._stage.vhost

        def put() -> None:
            with self._stage.management() as management:
                own = [p for p in management.policies(vhost) if p.name == f"laneway.{queue}"]
                before: Mapping[str, Any] = own[0].definition if own else {}
                definition = {**before, "max-length": _FULL, "overflow": "reject-publish"}
                management.put_policy(
                    vhost, _POLICY, pattern=f"^{queue}$", definition=definition, priority=2000
                )

        def take_away() -> None:
            with self._stage.management() as management:
                management.delete_policy(vhost, _POLICY)

        put()
        try:
            yield
        finally:
            _again(take_away)

    # -- Redis -------------------------------------------------------------------------------

    def _redis_down(self, fault: Fault) -> str:
        self._stage.redis.stop()
        time.sleep(fault.seconds)
        self._stage.redis.begin()
        return "Redis"


def _place(queue: str | None) -> int | None:
    return None if queue is None else QUEUES.index(queue)


def _certain(candidates: Sequence[_T], fault: Fault) -> _T:
    return candidates[fault.who % len(candidates)]


def _one_of(candidates: Sequence[_T], fault: Fault) -> _T | None:
    return _certain(candidates, fault) if candidates else None


def _again(heal: Callable[[], object], tries: int = 5) -> None:
    """A fault must end, whatever the broker says first."""
    for left in reversed(range(tries)):
        try:
            heal()
        except Exception:
            if not left:
                raise
            time.sleep(1.0)
        else:
            return
