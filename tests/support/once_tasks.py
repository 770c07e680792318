"""Tasks that run once, or alone; each writes what it did into a file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneway import Once, Unique
from support.tasks import app

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway import Laneway

__all__ = ["app"]

SHORT = Once("10m", lease="3s")

_made: list[tuple[Callable[..., Any], dict[str, Any]]] = []


def task(**options: Any) -> Any:
    """``app.task``, and later that of who asks for it; of no other application of the process."""

    def make(code: Callable[..., Any]) -> Any:
        _made.append((code, options))
        return app.task(shared=False, **options)(code)

    return make


def with_tasks(other: Laneway) -> Laneway:
    """An application that publishes these tasks by what they say of themselves."""
    for code, options in _made:
        other.task(shared=False, **options)(code)
    return other


def note(file: str, what: str) -> None:
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write(f"{what} {os.getpid()}\n")


def noted(file: Path, what: str) -> list[int]:
    """The processes that wrote it."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [int(pid) for done, pid in map(str.split, lines) if done == what]


@task(name="once.work", once=SHORT)
def work(file: str, seconds: float = 0.0) -> str:
    note(file, "start")
    time.sleep(seconds)
    note(file, "end")
    return f"{os.getpid()}"


@task(name="once.plain")
def plain(file: str) -> None:
    note(file, "start")


@task(name="once.next", once=SHORT)
def next_step(value: str, file: str) -> str:
    note(file, "next")
    return value


@task(name="once.order", once=Once("10m", lease="3s", key="order"))
def order(order: int, file: str, seconds: float = 0.0) -> int:
    note(file, "start")
    time.sleep(seconds)
    note(file, "end")
    return order * 10


@task(name="once.strict", once=Once("10m", lease="3s", strict=True))
def strict(file: str) -> None:
    note(file, "start")


@task(
    name="once.flaky", bind=True, once=SHORT, autoretry_for=(ConnectionError,), retry_backoff=False
)
def flaky(self: Any, file: str, failures: int) -> int:
    note(file, "start")
    if self.request.retries < failures:
        raise ConnectionError("busy")
    note(file, "end")
    return int(self.request.retries)


@task(name="once.die", once=SHORT)
def die(file: str) -> None:
    note(file, "start")
    os._exit(9)


class Deadly:
    """A result that kills its process when the result backend writes it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.written = 0

    def __json__(self) -> str:
        self.written += 1
        # First it is written to be kept.
        if self.written > 1:
            note(self.file, "dead")
            os._exit(9)
        return self.file


@task(name="once.gone", once=SHORT)
def gone(file: str) -> Any:
    """Returns; its process dies before the result is stored."""
    note(file, "end")
    return Deadly(file)


@task(name="unique.start", unique="until-start")
def until_start(file: str, seconds: float = 0.0) -> None:
    note(file, "start")
    time.sleep(seconds)


@task(name="unique.done", unique=Unique("until-done", key="file", longest="10m"))
def until_done(file: str, seconds: float = 0.0) -> str:
    note(file, "start")
    time.sleep(seconds)
    return file


@task(name="unique.short", unique=Unique("until-done", longest="2s"))
def short(file: str) -> None:
    note(file, "start")


@task(name="unique.retried", bind=True, unique="until-done", max_retries=1)
def retried(self: Any, file: str) -> None:
    note(file, "start")
    raise self.retry(countdown=1, exc=ConnectionError("busy"))


@task(name="unique.strict", unique=Unique("until-done", strict=True))
def unique_strict(file: str) -> None:
    note(file, "start")


@task(name="vault.unique", unique="until-done")
def vault_unique(amount: int) -> int:
    return amount
