"""The tasks of the integration tests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery.exceptions import Reject

from laneway import Backoff, Laneway

app = Laneway("tests")


def task(**options: Any) -> Any:
    """``app.task`` for this application alone: a test that imports this has others beside it."""
    return app.task(shared=False, **options)


@task(name="plain.add")
def add(a: int, b: int) -> int:
    return a + b


@task(name="plain.total")
def total(values: list[int]) -> int:
    return sum(values)


@task(name="plain.sleep")
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@task(name="plain.hold")
def hold(file: str) -> str:
    """Runs until the file exists; two minutes at most."""
    until = time.monotonic() + 120
    while not Path(file).exists() and time.monotonic() < until:
        time.sleep(0.05)
    return file


@task(name="plain.fail")
def fail(text: str = "boom") -> None:
    raise ValueError(text)


@task(name="plain.flaky", bind=True, max_retries=5)
def flaky(self: Any, failures: int, countdown: float = 0.2) -> dict[str, Any]:
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, exc=ConnectionError("the gateway is busy"))
    return {"attempt": self.request.retries + 1, "priority": self.request.delivery_info["priority"]}


@task(name="plain.backing_off", bind=True, backoff=Backoff("1s", "2s"))
def backing_off(self: Any, failures: int, asked: float | None = None) -> int:
    """Fails so often, as a call to a busy service does."""
    if self.request.retries < failures:
        error = ConnectionError("the gateway is busy")
        error.retry_after = asked  # type: ignore[attr-defined]
        raise self.retry(exc=error)
    return int(self.request.retries)


@task(
    name="plain.unlucky",
    bind=True,
    autoretry_for=(ConnectionError,),
    backoff=Backoff("1s", "1s"),
    max_retries=50,
)
def unlucky(self: Any) -> None:
    """Never succeeds."""
    raise ConnectionError("the gateway is gone")


@task(name="plain.where", bind=True)
def where(self: Any, *_: Any) -> dict[str, Any]:
    """Says how it was delivered."""
    return {
        "priority": self.request.delivery_info["priority"],
        "queue": self.request.laneway_queue,
        "hostname": self.request.hostname,
    }


@task(name="plain.publish")
def publish(name: str, options: dict[str, Any]) -> str:
    """A job that publishes another one."""
    return str(app.send_task(name, **options).id)


@task(name="plain.hang", time_limit=1)
def hang() -> None:
    time.sleep(60)


@task(name="plain.vanish", max_retries=1, default_retry_delay=1)
def vanish() -> None:
    os._exit(9)


@task(name="vault.pay")
def pay(amount: int) -> int:
    return amount * 100


@task(name="vault.ponder")
def ponder(secret: str, seconds: float) -> str:
    time.sleep(seconds)
    return secret


@task(name="vault.flaky", bind=True, max_retries=5)
def vault_flaky(self: Any, failures: int) -> str:
    if self.request.retries < failures:
        raise self.retry(countdown=1)
    return str(self.request.laneway_queue)


@task(name="vault.reveal")
def reveal(secret: str) -> None:
    raise ValueError(secret)


@task(name="vault.sum")
def vault_sum(values: list[int]) -> int:
    return sum(values)


@task(name="plain.reject")
def reject(requeue: bool = False) -> None:
    raise Reject(LookupError("not for us"), requeue=requeue)


@task(name="plain.give_up", bind=True, max_retries=1)
def give_up(self: Any) -> None:
    raise self.retry(countdown=1, exc=ConnectionError("the gateway is busy"))


@task(name="plain.unserialisable")
def unserialisable() -> Any:
    return object()


@task(name="plain.memory")
def memory() -> None:
    raise MemoryError
