"""What a process tells its parent, and how the parent wakes it.

Whatever a process must know before a job stands in memory that both share: words could come late.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from laneway.worker.direct.slots import Slot


class Parent:
    """A process's end of the line.

    Args:
        line: the socket to the parent: datagrams of JSON to it, empty words from it.
        slot: this process's record; it counts the parent's words.
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
        """Whether the parent counted a word that was not read yet; costs next to nothing."""
        return self._slot.said != self._heard

    def hear(self) -> None:
        """Read what woke us; what there is to know stands in the record."""
        self._heard = self._slot.said
        with contextlib.suppress(BlockingIOError):
            while self.line.recv(64):
                pass

    def wait(self, seconds: float) -> None:
        """Sleep, but not through an order."""
        select.select([self.line], [], [], seconds)
        self.hear()
