"""What is measured: Laneway, its peers, how each is set and which row it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = Literal["equal", "defaults", "yardstick"]

#: What a row promises.
ROWS: Final[Mapping[Row, str]] = {
    "equal": "equal guarantees: persistent, confirmed, quorum queue, ack after the job",
    "defaults": "their defaults: also on a quorum queue",
    "yardstick": "yardstick: no job system at all",
}
#: Jobs that a worker runs at the same time (processes), for every system.
PROCESSES: Final = 2
#: Threads in each process of dramatiq.
THREADS: Final = 8


@dataclass(frozen=True, kw_only=True)
class System:
    """One system with one set of settings."""

    #: What ``--system`` calls it.
    key: str
    #: What tables call it.
    title: str
    row: Row
    #: The module of :mod:`bench.apps`; None for the yardstick.
    app: str | None
    #: What is set, for the report.
    settings: str
    #: Variables of its processes.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: The package whose version counts, and whose absence takes the system out.
    package: str = "celery"
    #: Its pool, where the policy decides it (Laneway).
    pool: str | None = None
    #: Jobs a second expected of it, to size its first run: no-op, 5 ms asleep, 5 ms computing.
    guess: tuple[int, int, int] = (600, 250, 200)

    def worker(self, queue: str) -> list[str]:
        """Its worker of one queue, as arguments of Python."""
        assert self.app is not None
        module = f"bench.apps.{self.app}"
        processes = str(PROCESSES)
        if self.pool is not None:
            return ["-m", "laneway", "worker", queue, "--app", f"{module}:app", *_QUIET]
        if self.app == "celery_app":
            alone = [] if self.row == "defaults" else ["--without-gossip", "--without-mingle"]
            command = ["-m", "celery", "-A", module, "worker", "-Q", queue, "-c", processes]
            return [*command, "-l", "WARNING", "-n", f"{queue}@%h", *alone]
        if self.app == "dramatiq_app":
            return ["-m", "dramatiq", module, "-p", processes, "-t", str(THREADS), "-Q", queue]
        return ["-m", "taskiq", "worker", f"{module}:broker", "-w", processes, *_TASKIQ]


_QUIET: Final = ("--log-level", "warning")
_TASKIQ: Final = ("--log-level", "WARNING")


def _laneway(pool: str, guess: tuple[int, int, int]) -> System:
    return System(
        key=f"laneway-{pool}",
        title=f"Laneway, {pool}",
        row="equal",
        app="laneway_app",
        package="laneway",
        pool=pool,
        settings=f"the checkout's policy with pool = {pool!r} and concurrency = {PROCESSES}",
        guess=guess,
    )


def _celery(prefetch: int, guess: tuple[int, int, int]) -> System:
    return System(
        key=f"celery-tuned-{prefetch}",
        title=f"Celery, tuned, prefetch {prefetch}",
        row="equal",
        app="celery_app",
        environment={"BENCH_CELERY": str(prefetch)},
        settings="confirm_publish, acks_late, reject_on_worker_lost, prefork "
        f"{PROCESSES}, prefetch {prefetch} a process, no gossip, no mingle",
        guess=guess,
    )


SYSTEMS: Final[tuple[System, ...]] = (
    _laneway("direct", (5500, 370, 300)),
    _laneway("prefork", (550, 230, 200)),
    _celery(1, (650, 250, 200)),
    _celery(16, (1300, 330, 250)),
    System(
        key="dramatiq",
        title="dramatiq",
        row="equal",
        app="dramatiq_app",
        package="dramatiq",
        settings=f"confirm_delivery, {PROCESSES} processes × {THREADS} threads, its own prefetch "
        "(2 a thread), its own middleware",
        guess=(4000, 2000, 250),
    ),
    System(
        key="taskiq",
        title="taskiq-aio-pika",
        row="equal",
        app="taskiq_app",
        package="taskiq_aio_pika",
        settings=f"{PROCESSES} workers, qos 10, ack when saved (all but the workers its defaults)",
        guess=(1500, 900, 250),
    ),
    System(
        key="celery-defaults",
        title="Celery, its defaults",
        row="defaults",
        app="celery_app",
        environment={"BENCH_CELERY": "defaults"},
        settings=f"no confirms, early ack, prefork {PROCESSES}, prefetch 4 a process",
        guess=(1600, 330, 250),
    ),
    System(
        key="raw",
        title="raw py-amqp",
        row="yardstick",
        app=None,
        settings="Laneway's message, encoded beforehand, confirms read as they come (2,048 open)",
        package="amqp",
    ),
)


def named(keys: tuple[str, ...]) -> tuple[System, ...]:
    """The systems of these names, all if none; ``laneway`` means every Laneway, and so on.

    Raises:
        ValueError: there is none of a name.
    """
    for key in keys:
        if not any(_fits(key, system) for system in SYSTEMS):
            known = ", ".join(system.key for system in SYSTEMS)
            raise ValueError(f"--system: expected one of {known}, got: {key!r}")
    return tuple(s for s in SYSTEMS if not keys or any(_fits(key, s) for key in keys))


def one_laneway(key: str, *, option: str) -> System:
    """The one Laneway of this name, for what measures nothing else.

    Args:
        key: ``laneway-direct``, ``laneway-prefork``.
        option: which option asks, for the error.

    Raises:
        ValueError: none has the name, or more than one.
    """
    found = [system for system in named((key,)) if system.pool is not None]
    if len(found) != 1:
        keys = ", ".join(system.key for system in SYSTEMS if system.pool is not None)
        raise ValueError(f"{option}: expected one --system of {keys}, got: {key!r}")
    return found[0]


def _fits(key: str, system: System) -> bool:
    return system.key == key or system.key.startswith(f"{key}-")
