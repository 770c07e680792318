"""What a process and its parent say to each other, besides what stands in their shared record."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from typing import TYPE_CHECKING, Any

from celery.worker import state as worker_state

if TYPE_CHECKING:
    from laneway.worker.direct.slots import Slot


class Parent:
    """A process's end of the line.

    Args:
        line: the socket to the parent, datagrams of JSON.
        slot: this process's record; it counts what the parent said.
    """

    def __init__(self, line: socket.socket, slot: Slot) -> None:
        self.line = line
        self._slot = slot
        self._heard = 0

    def tell(self, news: dict[str, Any], descriptor: int | None = None) -> None:
        """Say something to the parent; a parent that is gone ends us anyway."""
        data = json.dumps(news, default=str).encode()
        with contextlib.suppress(OSError):
            if descriptor is None:
                self.line.send(data)
            else:
                socket.send_fds(self.line, [data], [descriptor])

    def has_news(self) -> bool:
        """Whether the parent counted something that was not read yet; costs next to nothing."""
        return self._slot.said != self._heard

    def hear(self) -> None:
        """Read what the parent says."""
        self._heard = self._slot.said
        with contextlib.suppress(BlockingIOError):
            while data := self.line.recv(65536):
                for task_id in json.loads(data).get("revoked", ()):
                    worker_state.revoked.add(task_id)

    def wait(self, seconds: float) -> None:
        """Sleep, but not through an order."""
        select.select([self.line], [], [], seconds)
        self.hear()
