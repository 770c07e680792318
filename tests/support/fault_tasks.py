"""Tasks that fail in every way in which a job can end without success."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery.exceptions import Reject

from support.tasks import app, task

__all__ = ["app"]

#: Stands in arguments, texts, locals and headers of jobs whose reports must not tell it.
CANARY = "canary-f1a7c0de"
#: May be told, because its task says so.
ORDER = "order-of-4711"


class Hostile(Exception):
    """Has no text to show, and no representation."""

    def __str__(self) -> str:
        raise RuntimeError(CANARY)

    def __repr__(self) -> str:
        raise RuntimeError(CANARY)


# What a task is called with also stands in a local variable, and in the text of what it raises.


@task(name="faults.fail")
def fail(card: str) -> None:
    number = card[::1]
    raise ValueError(f"card {number} was declined")


@task(name="faults.allowed", sentry_args=["order_id"])
def allowed(order_id: str, card: str) -> None:
    raise ValueError(f"{order_id} cannot be paid with {card}")


@task(name="faults.storm")
def storm(number: int) -> None:
    raise ConnectionError(f"the gateway refused number {number}")


@task(name="faults.calm")
def calm(number: int) -> None:
    raise LookupError(f"nothing known of {number}")


@task(name="faults.add")
def add(card: str, other: str) -> str:
    return card + other


@task(
    name="faults.autoretry",
    autoretry_for=(ConnectionError,),
    max_retries=2,
    default_retry_delay=1,
    retry_backoff=False,
    retry_jitter=False,
)
def autoretry(card: str) -> None:
    raise ConnectionError(f"the gateway is gone with {card}")


@task(name="faults.retry_bare", bind=True, max_retries=1)
def retry_bare(self: Any, card: str) -> None:
    # (Celery's own error at the end repeats the arguments.)
    raise self.retry(countdown=1)


@task(name="faults.soft", soft_time_limit=1, time_limit=30)
def soft(card: str) -> None:
    time.sleep(25)


@task(name="faults.hard", time_limit=1)
def hard(card: str) -> None:
    time.sleep(60)


@task(name="faults.killed", max_retries=1, default_retry_delay=1)
def killed(card: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="faults.rejected")
def rejected(card: str) -> None:
    raise Reject(LookupError(f"not for us: {card}"), requeue=False)


@task(name="faults.expected", throws=(KeyError,))
def expected(card: str) -> None:
    raise KeyError(card)


@task(name="faults.unserialisable")
def unserialisable(card: str) -> Any:
    return {"card": card, "of": object()}


@task(name="faults.until")
def until(file: str) -> str:
    """Fails as long as the file does not exist: what a deploy repairs."""
    if not Path(file).exists():
        raise FileNotFoundError("the table of prices")
    return "charged"


@task(name="faults.hostile")
def hostile(kind: str, secret: str) -> None:
    password = secret
    match kind:
        case "repr":
            raise Hostile
        case "huge":
            raise ValueError("x" * 50_000_000)
        case "secret":
            raise ValueError(f"login of root:{password} refused")
        case "chain":
            try:
                raise KeyError(password)
            except KeyError as error:
                error.add_note(f"it was {password}")
                raise ValueError(f"no {password}") from error
        case "group":
            raise ExceptionGroup(f"all {password}", [ValueError(password), KeyError(password)])
        case _:
            raise AssertionError(kind)


@task(name="vault.fail")
def vault_fail(card: str) -> None:
    number = card[::1]
    raise ValueError(f"card {number} was declined")


@task(name="vault.retry_bare", bind=True, max_retries=1)
def vault_retry_bare(self: Any, card: str) -> None:
    raise self.retry(countdown=1)


@task(name="vault.soft", soft_time_limit=1, time_limit=30)
def vault_soft(card: str) -> None:
    time.sleep(25)


@task(name="vault.hard", time_limit=1)
def vault_hard(card: str) -> None:
    time.sleep(60)


@task(name="vault.killed", max_retries=1, default_retry_delay=1)
def vault_killed(card: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="vault.rejected")
def vault_rejected(card: str) -> None:
    raise Reject(LookupError(f"not for us: {card}"), requeue=False)


@task(name="vault.unserialisable")
def vault_unserialisable(card: str) -> Any:
    return {"card": card, "of": object()}


@task(name="vault.add")
def vault_add(card: str, other: str) -> str:
    return card + other


@task(name="vault.hostile")
def vault_hostile(kind: str, secret: str) -> None:
    hostile(kind, secret)
