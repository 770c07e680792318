"""A control process with a port, and what its scaler answers."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import httpx

from support.workers import ControlProcess, environment

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress

#: Seconds that rates are the means of, as :func:`fast` has it.
WINDOW = 12.0
#: Seconds after which what was to be seen has failed.
PATIENCE = 60.0


class Scaler(ControlProcess):
    """A control process, and what it answers."""

    def __init__(self, address: BrokerAddress, **more: str) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        super().__init__(fast(address, **more), "--health", str(self.port))

    def ask(self, page: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{page}"
        return httpx.get(url, timeout=10, trust_env=False)

    def scale(self, queue: str) -> dict[str, Any]:
        """The answer where there is one; its reason where there is none."""
        answer = self.ask(f"/scale/{queue}")
        said: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if said["known"] else 503), answer.text
        assert ("slots" in said) == said["known"]
        return said

    def becomes(self, queue: str, *, known: bool = True, within: float = PATIENCE) -> Any:
        until = time.monotonic() + within
        while (said := self.scale(queue))["known"] is not known:
            assert time.monotonic() < until, said
            time.sleep(0.2)
        return said

    def shows(self, queue: str, within: float = PATIENCE, **parts: Any) -> Any:
        """Wait until the answer says all of this."""
        until = time.monotonic() + within
        while True:
            said = self.scale(queue)
            if all(said.get(name) == value for name, value in parts.items()):
                return said
            assert time.monotonic() < until, said
            time.sleep(0.2)


def fast(address: BrokerAddress, **more: str) -> dict[str, str]:
    """A platform whose windows are seconds."""
    pace = {"LANEWAY_SCALING_WINDOW": f"{WINDOW:.0f}s", "LANEWAY_SCALING_EVERY": "1s"}
    return {**environment(address, "disabled://"), **pace, **more}
