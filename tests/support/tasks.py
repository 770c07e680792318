"""The tasks of the integration tests."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery.exceptions import Reject

from laneway import Backoff, Laneway

app = Laneway("tests")


@app.task(name="plain.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="plain.total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="plain.sleep")
def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.task(name="plain.hold")
def hold(file: str) -> str:
    """Runs until the file exists; two minutes at most."""
    until = time.monotonic() + 120
    while not Path(file).exists() and time.monotonic() < until:
        time.sleep(0.05)
    return file


@app.task(name="plain.fail")
def fail(text: str = "boom") -> None:
    raise ValueError(text)


@app.task(name="plain.flaky", bind=True, max_retries=5)
def flaky(self: Any, failures: int, countdown: float = 0.2) -> dict[str, Any]:
    if self.request.retries < failures:
        raise self.retry(countdown=countdown, exc=ConnectionError("the gateway is busy"))
    return {"attempt": self.request.retries + 1, "priority": self.request.delivery_info["priority"]}


@app.task(name="plain.backing_off", bind=True, backoff=Backoff("1s", "2s"))
def backing_off(self: Any, failures: int, asked: float | None = None) -> int:
    """Fails so often, as a call to a busy service does."""
    if self.request.retries < failures:
        error = ConnectionError("the gateway is busy")
        error.retry_after = asked  # type: ignore[attr-defined]
        raise self.retry(exc=error)
    return int(self.request.retries)


@app.task(
    name="plain.unlucky",
    bind=True,
    autoretry_for=(ConnectionError,),
    backoff=Backoff("1s", "1s"),
    max_retries=50,
)
def unlucky(self: Any) -> None:
    """Never succeeds."""
    raise ConnectionError("the gateway is gone")


@app.task(name="plain.where", bind=True)
def where(self: Any, *_: Any) -> dict[str, Any]:
    """Says how it was delivered."""
    return {
        "priority": self.request.delivery_info["priority"],
        "queue": self.request.laneway_queue,
        "hostname": self.request.hostname,
    }


@app.task(name="plain.publish")
def publish(name: str, options: dict[str, Any]) -> str:
    """A job that publishes another one."""
    return str(app.send_task(name, **options).id)


@app.task(name="plain.hang", time_limit=1)
def hang() -> None:
    time.sleep(60)


@app.task(name="plain.vanish", max_retries=1, default_retry_delay=1)
def vanish() -> None:
    os._exit(9)


@app.task(name="vault.pay")
def pay(amount: int) -> int:
    return amount * 100


@app.task(name="vault.ponder")
def ponder(secret: str, seconds: float) -> str:
    time.sleep(seconds)
    return secret


@app.task(name="vault.flaky", bind=True, max_retries=5)
def vault_flaky(self: Any, failures: int) -> str:
    if self.request.retries < failures:
        raise self.retry(countdown=1)
    return str(self.request.laneway_queue)


@app.task(name="vault.reveal")
def reveal(secret: str) -> None:
    raise ValueError(secret)


@app.task(name="vault.sum")
def vault_sum(values: list[int]) -> int:
    return sum(values)


@app.task(name="plain.reject")
def reject(requeue: bool = False) -> None:
    raise Reject(LookupError("not for us"), requeue=requeue)


@app.task(name="plain.give_up", bind=True, max_retries=1)
def give_up(self: Any) -> None:
    raise self.retry(countdown=1, exc=ConnectionError("the gateway is busy"))


@app.task(name="plain.unserialisable")
def unserialisable() -> Any:
    return object()


@app.task(name="plain.memory")
def memory() -> None:
    raise MemoryError
