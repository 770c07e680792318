"""What goes through a schedule: Laneway, its peers, and Laneway with one promise broken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos.workload import COMMON, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Jobs that one worker runs at the same time.
PROCESSES: Final = 2


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker: its name, its queue and what it is, as arguments of Python."""

    name: str
    queue: str
    command: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class System:
    """One system with one set of settings."""

    key: str
    #: What tables call it.
    title: str
    #: The module of its producers.
    app: str
    workers: tuple[Worker, ...]
    #: What of the workload it has.
    kinds: frozenset[Kind] = COMMON
    #: Whether it is this checkout's engine.
    laneway: bool = False
    #: Whether a job that failed for good is kept.
    letters: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Workers of one job at a time, for :mod:`chaos.order`; the name ends with the pool.
    order_workers: tuple[Worker, ...] = ()


def laneway(
    *,
    key: str = "laneway",
    app: str = "chaos.apps.laneway_app",
    pools: Mapping[str, str] | None = None,
) -> System:
    """Laneway from this checkout.

    Args:
        key: its name.
        app: the module of its application.
        pools: the pool of each worker; a name of a worker is its queue with anything behind a dot.
    """
    pools = pools or {
        "high": "direct", "default": "prefork", "default.two": "direct", "low": "direct",
    }  # fmt: skip
    return System(
        key=key,
        title="Laneway",
        app=app,
        workers=tuple(_laneway_worker(app, name, pool) for name, pool in pools.items()),
        order_workers=tuple(
            _laneway_worker(app, f"low.order-{pool}", pool, processes=1)
            for pool in ("direct", "prefork")
        ),
        kinds=frozenset(Kind),
        laneway=True,
    )


def _laneway_worker(app: str, name: str, pool: str, processes: int = PROCESSES) -> Worker:
    queue = name.partition(".")[0]
    return Worker(
        name=name,
        queue=queue,
        command=(
            *("-m", "laneway", "worker", queue, "--app", f"{app}:app"),
            *("--pool", pool, "--concurrency", str(processes)),
            *("--log", "json", "--log-level", "warning"),
        ),
    )


def _celery(variant: str, title: str) -> System:
    app = "chaos.apps.celery_app"
    return System(
        key=f"celery-{variant}",
        title=title,
        app=app,
        workers=tuple(
            Worker(
                name=name,
                queue=name.partition(".")[0],
                command=(
                    *("-m", "celery", "-A", app, "worker", "-Q", name.partition(".")[0]),
                    *("-c", str(PROCESSES), "-l", "WARNING", "-n", f"{name}@%h"),
                ),
            )
            for name in ("high", "default", "default.two", "low")
        ),
        letters=False,
        environment={"CHAOS_CELERY": variant},
    )


def _dramatiq() -> System:
    app = "chaos.apps.dramatiq_app"
    return System(
        key="dramatiq",
        title="dramatiq, confirm_delivery",
        app=app,
        workers=tuple(
            Worker(
                name=name,
                queue=name.partition(".")[0],
                command=(
                    *("-m", "dramatiq", app, "-p", str(PROCESSES), "-t", "2"),
                    *("-Q", name.partition(".")[0]),
                ),
            )
            for name in ("high", "default", "default.two", "low")
        ),
    )


SYSTEMS: Final[Mapping[str, System]] = {
    system.key: system
    for system in (
        laneway(),
        _celery("defaults", "Celery, its defaults"),
        _celery("reliable", "Celery, acks_late, reject_on_worker_lost, confirm_publish"),
        _dramatiq(),
    )
}
