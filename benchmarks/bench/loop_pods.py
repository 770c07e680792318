"""The worker processes of the closed loop: started late like pods, stopped with SIGTERM."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Callable

#: Seconds that a process is started later than a pod was asked for.
_DELAY: Final = (3.0, 6.0)


@dataclass
class Pod:
    """One worker process, from the wish for it to its end. Times are of the monotonic clock."""

    asked: float
    starts: float
    port: int
    process: subprocess.Popen[bytes] | None = None
    ready: float | None = None
    told_to_stop: bool = False
    ended: float | None = None


class Pods:
    """The worker processes of the loop."""

    def __init__(self, command: Callable[[int], subprocess.Popen[bytes]], chance: random.Random):
        self._command = command
        self._chance = chance
        self._client = httpx.Client(timeout=0.5)
        self.all: list[Pod] = []

    @property
    def wanted(self) -> list[Pod]:
        """Those that nobody has stopped."""
        return [pod for pod in self.all if not pod.told_to_stop]

    def scale(self, number: int) -> None:
        """Ask for so many."""
        now = time.monotonic()
        while len(self.wanted) < number:
            port = 20_000 + self._chance.randrange(10_000)
            self.all.append(Pod(now, now + self._chance.uniform(*_DELAY), port))
        youngest = self.wanted
        youngest.reverse()
        youngest.sort(key=lambda pod: pod.ready is not None)
        for pod in youngest:
            if len(self.wanted) <= number:
                break
            pod.told_to_stop = True
            if pod.process is None:
                pod.ended = now
            else:
                pod.process.send_signal(signal.SIGTERM)

    def tend(self) -> None:
        """Start what is due, see what is ready and what has ended."""
        now = time.monotonic()
        for pod in self.all:
            if pod.ended is not None:
                continue
            if pod.process is None:
                if now >= pod.starts:
                    pod.process = self._command(pod.port)
            elif pod.process.poll() is not None:
                pod.ended = now
            elif pod.ready is None and self._answers(pod.port):
                pod.ready = now

    def _answers(self, port: int) -> bool:
        try:
            return self._client.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def seconds(self, since: float, until: float) -> float:
        """For which they existed."""
        return sum(
            max(0.0, min(pod.ended or until, until) - max(pod.asked, since)) for pod in self.all
        )

    def stop(self) -> None:
        """End all of them."""
        self.scale(0)
        deadline = time.monotonic() + 40
        while any(pod.ended is None for pod in self.all):
            self.tend()
            if time.monotonic() > deadline:
                for pod in self.all:
                    if pod.process is not None and pod.ended is None:
                        pod.process.kill()
            time.sleep(0.1)
        self._client.close()
