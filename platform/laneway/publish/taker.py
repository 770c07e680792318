"""Who takes the calls of a block, instead of the broker at once: a batch, an outbox."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import VhostKind
    from laneway.publish.frames import Publish
    from laneway.publish.producer import JobProducer


class Taker(Protocol):
    """Takes what a call would publish."""

    @property
    def is_open(self) -> bool:
        """Whether it takes calls of this thread now."""

    def producer(self, vhost: VhostKind) -> JobProducer:
        """On which Celery composes what it does not know otherwise."""

    def add(
        self,
        vhost: VhostKind,
        task_id: str,
        name: str,
        queue: str,
        priority: int,
        message: Publish,
    ) -> None:
        """Take one job."""


_innermost: ContextVar[Taker | None] = ContextVar("laneway_taker", default=None)


def current() -> Taker | None:
    """Who takes the call that is being made; None: the broker."""
    taker = _innermost.get()
    return taker if taker is not None and taker.is_open else None


@contextlib.contextmanager
def taking(taker: Taker) -> Iterator[None]:
    """Let it take the calls of a block; the innermost block counts."""
    token = _innermost.set(taker)
    try:
        yield
    finally:
        _innermost.reset(token)


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Publish the calls of a block at once, whatever block is around it."""
    token = _innermost.set(None)
    try:
        yield
    finally:
        _innermost.reset(token)
